"""What Dagster loads, as literals: a renamed asset or resource breaks every user's own definitions."""

from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

import media_assets
from media_assets.definitions import build_defs, defs
from media_assets.defs.failures import as_batch_failure, as_failure
from media_assets.defs.resources import (
    ElevenLabsResource,
    FalResource,
    LedgerResource,
    LocalResource,
    OpenAIResource,
    ReplicateResource,
    StoreResource,
    StudioResource,
)
from media_assets.errors import BudgetExceededError, ConfigurationError, OutputLostError, ProviderUnavailableError
from media_assets.prompt import Step

PACKAGE = Path(media_assets.__file__).parent


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


def test_every_asset_tells_what_it_is_and_leads_to_its_code() -> None:
    """A person who meets an asset in the UI finds out what it is, and where it is made."""
    graph = build_defs(owners=["team:films"]).resolve_asset_graph()

    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in {"film", "keeping"}
        assert node.owners == ["team:films"]
        assert any(name.startswith("dagster/kind/") for name in node.tags), key
        references = node.metadata["dagster/code_references"].code_references
        for one in references:
            lines = Path(one.file_path).read_text(encoding="utf-8").splitlines()
            assert lines[one.line_number - 1].lstrip().startswith(("def ", "@")), one
            assert Path(one.file_path).is_relative_to(PACKAGE)
        assert references, key


def _owners() -> set[tuple[str, ...]]:
    graph = build_defs().resolve_asset_graph()
    return {tuple(graph.get(key).owners) for key in graph.get_all_asset_keys()}


def test_what_is_shipped_has_owners_and_a_setting_names_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who runs the project as it is writes definitions of their own."""
    assert {tuple(spec.owners) for spec in defs.resolve_all_asset_specs()} == {("team:films",)}
    assert _owners() == {("team:films",)}

    monkeypatch.setenv("MEDIA_ASSETS_OWNERS", "team:night-shift, ada.b+films@example.org")

    assert _owners() == {("team:night-shift", "ada.b+films@example.org")}


@pytest.mark.parametrize("owner", ["films", "team:", "ada@example", "ada@ex ample.org", "@example.org", "team:a b"])
def test_what_dagster_takes_for_no_owner_is_told_by_its_setting(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    """Dagster's own error names the asset, and not the variable."""
    monkeypatch.setenv("MEDIA_ASSETS_OWNERS", f"team:films,{owner}")

    with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_OWNERS"):
        build_defs()


def test_every_step_has_its_checks_and_none_can_stop_anything() -> None:
    """They tell a verdict that has fallen already: a blocking one would leave its partition materialized anyway."""
    graph = defs.resolve_asset_graph()

    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}

    assert checks == {(str(step), name) for step in Step for name in ("conforms", "not_degraded")}
    assert not any(graph.get(key).blocking for key in graph.asset_check_keys)


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
    resources = StudioResource(
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


def test_what_makes_films_gets_the_resources_that_are_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key by EnvVar and a place of one's own reach the step through the one resource that holds them all."""
    monkeypatch.setenv("MY_FAL_KEY", "id:secret")
    seen: list[StudioResource] = []

    @dg.op
    def look(studio: StudioResource) -> None:
        seen.append(studio)

    @dg.job
    def looking() -> None:
        look()

    mine = build_defs(fal=FalResource(api_key=dg.EnvVar("MY_FAL_KEY")), store=StoreResource(home="/elsewhere"))
    project = dg.Definitions(jobs=[looking], resources=mine.resources)
    project.resolve_job_def("looking").execute_in_process()

    (studio,) = seen
    assert studio.changes() == {"fal_key": SecretStr("id:secret")}
    assert studio.store.home == "/elsewhere"
