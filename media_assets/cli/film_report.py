"""A film, as people read it: a table of its steps, what to know of them, and where it is."""

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from media_assets.cli.output import clean, table
from media_assets.film import Film, StepResult
from media_assets.pricing import usd_text
from media_assets.prompt import Step

usd = usd_text
"""An amount as people write it, by the name that the commands use."""

_COLUMNS = ("step", "provider", "model", "cost, USD", "duration", "cached", "degraded")


def film_report(film: Film) -> Iterator[str | Text | Table]:
    """Yield the lines and the table that tell what was made of one prompt; its error is told elsewhere."""
    yield Text(clean(film.key), style="bold")
    if film.steps:
        yield table(_COLUMNS, map(_row, film.steps.values()), right=frozenset({"cost, USD", "duration"}))
    for result in film.steps.values():
        if result.reason:
            yield f"{result.step}: {result.reason}"
        if result.failed_usd:
            yield f"{result.step}: {usd(result.failed_usd)} USD of its cost went to purchases that failed"
        yield from (f"{result.step}: {note}" for note in result.notes)
    merged = film.steps.get(Step.MERGED)
    if film.error is None and film.path is not None and merged is not None:
        yield f"film: {film.path}"
        yield f"      {_facts(merged, film.path)}, {_money(film)}"
    else:
        for step, outlay in film.outlays.items():
            if outlay.cost_usd:
                yield f"{step}: not made; {usd(outlay.cost_usd)} USD went to purchases that failed"
        yield from (f"{step}: {reason}" for step, reason in film.stopped.items())
        yield from (f"{result.step}: {result.path}" for result in film.steps.values() if result.path is not None)
        yield f"no film{'' if film.error is not None else ' yet'}, {_money(film)}"


def _row(result: StepResult) -> tuple[str, ...]:
    return (
        str(result.step),
        result.provider,
        result.model,
        usd(result.cost_usd),
        f"{result.duration_s:.1f} s",
        "yes" if result.cached else "no",
        "yes" if result.degraded else "no",
    )


def _facts(merged: StepResult, path: Path) -> str:
    info = merged.artifact.info if merged.artifact is not None else None
    if info is None:
        return str(path)
    size = f"{info.size_bytes / 1e6:.1f} MB"
    return f"{info.duration_s or 0:.1f} s, {info.width_px}x{info.height_px}, {info.fps or 0:g} frames/s, {size}"


def _money(film: Film) -> str:
    return f"cost {usd(film.cost_usd)} USD, {usd(film.spent_usd)} USD of it now"
