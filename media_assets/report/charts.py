"""The report in pictures: PNG at 800 pixels' width, on white, readable without colour vision.

Matplotlib takes 0.7 s of CPU and 40 MB to import (measured 2026-11-30), so nothing imports this that draws nothing. Its
state for scripts (pyplot) is not used: pictures may be drawn in any thread.
"""

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from media_assets.durable import write_whole_bytes
from media_assets.media.tiny_picture import tiny_picture
from media_assets.prompt import Step
from media_assets.report.tables import Report
from media_assets.report.uses import ModelUse, StepUse, total

SMALL_BYTES = 15_000
"""Of a picture in an event of Dagster's, which is a database row that lists load."""

_WIDTH_PX, _DPI = 800, 100
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe and Ito's, which people tell apart however they see colours."""
_ENDS = (
    ("succeeded", _COLOURS[0], "succeeded"),
    ("failed", _COLOURS[5], "failed"),
    ("unknown", _COLOURS[7], "unknown outcome"),
)
"""Of purchases: the field, its colour and its name."""
_PALE, _INK, _GREY = "#BFD7E8", "#222222", "#666666"
_THUMBNAIL_PX = (192, 64)
_MOST_MODELS = 12
_MOST_TICKS = 10
_BAR_DAYS = {1: "day", 7: "week"}
"""How many days a bar is of: the fewest that do not make too many bars, or as many weeks as it takes."""
_MOST_BARS, _LEAST_BARS = 92, 7
_SMALL_COLOURS = (32, 16)
_SMALL_WIDTHS_PX = (720, 560, 420, 320)
_SMALL_QUALITIES = (50, 25)


def draw_all(report: Report) -> dict[str, bytes]:
    """Return every chart as a PNG, by name."""
    return {name: draw(report) for name, draw in CHARTS.items()}


