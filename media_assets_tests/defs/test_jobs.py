"""The jobs that make films without the assets' step: batches, the form, and what a changed prompt means to them."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.definitions import build_defs
from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.ledger import open_ledger
from media_assets.ledger.pins import Arrival, readable
from media_assets.prompt import Prompt
from media_assets_tests.defs.materializing import FOUR, at_first_post, newest_checks, pin, purchases_of, quick
from media_assets_tests.simulated import FAST, QUICK, Market, open_market, paid_prompt

_ROUTES = {"image": ["replicate:flux-schnell"], "video": ["fal:stable-video"], "audio": ["elevenlabs:flash-v2.5"]}
_TINY = {"routes": {"audio": ["local:silence"]}}


def _paid(key: str, **fields: Any) -> Prompt:
    return paid_prompt(
        **{"key": key, "prompt": f"barn {key}", "script": f"Old words of {key}.", "routes": _ROUTES, **fields}
    )


class Jobs:
    """Runs the project's jobs in this process."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.instance = instance
        self.home = home
        self._defs = build_defs()

    def run(self, job: str, op: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        """Run a job; a failure is in the result."""
        run_config = {"ops": {op: {"config": config}}} if config else {}
        return self._defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=run_config, raise_on_error=False
        )

    def materialized(self, run: dg.ExecuteInProcessResult) -> dict[str, set[str]]:
        """Return the assets that a run has materialized, by partition."""
        found: dict[str, set[str]] = {}
        for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = entry.get_dagster_event().step_materialization_data.materialization
            found.setdefault(str(event.partition), set()).add(event.asset_key.to_user_string())
        return found

    def checked(self, asset: str, check: str) -> dict[str, str]:
        """Return the newest status of a check by partition."""
        return newest_checks(self.instance, asset, check)

    def summary(self, run: dg.ExecuteInProcessResult) -> dict[str, Any]:
        """Return the metadata of the batch, whether it went well or not."""
        for entry in self.instance.all_logs(run.run_id):
            event = entry.get_dagster_event() if entry.is_dagster_event else None
            if event is not None and event.event_type is dg.DagsterEventType.STEP_OUTPUT:
                return {name: _value(one) for name, one in event.step_output_data.metadata.items()}
            if event is not None and event.event_type is dg.DagsterEventType.STEP_FAILURE:
                failure = event.step_failure_data.user_failure_data
                return {name: _value(one) for name, one in failure.metadata.items()} if failure else {}
        return {}

    def tags(self, run: dg.ExecuteInProcessResult) -> dict[str, str]:
        """Return the tags of a run as they are at its end."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return dict(found.tags)


def _value(metadata: dg.MetadataValue[Any]) -> Any:
    return metadata.records if isinstance(metadata, dg.TableMetadataValue) else metadata.value


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    home, storage = tmp_path / "state", tmp_path / "dagster"
    storage.mkdir()
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        yield Jobs(instance, home)


@pytest.fixture
def market(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Providers that jobs buy from; a picture takes them a second."""
    with open_market(jobs.home, latency_s={"replicate": (1.0, 1.0), "fal": (0.1, 0.2)}) as market:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        yield market


def test_a_batch_makes_what_is_still_to_be_made_and_says_what_came_of_it(jobs: Jobs) -> None:
    """One that cannot be made is explained, and the others are made."""
    pin(jobs.home, quick("a", **_TINY), quick("b", **_TINY), quick("bad", routes={"image": ["no:such"]}))

    run = jobs.run("batch", "make_batch")

    assert not run.success
    assert jobs.materialized(run) == {"a": set(FOUR), "b": set(FOUR)}
    assert jobs.checked("merged", "conforms") == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    assert jobs.checked("merged", "not_degraded") == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    summary = jobs.summary(run)
    assert {name: summary[f"{name}_count"] for name in ("done", "cached", "failed")} == {
        "done": 2,
        "cached": 0,
        "failed": 1,
    }
    (failure,) = summary["failures"]
    assert failure.data["prompt"] == "bad"
    assert "no:such" in str(failure.data["why"])
    assert failure.data["setting"] == ""
    rows = [row.data for row in summary["summary"]]
    assert [(row["what"], row["prompts"], row["usd"]) for row in rows] == [
        ("quoted", 3, 0.0),
        ("done", 2, None),
        ("cached", 0, None),
        ("degraded", 0, None),
        ("failed", 1, None),
        ("deferred", 0, None),
        ("superseded", 0, None),
        ("spent", None, 0.0),
    ]
    assert set(jobs.instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"a", "b", "bad"}
    tags = jobs.tags(run)
    assert (tags["prompts"], tags["quote_usd"], tags["cost_usd"]) == ("3", "0", "0")

    again = jobs.run("batch", "make_batch")
    assert again.success
    assert jobs.summary(again)["prompts"] == 0, "what failed for good is not tried every night"


