"""Bars lie where the steps ran, and never outside the picture."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from media_assets.gallery.shown import ShownStep
from media_assets.gallery.timeline import timeline
from media_assets.prompt import Step

_BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def _step(step: Step, at_s: float, duration_s: float) -> ShownStep:
    return ShownStep(
        step=step,
        model="testing:any",
        cost_usd=Decimal(0),
        failed_usd=Decimal(0),
        begun_at=_BEGAN + timedelta(seconds=at_s),
        duration_s=duration_s,
        degraded=False,
        reason=None,
        notes=(),
    )


def test_steps_side_by_side_overlap() -> None:
    """A chain is not a queue: voice and clip are made at the same time."""
    steps = [_step(Step.IMAGE, 0, 2), _step(Step.VIDEO, 2, 6), _step(Step.AUDIO, 0, 4), _step(Step.MERGED, 8, 2)]

    made = timeline(steps)

    assert [(bar.left, bar.width) for bar in made.bars] == [(0, 20), (20, 60), (0, 40), (80, 20)]
    assert [bar.step.step for bar in made.bars] == list(Step)
    assert (made.total_s, made.pauses_s) == (10, 0)


def test_a_pause_of_days_does_not_squeeze_the_bars() -> None:
    """A step that was bought before, or a run that went on another day."""
    day_s = 86_400.0
    made = timeline([_step(Step.AUDIO, day_s, 5), _step(Step.IMAGE, 0, 5), _step(Step.MERGED, 3 * day_s, 10)])

    assert [(bar.left, bar.width) for bar in made.bars] == [(25, 25), (0, 25), (50, 50)]
    assert (made.total_s, made.pauses_s) == (20, 3 * day_s - 10)


@pytest.mark.parametrize("durations_s", [(0.0, 0.0), (0.0, 1e6), (1e6, 0.0)])
def test_every_bar_can_be_seen_and_ends_within_the_picture(durations_s: tuple[float, float]) -> None:
    """What took no time at all was still done."""
    first, second = durations_s
    made = timeline([_step(Step.IMAGE, 0, first), _step(Step.VIDEO, first, second)])

    assert all(bar.width > 0.5 and 0 <= bar.left <= 100 - bar.width for bar in made.bars)


def test_nothing_is_a_timeline_too() -> None:
    """A film that no ledger knows has no steps."""
    assert timeline([]).bars == ()