def write_charts(charts: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write charts into a folder, which is made; return the files.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in charts.items():
        write_whole_bytes(folder / f"{name}.png", [picture])
    return [folder / f"{name}.png" for name in charts]


def small(chart: bytes) -> bytes:
    """Return a chart as a WebP of at most ``SMALL_BYTES``: without loss where few colours do, else smaller."""
    with Image.open(io.BytesIO(chart), formats=["PNG"]) as opened:
        source = opened.convert("RGB")
    for colours in _SMALL_COLOURS:
        data = io.BytesIO()
        few = source.quantize(colours, dither=Image.Dither.NONE).convert("RGB")
        few.save(data, "WEBP", lossless=True, method=6)
        if data.tell() <= SMALL_BYTES:
            return data.getvalue()
    return tiny_picture(chart, max_bytes=SMALL_BYTES, widths_px=_SMALL_WIDTHS_PX, qualities=_SMALL_QUALITIES)


def spend_by_day(report: Report) -> bytes:
    """Draw what was spent on each UTC day, stacked by provider; by the week or more where those are too many."""
    width, by_provider = _bars(report)
    title = f"Spent by {_BAR_DAYS.get(width, f'{width} days')} (UTC)"
    if not by_provider:
        return _nothing(report, title)
    figure, axes = _axes(report, title, height_px=420)
    bars = len(next(iter(by_provider.values())))
    bottom = [0.0] * bars
    for colour, (provider, heights) in zip(_COLOURS, _largest(by_provider).items(), strict=False):
        axes.bar(range(bars), heights, bottom=bottom, width=0.8, color=colour, label=provider)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    shown = range(0, bars, -(-bars // _MOST_TICKS))
    form = "%d %b" if report.since.year == report.until.year else "%d %b\n%Y"
    axes.set_xticks(shown, [f"{report.since + timedelta(days=number * width):{form}}" for number in shown])
    axes.set_xlim(-0.6, max(bars, _LEAST_BARS) - 0.4)
    axes.set_ylim(0, max(bottom) * 1.18)
    axes.set_ylabel("USD")
    axes.legend(loc="upper left", frameon=False, ncols=5, fontsize=10)
    return _as_png(figure)


def thumbnail(report: Report) -> bytes:
    """Draw what was spent by day as bars and no more: a WebP so small that Dagster shows it in a table cell."""
    _, by_provider = _bars(report)
    totals = [sum(heights) for heights in zip(*by_provider.values(), strict=True)]
    width_px, height_px = _THUMBNAIL_PX
    picture = Image.new("RGB", _THUMBNAIL_PX, "white")
    draw = ImageDraw.Draw(picture)
    for number, height in enumerate(totals):
        left_px, right_px = (round(edge * width_px / len(totals)) for edge in (number, number + 1))
        top_px = height_px - round(height / max(totals) * height_px)
        draw.rectangle((left_px, top_px, max(right_px - 2, left_px), height_px), fill=_COLOURS[0])
    draw.line((0, height_px - 1, width_px, height_px - 1), fill=_GREY)
    data = io.BytesIO()
    picture.save(data, "WEBP", lossless=True, method=6)
    return data.getvalue()


def _bars(report: Report) -> tuple[int, dict[str, list[float]]]:
    """Return how many days a bar is of, and what was spent in each bar by provider."""
    days = (report.until - report.since).days + 1
    width = next((width for width in _BAR_DAYS if days <= _MOST_BARS * width), -(-days // (_MOST_BARS * 7)) * 7)
    by_provider: dict[str, list[float]] = defaultdict(lambda: [0.0] * -(-days // width))
    for row in report.spend:
        if row.cost_usd:
            by_provider[row.provider][(row.day - report.since).days // width] += float(row.cost_usd)
    return width, dict(by_provider)


def _largest(by_provider: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return as many as there are colours, by name; the smallest are put together where there are more."""
    if len(by_provider) <= len(_COLOURS):
        return dict(sorted(by_provider.items()))
    ordered = sorted(by_provider, key=lambda name: sum(by_provider[name]), reverse=True)
    kept, rest = ordered[: len(_COLOURS) - 1], ordered[len(_COLOURS) - 1 :]
    others = [sum(heights) for heights in zip(*(by_provider[name] for name in rest), strict=True)]
    return {name: by_provider[name] for name in sorted(kept)} | {f"{len(rest)} others": others}


def spend_by_model(report: Report) -> bytes:
    """Draw what was spent on each model, the most expensive on top, with the part that failed."""
    paid = sorted((one for one in report.models if one.cost_usd), key=lambda one: one.cost_usd, reverse=True)
    title = "Spent by model"
    if not paid:
        return _nothing(report, title)
    names = [one.model for one in paid[:_MOST_MODELS]]
    costs = [float(one.cost_usd) for one in paid[:_MOST_MODELS]]
    failed = [float(one.failed_usd) for one in paid[:_MOST_MODELS]]
    if rest := paid[_MOST_MODELS:]:
        names.append(f"{len(rest)} others")
        costs.append(sum(float(one.cost_usd) for one in rest))
        failed.append(sum(float(one.failed_usd) for one in rest))
    figure, axes = _rows(report, title, names)
    axes.barh(range(len(names)), costs, color=_COLOURS[0], height=0.62, label="cost")
    if any(failed):
        axes.barh(range(len(names)), failed, color=_COLOURS[5], height=0.62, label="of it for what failed")
        _legend(axes)
    for number, cost in enumerate(costs):
        axes.text(cost, number, f" {_amount(cost)}", va="center", fontsize=10, color=_INK)
    axes.set_xlim(0, max(costs) * 1.15)
    axes.set_xlabel("USD")
    return _as_png(figure)


def spend_by_provider_and_step(report: Report) -> bytes:
    """Draw what was spent at each provider, the most expensive on top, stacked by the step it was spent for."""
    paid = sorted((one for one in report.providers if one.cost_usd), key=lambda one: one.cost_usd, reverse=True)
    title = "Spent by provider and step"
    if not paid:
        return _nothing(report, title)
    kept, rest = paid[:_MOST_MODELS], paid[_MOST_MODELS:]
    row_of = {one.provider: min(number, _MOST_MODELS) for number, one in enumerate(paid)}
    names = [one.provider for one in kept] + ([f"{len(rest)} others"] if rest else [])
    figure, axes = _rows(report, title, names)
    left = [0.0] * len(names)
    for colour, step in zip(_COLOURS, Step, strict=False):
        costs = [0.0] * len(names)
        for row in report.spend:
            if row.step == step and row.cost_usd:
                costs[row_of[row.provider]] += float(row.cost_usd)
        if any(costs):
            axes.barh(range(len(names)), costs, left=left, color=colour, height=0.62, label=str(step))
            left = [before + cost for before, cost in zip(left, costs, strict=True)]
    for number, cost in enumerate(left):
        axes.text(cost, number, f" {_amount(cost)}", va="center", fontsize=10, color=_INK)
    axes.set_xlim(0, max(left) * 1.15)
    axes.set_xlabel("USD")
    _legend_above(axes)
    return _as_png(figure)


def outcomes(report: Report) -> bytes:
    """Draw how the purchases for each step ended, and below them how many of its steps a stand-in made."""
    title = "Outcomes by step"
    if not report.steps:
        return _nothing(report, title, "nothing was bought")
    figure, axes = _rows(report, title, [_with_step_rate(one) for one in report.steps])
    rows = range(len(report.steps))
    left = [0] * len(report.steps)
    for field, colour, label in _ENDS:
        counts = [getattr(one, field) for one in report.steps]
        if any(counts):
            axes.barh([row - 0.16 for row in rows], counts, left=left, color=colour, height=0.34, label=label)
            left = [before + count for before, count in zip(left, counts, strict=True)]
    degraded = [one.degraded for one in report.steps]
    axes.barh([row + 0.2 for row in rows], degraded, color=_COLOURS[1], height=0.22, label="degraded")
    for row, one in enumerate(report.steps):
        told = [f"{getattr(one, field)} {field}" for field, _, _ in _ENDS if getattr(one, field)]
        axes.text(left[row], row - 0.16, f" {', '.join(told)}", va="center", fontsize=9, color=_INK)
        if one.degraded:
            axes.text(one.degraded, row + 0.2, f" {one.degraded} degraded", va="center", fontsize=9, color=_INK)
    axes.set_xlim(0, max(*left, *degraded, 1) * 1.45)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("purchases; degraded: finished steps that a stand-in made")
    _legend_above(axes)
    return _as_png(figure)


def _with_step_rate(one: StepUse) -> str:
    return one.step if one.success_rate is None else f"{one.step}\n{one.success_rate:.0%} succeeded"


def savings(report: Report) -> bytes:
    """Draw what was not paid again of each model, because a purchase was there, the most on top."""
    saved = sorted((one for one in report.savings if one.saved_usd), key=lambda one: one.saved_usd, reverse=True)
    title = "Saved by taking what was there"
    if not saved:
        return _nothing(report, title, "nothing was taken twice")
    amounts = {f"{one.model}\n{one.reused} × taken again": float(one.saved_usd) for one in saved[:_MOST_MODELS]}
    if rest := saved[_MOST_MODELS:]:
        amounts[f"{len(rest)} others"] = float(total(one.saved_usd for one in rest))
    figure, axes = _rows(report, title, list(amounts))
    axes.barh(range(len(amounts)), list(amounts.values()), color=_COLOURS[2], height=0.62)
    for number, amount in enumerate(amounts.values()):
        axes.text(amount, number, f" {_amount(amount)}", va="center", fontsize=10, color=_INK)
    axes.set_xlim(0, max(amounts.values()) * 1.15)
    axes.set_xlabel("USD, at least")
    return _as_png(figure)


def quote_and_cost(report: Report) -> bytes:
    """Draw what each model was quoted at most, and what it cost."""
    quoted = sorted((one for one in report.models if one.quote_usd), key=lambda one: one.quote_usd, reverse=True)
    title = "Quote (worst case) against cost"
    if not quoted:
        return _nothing(report, title)
    shown = quoted[:_MOST_MODELS]
    figure, axes = _rows(report, title, [one.model for one in shown])
    quotes, costs = [float(one.quote_usd) for one in shown], [float(one.cost_usd) for one in shown]
    axes.barh(range(len(shown)), quotes, color=_PALE, height=0.74, label="quote, worst case")
    axes.barh(range(len(shown)), costs, color=_COLOURS[0], height=0.38, label="cost")
    for number, one in enumerate(shown):
        share = f" {one.cost_to_quote or 0:.0%}"
        axes.text(max(quotes[number], costs[number]), number, share, va="center", fontsize=10, color=_INK)
    axes.set_xlim(0, max(*quotes, *costs) * 1.15)
    axes.set_xlabel("USD; beside each model: cost as a share of its quote")
    _legend(axes)
    return _as_png(figure)


def durations(report: Report) -> bytes:
    """Draw how long purchases of each model took, good ones and failed ones, beside how many succeeded."""
    timed = [one for one in report.models if one.p50_s is not None or one.failed_p50_s is not None]
    title = "Duration (median to 95th percentile) and success"
    if not timed:
        return _nothing(report, title, "nothing was bought")
    shown = sorted(timed, key=lambda one: max(one.p95_s or 0, one.failed_p95_s or 0), reverse=True)[:_MOST_MODELS]
    figure, axes = _rows(report, title, [_with_rate(one) for one in shown])
    for number, one in enumerate(shown):
        for p50_s, p95_s, offset, colour in (
            (one.p50_s, one.p95_s, -0.13, _COLOURS[0]),
            (one.failed_p50_s, one.failed_p95_s, 0.17, _COLOURS[5]),
        ):
            if p50_s is not None and p95_s is not None:
                axes.plot([p50_s, p95_s], [number + offset] * 2, color=colour, linewidth=5, solid_capstyle="butt")
                axes.plot([p50_s], [number + offset], "o", color=colour, markersize=8)
                axes.text(p95_s, number + offset, f"   {_seconds(p50_s, p95_s)}", va="center", fontsize=9, color=_INK)
    axes.plot([], [], "o-", color=_COLOURS[0], linewidth=5, label="succeeded")
    axes.plot([], [], "o-", color=_COLOURS[5], linewidth=5, label="failed")
    longest_s = max(second or 0 for one in shown for second in (one.p95_s, one.failed_p95_s))
    axes.set_xlim(0, max(longest_s, 0.001) * 1.25)
    axes.set_xlabel("seconds")
    _legend(axes)
    return _as_png(figure)


def _with_rate(one: ModelUse) -> str:
    ended = one.succeeded + one.failed
    return f"{one.model}\n{one.success_rate or 0:.0%} of {ended} succeeded"


CHARTS: Mapping[str, Callable[[Report], bytes]] = {
    "spend_by_day": spend_by_day,
    "spend_by_model": spend_by_model,
    "spend_by_provider_and_step": spend_by_provider_and_step,
    "quote_and_cost": quote_and_cost,
    "durations": durations,
    "outcomes": outcomes,
    "savings": savings,
}
"""Every chart, by the name of its file."""


def _axes(report: Report, title: str, *, height_px: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    text = f"{title}, {report.since} to {report.until}"
    figure.suptitle(text, x=0.012, ha="left", fontsize=12, color=_INK, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_INK, labelsize=10)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    return figure, axes


def _rows(report: Report, title: str, names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return axes with one row a name, from the top."""
    figure, axes = _axes(report, title, height_px=150 + 46 * max(len(names), 2))
    axes.grid(visible=False)
    axes.grid(axis="x", color="#E5E5E5")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.8, fontsize=10)


def _legend_above(axes: Axes) -> None:
    """Where rows may be as long at the bottom as at the top, and a legend would cover them."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=4, fontsize=10, borderpad=0)


def _nothing(report: Report, title: str, why: str = "nothing was spent") -> bytes:
    figure, axes = _axes(report, title, height_px=220)
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=16, color=_GREY, transform=axes.transAxes)
    return _as_png(figure)


def _amount(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 1 else f"{usd:.3g}"


def _seconds(p50_s: float, p95_s: float) -> str:
    return f"{p50_s:.3g} s" if p50_s == p95_s else f"{p50_s:.3g} to {p95_s:.3g} s"


def _as_png(figure: Figure) -> bytes:
    data = io.BytesIO()
    # Without what differs from one version of the library to the next.
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
