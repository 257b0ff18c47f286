"""When each step of a film was made, as bars on one line of time."""

from collections.abc import Sequence
from dataclasses import dataclass

from media_assets.gallery.shown import ShownStep

_PAUSE_S = 2.0
"""A longer time in which nothing was at work is left out: a run that went on another day, or a step bought before."""
_THINNEST = 0.6
"""Percent; less could not be seen."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One step's place; both in percent of the whole."""

    step: ShownStep
    left: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The bars of a film, in the order of the chain."""

    bars: tuple[Bar, ...]
    total_s: float
    """From the first step's begin to the last one's end, without pauses."""
    pauses_s: float
    """What was left out."""


def timeline(steps: Sequence[ShownStep]) -> Timeline:
    """Lay out when steps ran; pauses are left out, and overlaps kept."""
    starts_s: dict[ShownStep, float] = {}
    pauses_s = end_s = 0.0
    ordered = sorted(steps, key=lambda step: step.begun_at)
    for step in ordered:
        since_s = (step.begun_at - ordered[0].begun_at).total_seconds() - pauses_s
        if since_s - end_s > _PAUSE_S:
            pauses_s += since_s - end_s
            since_s = end_s
        starts_s[step] = since_s
        end_s = max(end_s, since_s + step.duration_s)
    scale = 100 / end_s if end_s > 0 else 0.0
    bars = []
    for step in steps:
        width = max(step.duration_s * scale, _THINNEST)
        bars.append(Bar(step=step, left=round(min(starts_s[step] * scale, 100 - width), 2), width=round(width, 2)))
    return Timeline(bars=tuple(bars), total_s=end_s, pauses_s=pauses_s)