def test_a_batch_makes_a_key_once_and_no_partition_of_a_key_that_nobody_knows(jobs: Jobs) -> None:
    pin(jobs.home, quick("a", **_TINY))

    run = jobs.run("batch", "make_batch", {"keys": ["a", "nope", "a", "../x", "nope"]})

    summary = jobs.summary(run)
    assert (summary["total_count"], summary["failed"], summary["done_count"]) == (3, ["nope", "../x"], 1)
    assert jobs.instance.get_dynamic_partitions(PARTITIONS_NAME) == ["a"]


@pytest.mark.parametrize("keys", [[], ["a"]])
def test_digests_of_prompts_that_are_not_named_are_refused(jobs: Jobs, keys: list[str]) -> None:
    """Without keys the batch makes all that wait: whoever named some of them by digest did not ask for that."""
    pin(jobs.home, quick("a", **_TINY), quick("b", **_TINY))

    run = jobs.run("batch", "make_batch", {"keys": keys, "digests": {"b": "of another form of it"}})

    assert not run.success
    assert "b: not in `keys`" in " ".join(str(event) for event in jobs.instance.all_logs(run.run_id))
    assert purchases_of(jobs.home, "a") == purchases_of(jobs.home, "b") == {}


def test_a_batch_that_is_stopped_says_how_far_it_came_and_what_it_has_cost(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is paid for and finished in the grace after the signal is told by nobody but the ledger."""
    bought = {"image": ["replicate:sdxl"]}
    size_px, stuck = (1024, 576), {"script": "Look up.", "routes": {**bought, "audio": ["fal:kokoro"]}}
    faults = [{"provider": "fal", "fault": "queue_stuck"}]
    with open_market(jobs.home, faults=faults, latency_s={**QUICK, "replicate": (0.5, 0.5)}) as market:
        for name, value in {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_MAX_IN_FLIGHT": "1"}.items():
            monkeypatch.setenv(name, value)
        free_of_voice = [quick(key, routes=bought, size_px=size_px) for key in ("a", "c")]
        pin(jobs.home, *free_of_voice, quick("b", size_px=size_px, **stuck))
        main = threading.main_thread().ident or 0
        tags: list[str] = []

        def interrupt() -> None:
            while len(market.accepted()) < 3 or not tags or tags[-1] == "0":
                time.sleep(0.05)
                tags.extend(run.tags.get("cost_usd", "0") for run in jobs.instance.get_runs(limit=1))
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        run = jobs.run("batch", "make_batch", {"keys": ["a", "b", "c"]})
        bill_usd = market.bill_usd()

    cost_usd = Decimal(jobs.tags(run)["cost_usd"])
    assert cost_usd == bill_usd > Decimal(tags[-1]) > 0
    told = " ".join(str(event) for event in jobs.instance.all_logs(run.run_id))
    assert f"stopped before its end: 1 done, 1 stopped, 1 not reached; {cost_usd} USD spent of at most" in told


def test_a_prompt_that_was_changed_meanwhile_is_left_to_its_own_run(jobs: Jobs) -> None:
    pin(jobs.home, quick("a", **_TINY), quick("b", **_TINY))
    digests = {"a": Prompt.model_validate(quick("a", **_TINY)).digest, "b": "of another form of it"}

    run = jobs.run("batch", "make_batch", {"keys": ["a", "b"], "digests": digests})

    assert run.success
    assert set(jobs.materialized(run)) == {"a"}
    assert jobs.summary(run)["superseded_count"] == 1
    assert purchases_of(jobs.home, "b") == {}


def test_a_batch_is_made_in_the_order_of_priority(jobs: Jobs, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are begun at once, and the money of the day is enough for one."""
    monkeypatch.setenv("MEDIA_ASSETS_MAX_DAY_USD", "0.09")
    with open_ledger(jobs.home) as ledger:
        for key, priority in (("low", 0), ("high", 9), ("middle", 5)):
            ledger.prompts.pin([_paid(key)], source="test", arrival=Arrival(priority=priority))
        assert [one.key for one in ledger.prompts.waiting()] == ["high", "middle", "low"]

    run = jobs.run("batch", "make_batch")

    assert run.success
    assert jobs.materialized(run) == {"high": set(FOUR)}
    assert (jobs.summary(run)["done_count"], jobs.summary(run)["deferred_count"]) == (1, 2)
    assert len(market.accepted()) == 3


def test_a_prompt_that_is_changed_while_the_batch_is_at_work_is_not_bought_as_it_was(
    jobs: Jobs, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was what the batch was asked for when the batch began."""
    monkeypatch.setenv("MEDIA_ASSETS_MAX_IN_FLIGHT", "1")
    prompts = {key: _paid(key) for key in ("a", "b", "c")}
    pin(jobs.home, *(json.loads(one.model_dump_json()) for one in prompts.values()))
    changed = json.loads(_paid("c", script="New words.").model_dump_json())

    with at_first_post(market, lambda: pin(jobs.home, changed)):
        digests = {key: one.digest for key, one in prompts.items()}
        run = jobs.run("batch", "make_batch", {"keys": list(prompts), "digests": digests})

    assert run.success
    assert jobs.materialized(run) == {"a": set(FOUR), "b": set(FOUR)}
    summary = jobs.summary(run)
    assert (summary["done_count"], summary["superseded_count"]) == (2, 1)
    assert purchases_of(jobs.home, "c") == {}
    assert len(market.accepted()) == 3 * 2
    with open_ledger(jobs.home) as ledger:
        assert {one.prompt.key: one.status for one in readable(ledger.prompts.every())} == {
            "a": "done",
            "b": "done",
            "c": "pending",
        }


def test_what_is_made_of_a_prompt_that_was_changed_meanwhile_is_not_reported_as_the_newest(
    jobs: Jobs, market: Market
) -> None:
    """It is paid for and kept; the newer prompt's own run may end before this one."""
    old, new = _paid("a"), _paid("a", prompt="another barn", script="New words.")
    pin(jobs.home, json.loads(old.model_dump_json()))

    with at_first_post(market, lambda: pin(jobs.home, json.loads(new.model_dump_json()))):
        first = jobs.run("batch", "make_batch", {"keys": ["a"], "digests": {"a": old.digest}})
    second = jobs.run("batch", "make_batch", {"keys": ["a"], "digests": {"a": new.digest}})

    assert first.success
    assert jobs.summary(first)["done_count"] == 1
    assert {"image", "video", "merged"}.isdisjoint(jobs.materialized(first).get("a", ()))
    assert jobs.materialized(second) == {"a": set(FOUR)}
    told = " ".join(entry.user_message for entry in jobs.instance.all_logs(first.run_id))
    assert "a: the prompt was changed while it was made" in told
    with open_ledger(jobs.home) as ledger:
        assert len(ledger.purchases.search(prompt_key="a")) == 2 * len(FOUR)


def test_the_form_takes_a_prompt_and_makes_its_film(jobs: Jobs) -> None:
    """Nobody needs a file."""
    form = {"prompt": "A quiet harbour", "key": "harbour", "size": "512x512"}

    run = jobs.run("submit_prompt", "submit", form)

    assert run.success
    assert jobs.materialized(run) == {"harbour": set(FOUR)}
    assert jobs.instance.get_dynamic_partitions(PARTITIONS_NAME) == ["harbour"]
    assert jobs.tags(run)["prompt"] == "harbour"


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"prompt": " "}, "blank"),
        ({"prompt": "x", "size": "huge"}, "WIDTHxHEIGHT"),
        ({"prompt": "x", "key": "A B"}, "a-z"),
    ],
)
def test_a_form_that_is_filled_in_badly_says_why(jobs: Jobs, form: dict[str, str], why: str) -> None:
    run = jobs.run("submit_prompt", "submit", form)

    assert not run.success
    events = " ".join(str(event) for event in jobs.instance.all_logs(run.run_id))
    assert why in events
    assert "nothing was sent" in events
    assert jobs.instance.get_dynamic_partitions(PARTITIONS_NAME) == []


def test_a_form_may_leave_the_film_to_others(jobs: Jobs) -> None:
    run = jobs.run(
        "submit_prompt", "submit", {"prompt": "A quiet harbour", "key": "later", "make": False, "priority": 3}
    )

    assert run.success
    assert jobs.materialized(run) == {}
    with open_ledger(jobs.home) as ledger:
        (waiting,) = readable(ledger.prompts.waiting())
    assert (waiting.prompt.key, waiting.priority, waiting.arrived) == ("later", 3, 1)
    assert json.loads(json.dumps(jobs.summary(run)["key"])) == "later"
