"""Asset checks: the judge's verdict with its numbers beside each materialization, for its partition alone."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.conformity import conformity_of
from media_assets.defs.checks import evaluations
from media_assets.ledger import open_ledger
from media_assets.prompt import Step
from media_assets_tests.defs.materializing import Stage
from media_assets_tests.making import cheap_prompt, studio_on
from media_assets_tests.simulated import FAST, open_market

BOTH = ("conforms", "not_degraded")


def _by_name(checks: list[dg.AssetCheckEvaluation]) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = {(one.asset_key.to_user_string(), one.check_name): one for one in checks}
    assert len(found) == len(checks)
    return found


def _numbers(check: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def test_every_asset_is_checked_with_the_numbers_of_its_file(stage: Stage) -> None:
    """Selecting only the film reports what it is made from too, so that is checked too."""
    stage.add("plain")

    checks = _by_name(stage.checks(stage.materialize(["merged"], "plain")))

    assert set(checks) == {(asset, name) for asset in ("image", "video", "merged") for name in BOTH}
    assert all(one.passed and one.partition == "plain" for one in checks.values())
    assert stage.recorded("merged", "conforms") == {"plain": "SUCCEEDED"}
    image, video, merged = (_numbers(checks[asset, "conforms"]) for asset in ("image", "video", "merged"))
    assert (image["width_px"], image["requested_width_px"], image["height_drift_px"]) == (512, 512, 0)
    assert (image["black_ratio"], video["black_ratio"]) == (0, 0)
    assert image["mean_luma"] > 0
    assert (video["width_px"], video["requested_duration_s"]) == (512, 1)
    assert video["media_duration_s"] == pytest.approx(1, abs=0.05)
    assert video["duration_drift_s"] == pytest.approx(video["media_duration_s"] - 1)
    assert video["motion_mean"] > 0
    assert merged["requested_duration_s"] == video["media_duration_s"]
    assert abs(merged["duration_drift_s"]) <= 0.1
    assert abs(merged["stream_drift_s"]) <= 0.1

    made = stage.purchases("plain")
    stage.add("later")
    alone = stage.check(["audio", "merged"])
    again = _by_name(stage.checks(alone))
    assert {name: _numbers(again["merged", name]) for name in BOTH} == {
        name: _numbers(checks["merged", name]) for name in BOTH
    }
    assert stage.recorded("merged", "conforms") == {"plain": "SUCCEEDED"}
    assert set(again) == {("merged", name) for name in BOTH}
    assert "plain: there is no audio to check yet" in stage.events(alone)
    assert "later: there is no merged to check yet" in stage.events(alone)
    assert stage.reported(alone) == {}
    assert (stage.purchases("plain"), stage.purchases("later")) == (made, {}), (
        "the UI has a button for checks alone, which must not spend"
    )


def test_a_stand_in_fails_its_check_for_its_own_partition_alone(stage: Stage) -> None:
    """In a run over several prompts too, where Dagster itself would forget the partition."""
    stage.add("plain")
    stage.add("mute", script="Look up.", routes={"audio": ["local:silence"]})

    checks = stage.checks(stage.materialize_range(["audio"], "plain", "mute"))

    assert len(checks) == 4
    (failed,) = (one for one in checks if not one.passed)
    assert (failed.partition, failed.check_name) == ("mute", "not_degraded")
    assert failed.severity is dg.AssetCheckSeverity.WARN
    assert "local:silence: the script is not spoken" in str(failed.description)
    assert stage.recorded("audio", "not_degraded") == {"plain": "SUCCEEDED", "mute": "FAILED"}
    assert stage.recorded("audio", "conforms") == {"plain": "SUCCEEDED", "mute": "SUCCEEDED"}
    silent = next(_numbers(one) for one in checks if (one.partition, one.check_name) == ("plain", "conforms"))
    assert (silent["audible_ratio"], silent["requested_duration_s"]) == (0, 1)
    assert silent["duration_drift_s"] == pytest.approx(0, abs=0.01)


def test_a_refused_file_tells_its_money_and_an_accepted_one_who_accepted_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not good enough is never materialized; a person may overrule that, and then the check says so."""
    faults = [{"provider": "elevenlabs", "fault": "silent_output"}]
    with open_market(stage.home, faults=faults) as market:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        routes = {"image": ["replicate:sdxl"], "audio": ["elevenlabs:multilingual-v2"]}
        stage.add("hushed", script="Look up.", size_px=(1024, 576), routes=routes)
        stage.materialize(["image"], "hushed")

        refused = stage.materialize(["audio"], "hushed", succeeds=False)
        told, numbers = stage.failure(refused)
        bought = stage.purchases("hushed")
        told_in_log = stage.events(refused)
        with open_ledger(stage.home) as ledger:
            ledger.decisions.accept(bought["audio"], who="ada")
        accepted = _by_name(stage.checks(stage.materialize(["audio"], "hushed")))
        bill_usd = market.bill_usd()

    paid_usd, failed_usd = (Decimal(bought[step].cost_micro_usd or 0) / 10**6 for step in ("image", "audio"))
    assert stage.checks(refused) == []
    assert (numbers["paid_usd"], numbers["failed_usd"]) == (float(paid_usd), float(failed_usd))
    assert numbers["missing_usd"] == bought["audio"].estimate_micro_usd / 10**6 > 0
    assert numbers["rerun_usd"] == 0, "a rerun alone does not buy again what has failed for good"
    assert f"Paid and kept: image by replicate:sdxl, {paid_usd:f} USD." in told
    assert f"What failed cost {failed_usd:f} USD." in told
    again = "With `retry_failed` in the run's configuration, or a new take, what is missing costs at most"
    assert f"{again} {numbers['missing_usd']:.4f} USD more." in told
    assert "hushed: audio failed: JudgeError: " in told_in_log
    assert "media-assets ledger accept" in told
    assert paid_usd + failed_usd == bill_usd
    check = accepted["audio", "conforms"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (_numbers(check)["accepted_by"], _numbers(check)["audible_ratio"]) == ("ada", 0)
    assert "ada: accepted by a person, though the voice is not good enough: it is silent" in str(check.description)
    assert accepted["audio", "not_degraded"].passed


def test_what_a_cap_stops_says_what_a_rerun_costs_and_which_setting_decides(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one prompt, and in sums for several."""
    with open_market(stage.home) as market:
        for name, value in {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_MAX_COST_USD": "0.001"}.items():
            monkeypatch.setenv(name, value)
        for key in ("one", "two"):
            stage.add(key, size_px=(1024, 576), routes={"image": ["replicate:sdxl"]})
        told, numbers = stage.failure(stage.materialize(["image"], "one", succeeds=False))
        both = stage.materialize_range(["image"], "one", "two", succeeds=False)
        told_of_both, sums = stage.failure(both)
        assert market.posts() == 0

    assert "MEDIA_ASSETS_MAX_COST_USD" in told
    assert f"Once that is changed, what is missing costs at most {numbers['missing_usd']} USD more." in told
    assert (numbers["paid_usd"], numbers["failed_usd"]) == (0, 0)
    assert "2 of 2 prompts failed" in told_of_both
    assert "MEDIA_ASSETS_MAX_COST_USD" in told_of_both
    assert sums["missing_usd"] == pytest.approx(2 * numbers["missing_usd"])
    assert numbers["rerun_usd"] == sums["rerun_usd"] == 0
    assert "A rerun alone does not try 2 of them again" in told_of_both
    assert "2 deferred; 0 USD spent of at most" in stage.events(both)
    assert sums["deferred_count"] == 2


def test_a_large_run_leaves_out_only_that_nothing_stands_in(tmp_path: Path) -> None:
    """Each event takes Dagster as long as a small film; a stand-in is told however many there are."""
    with studio_on(tmp_path) as studio:
        steps = asyncio.run(studio.make(cheap_prompt())).steps
        found = {step: conformity_of(studio, "cheap", result) for step, result in steps.items()}

    def told(step: Step, *, every: bool) -> list[str]:
        return [one.check_name for one in evaluations("cheap", steps[step], found[step], target=None, every=every)]

    assert told(Step.IMAGE, every=True) == ["conforms", "not_degraded"]
    assert told(Step.IMAGE, every=False) == ["conforms"]
    assert told(Step.MERGED, every=False) == ["conforms", "not_degraded"], "its voice is silent"
