"""A run that outlasts its deadline: cut off where only the deadline bounds its cost, waited for elsewhere."""

from pathlib import Path

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import Billed, PredictionFailedError, PredictionTimeoutError
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.scripted import ReplicateScript, scripted
from media_assets_tests.simulated import hurried


def _overdue(model: str) -> ModelSpec:
    return hurried(model, run_deadline_s=0.05)


def test_a_run_that_is_paid_by_the_second_is_cut_off_at_its_deadline(tmp_path: Path) -> None:
    """Replicate is told the deadline; where it does not keep it, nothing else bounds what was reserved."""
    canceled = {"status": "canceled", "started_at": "2026-11-30T10:00:00Z", "metrics": {"predict_time": 3.5}}
    script = ReplicateScript(canceled=canceled)
    with scripted(tmp_path, script) as provider:
        one = provider.buy(_overdue("replicate:sdxl"))

    assert isinstance(one.error, PredictionFailedError)
    assert (script.cancels, one.posts) == (1, 1)
    assert (one.error.billed, one.row.state) == (Billed.YES, PurchaseState.FAILED_PAID)
    assert one.row.cost_micro_usd == 4_900, "3.5 s at 0.0014 USD: by what it ran, not by what was reserved"
    assert reserved_micro_usd(tmp_path) == 0


def test_a_run_that_is_over_before_it_is_cut_off_is_kept(tmp_path: Path) -> None:
    """A cancel may come too late; then there is an output, and it is paid for."""
    failed = {"status": "failed", "error": "out of memory", "metrics": {"predict_time": 2}}
    with scripted(tmp_path, ReplicateScript(canceled=failed)) as provider:
        one = provider.buy(_overdue("replicate:sdxl"))

    assert "out of memory" in str(one.error)
    assert one.row.cost_micro_usd == 2_800


def test_a_run_that_cannot_be_cut_off_is_waited_for_by_the_next_run(tmp_path: Path) -> None:
    script = ReplicateScript()
    with scripted(tmp_path, script) as provider:
        one = provider.buy(_overdue("replicate:sdxl"))

    assert isinstance(one.error, PredictionTimeoutError)
    assert (script.cancels, one.row.state) == (1, PurchaseState.SUBMITTED)
    assert reserved_micro_usd(tmp_path) == one.row.estimate_micro_usd > 0


@pytest.mark.parametrize("model", ["replicate:flux-schnell"])
def test_a_run_that_is_paid_by_the_picture_is_waited_for(tmp_path: Path, model: str) -> None:
    """It costs the same however long it takes: a cancel would throw away what is paid for."""
    script = ReplicateScript(canceled={"status": "canceled"})
    with scripted(tmp_path, script) as provider:
        one = provider.buy(_overdue(model))

    assert isinstance(one.error, PredictionTimeoutError)
    assert script.cancels == 0


def test_no_model_that_is_paid_by_the_second_has_a_deadline_that_is_not_kept() -> None:
    """Replicate takes none below 5 s, and what is reserved goes by what it is told."""
    fields = load_catalog().get("replicate:sdxl").model_dump(by_alias=True, mode="json")

    with pytest.raises(ValueError, match=r"run_deadline_s: must be at least 5"):
        ModelSpec.model_validate({**fields, "run_deadline_s": 4.9})
    assert ModelSpec.model_validate({**fields, "run_deadline_s": 5}).run_deadline_s == 5
