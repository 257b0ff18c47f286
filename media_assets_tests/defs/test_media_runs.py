"""The four assets materialized in this process: which steps a run makes, finds and reports, by its configuration.

What a person sees and clicks goes through a webserver, in ``test_media_webserver.py``; a run's process takes seconds to
start there, so what does not depend on it is here.
"""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from media_assets.ledger import open_ledger
from media_assets_tests.defs.materializing import FOUR, Stage, at_first_post, pin, quick
from media_assets_tests.simulated import FAST, open_market


def test_selecting_only_merged_makes_and_reports_what_is_missing(stage: Stage) -> None:
    """Upstream assets that were made, and so perhaps paid for, must show up as materialized."""
    stage.add("upstream")

    run = stage.materialize(["merged"], "upstream")

    assert sorted(stage.reported(run)) == ["image", "merged", "video"]


def test_one_by_one_makes_each_step_once(stage: Stage) -> None:
    """Checkpoints: each asset alone, in the order of the chain, buys exactly its own step."""
    stage.add("single")

    for count, asset in enumerate(FOUR, start=1):
        run = stage.materialize([asset], "single")
        assert list(stage.reported(run)) == [asset]
        assert len(stage.purchases("single")) == count

    assert {row.attempts for row in stage.purchases("single").values()} == {1}


def test_new_take_is_taken_once_for_all_retries_of_a_run(stage: Stage) -> None:
    """A retried run must not buy yet another variation (decision record 4)."""
    stage.add("takes")
    stage.materialize(FOUR, "takes")

    run = stage.materialize(FOUR, "takes", new_take=["image"])
    retry_tags = {"dagster/root_run_id": run, "dagster/parent_run_id": run}
    retry = stage.materialize(FOUR, "takes", tags=retry_tags, new_take=["image"])

    assert stage.reported(run)["image"]["cached"] is False
    assert {one["cached"] for one in stage.reported(retry).values()} == {True}
    with open_ledger(stage.home) as ledger:
        takes = sorted(row.take for row in ledger.purchases.search(prompt_key="takes") if row.step == "image")
    assert takes == [0, 1]


def test_lost_artifact_is_made_again_alone(stage: Stage) -> None:
    """A deleted file costs its own step and nothing after it."""
    stage.add("lost")
    first = stage.reported(stage.materialize(FOUR, "lost"))
    Path(first["video"]["path"]).unlink()

    second = stage.reported(stage.materialize(FOUR, "lost"))

    assert {asset: one["cached"] for asset, one in second.items()} == {
        "image": True,
        "video": False,
        "audio": True,
        "merged": True,
    }
    assert second["merged"]["sha256"] == first["merged"]["sha256"]


def test_an_interrupted_run_logs_what_was_called_back_and_what_still_runs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8 in the UI: who terminates a run sees in its log what became of the money that was at work."""
    routes = {"image": ["replicate:sdxl"], "audio": ["fal:kokoro"]}
    stage.add("stopped", script="Look up.", size_px=(1024, 576), routes=routes)
    faults = [{"provider": "replicate", "fault": "run_stuck"}, {"provider": "fal", "fault": "queue_stuck"}]
    with open_market(stage.home, faults=faults) as market:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        main = threading.main_thread().ident or 0

        def interrupt() -> None:
            while len(market.accepted()) < 2:
                time.sleep(0.1)
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        run = stage.materialize(FOUR, "stopped", succeeds=False)
        states = {one["provider"]: one["state"] for one in market.accepted()}

    told = stage.events(run)
    assert states["fal"] == "canceled"
    assert "called back, free, because the run was stopped" in told
    assert "is still open at replicate" in told
    assert "is kept there for 1 h" in told


def test_a_run_whose_prompt_is_changed_meanwhile_yields_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest materialization is that of the prompt that is pinned, whichever run ends last."""
    routes = {"image": ["replicate:flux-schnell"], "video": ["local:ken-burns"], "audio": ["local:silence"]}
    stage.add("changed", routes=routes)
    new = quick("changed", routes=routes, prompt="Another harbour")
    with open_market(stage.home, latency_s={"replicate": (1.0, 1.0)}) as market:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        with at_first_post(market, lambda: pin(stage.home, new)):
            first = stage.materialize(FOUR, "changed")
        second = stage.materialize(FOUR, "changed")

        assert len(market.accepted()) == 2
    assert stage.reported(first) == {}
    assert "the prompt was changed while it was made" in stage.events(first)
    assert set(stage.reported(second)) == set(FOUR)


def test_unknown_partition_fails_with_what_to_do(stage: Stage) -> None:
    """A partition that was typed into the UI has no prompt behind it."""
    stage.add_partition("typed-by-hand")

    run = stage.materialize(["image"], "typed-by-hand", succeeds=False)

    assert "media-assets generate" in stage.events(run)


@pytest.mark.parametrize(
    "config",
    [{"max_cost_usd": "cheap"}, {"max_run_usd": "cheap"}, {"unknown": "guess"}, {"new_take": ["picture"]}],
    ids=lambda one: next(iter(one)),
)
def test_bad_run_configuration_fails_before_anything_is_made(stage: Stage, config: dict[str, Any]) -> None:
    """The launchpad takes any text; a cap that is not a number must not become no cap."""
    stage.add("bad-config")

    run = stage.materialize(["image"], "bad-config", succeeds=False, **config)

    assert next(iter(config)) in stage.events(run)
    assert stage.purchases("bad-config") == {}


def test_a_retry_does_not_begin_with_what_its_parent_has_cost(stage: Stage) -> None:
    """Dagster hands a run's tags on to its retry, which may end before it has anything to say of its own."""
    stage.add("again")
    inherited = {"cost_usd": "9", "quote_usd": "9"}

    refused = stage.materialize(["image"], "again", succeeds=False, tags=inherited, unknown="guess")
    made = stage.materialize(["image"], "again", tags=inherited)

    assert stage.tags(refused)["cost_usd"] == "0"
    assert (stage.tags(made)["cost_usd"], stage.tags(made)["quote_usd"]) == ("0", "0")


def test_an_unknown_outcome_says_what_is_at_stake_and_a_run_may_decide(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been billed is in the failure; the next run's configuration has it submitted once more."""
    with open_market(stage.home, faults=[{"call": "submit", "fault": "exec_and_drop", "times": 1}]) as market:
        for name, value in {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_RESUBMIT_MAX_USD": "1"}.items():
            monkeypatch.setenv(name, value)
        stage.add("held", routes={"image": ["openai:gpt-image-2"]})

        held = stage.materialize(["image"], "held", succeeds=False)
        capped = stage.materialize(["image"], "held", succeeds=False, unknown="resubmit_if_cheap", max_run_usd="0")
        stage.materialize(["image"], "held", unknown="resubmit_if_cheap")

        at_most = stage.purchases("held")["image"].estimate_micro_usd / 10**6
        told, numbers = stage.failure(held)
        assert numbers["at_most_usd"] == at_most
        assert (numbers["paid_usd"], numbers["failed_usd"], numbers["rerun_usd"]) == (0, 0, 0)
        assert "may have been billed" in told
        assert "MEDIA_ASSETS_UNKNOWN_POLICY" in told
        assert "MEDIA_ASSETS_MAX_RUN_USD" in stage.events(capped)
        assert (market.posts(), len(market.accepted())) == (2, 2)
