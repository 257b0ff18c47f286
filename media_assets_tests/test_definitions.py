"""What Dagster loads, as literals: a renamed asset or resource breaks every user's own definitions."""

import dagster as dg
import pytest

from media_assets.definitions import build_defs, defs
from media_assets.defs.failures import as_batch_failure, as_failure
from media_assets.defs.resources import (
    ElevenLabsResource,
    FalResource,
    LedgerResource,
    LocalResource,
    OpenAIResource,
    ReplicateResource,
    Resources,
    StoreResource,
)
from media_assets.errors import BudgetExceededError, OutputLostError, ProviderUnavailableError


def test_assets_and_their_order_are_the_chain() -> None:
    """Keys are an interface: users' downstream assets name them."""
    graph = defs.resolve_asset_graph()

    parents = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }

    chain = {"image": [], "video": ["image"], "audio": [], "merged": ["audio", "video"]}
    assert parents == {**chain, "inbox": [], "daily_spend_report": []}


def test_assets_are_skippable_so_that_failed_partitions_are_not_marked() -> None:
    """An output in a range run would mark every partition, the failed ones too."""
    assert {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs() if not spec.skippable} == {
        "daily_spend_report",
        "inbox",
    }


def test_nothing_runs_by_itself_until_it_is_switched_on() -> None:
    """A new version must not begin to do something every day that nobody asked for."""
    repository = defs.get_repository_def()

    schedules = {one.name: (one.job_name, one.cron_schedule, one.default_status) for one in repository.schedule_defs}
    assert schedules == {
        "daily_spend_report": ("spend_report", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
        "nightly_batch": ("batch", "0 1 * * *", dg.DefaultScheduleStatus.STOPPED),
    }
    assert {one.name: one.default_status for one in repository.sensor_defs} == {
        "budget_alert": dg.DefaultSensorStatus.STOPPED,
        "in_flight": dg.DefaultSensorStatus.RUNNING,  # spends nothing
        "new_prompts": dg.DefaultSensorStatus.STOPPED,
        "run_failure_alert": dg.DefaultSensorStatus.STOPPED,
    }


def test_all_definitions_can_be_loaded() -> None:
    """Two of one name are found only when everything is loaded, as the code server does."""
    dg.Definitions.validate_loadable(build_defs())


def test_resources_can_be_replaced_by_name_and_others_are_refused() -> None:
    """A misspelt override that was ignored would run on the wrong state."""
    replaced = build_defs(local=LocalResource(concurrency=1))

    assert replaced.resources is not None
    assert replaced.resources["local"] == LocalResource(concurrency=1)
    with pytest.raises(TypeError, match="locl"):
        build_defs(locl=LocalResource())


def test_a_blank_key_of_a_resource_leaves_the_settings_key_in_force() -> None:
    """An EnvVar of an empty line must not take away the key that is there."""
    resources = Resources(
        store=StoreResource(),
        ledger=LedgerResource(),
        local=LocalResource(),
        replicate=ReplicateResource(api_key=" \n"),
        fal=FalResource(api_key="id:secret"),
        openai=OpenAIResource(),
        elevenlabs=ElevenLabsResource(),
    )

    assert set(resources.changes()) == {"fal_key"}


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceededError("the cap would be passed"),
        ProviderUnavailableError("no answer", step="video", model="local:ken-burns"),
        OutputLostError("gone", request_key="abc"),
    ],
)
def test_failures_never_ask_dagster_to_retry_and_say_what_to_do(error: OutputLostError) -> None:
    """A Dagster retry of a paid step is a second purchase."""
    failure = as_failure(error)

    assert isinstance(failure, dg.Failure)
    assert failure.allow_retries is False
    assert error.message in str(failure.description)
    assert failure.metadata["billed"].value == str(error.billed)


def test_batch_failure_names_every_failed_prompt() -> None:
    """Thirty failed prompts must be found again from the run's page alone."""
    errors = {f"film-{number:02}": BudgetExceededError("no money") for number in range(30)}

    failure = as_batch_failure(errors, 100)

    assert "30 of 100" in str(failure.description)
    assert failure.metadata["failed"].value == list(errors)
