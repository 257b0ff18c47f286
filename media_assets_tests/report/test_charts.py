"""The report's pictures: there for every report, as wide as promised, and small enough for Dagster."""

import io
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from PIL import Image

from media_assets.catalog import load_catalog
from media_assets.ledger.figures import Duration, Saving, Spend, StandIn
from media_assets.media.tiny_picture import TINY_BYTES
from media_assets.prompt import Step
from media_assets.report import charts
from media_assets.report.tables import Report, nothing_bought
from media_assets.report.uses import model_uses, provider_uses, step_uses

LAST = date(2026, 11, 23)
WIDTH_PX = 800


def _report(days: int, models: int) -> Report:
    """Return a report in which every model is bought on every seventh day, and fails now and then."""
    since = LAST - timedelta(days=days - 1)
    spend = [
        Spend(
            day=since + timedelta(days=number),
            provider=f"provider-{model % 14}",
            model=f"provider-{model % 14}:a-model-with-a-long-name-{model}",
            step=str(list(Step)[model % 3]),
            purchases=3,
            attempts=3,
            succeeded=2,
            failed=1,
            unknown=0,
            cost_usd=Decimal(model + 1) / 7,
            failed_usd=Decimal(model) / 21,
            unknown_usd=Decimal(0),
            quote_usd=Decimal(model + 2) / 5,
        )
        for number in range(0, days, 7)
        for model in range(models)
    ]
    names = sorted({row.model for row in spend})
    took = [
        Duration(model=name, succeeded=good, timed=9, p50_s=3.0 * number, p95_s=8.7 * number)
        for number, name in enumerate(names, start=1)
        for good in (True, False)
    ]
    empty = nothing_bought(load_catalog(), since=since, until=LAST, today=LAST)
    saved = [Saving(model=name, step="video", reused=2, saved_usd=Decimal(n + 1) / 9) for n, name in enumerate(names)]
    stand_ins = [StandIn(model="local:silence", step="audio", degraded=4)]
    found = {
        "spend": spend,
        "models": model_uses(spend, took),
        "providers": provider_uses(spend),
        "steps": step_uses(spend, saved, stand_ins),
        "savings": saved,
        "stand_ins": stand_ins,
    }
    return Report(**{**vars(empty), **found})


def _opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


@pytest.mark.parametrize(("days", "models"), [(1, 1), (800, 20)], ids=["a-day", "two-years"])
def test_every_chart_is_drawn_and_has_a_small_twin(days: int, models: int) -> None:
    """One purchase or thousands: what is too much is put together, not left out and not illegible."""
    for name, chart in charts.draw_all(_report(days, models)).items():
        picture, twin = _opened(chart), charts.small(chart)
        assert picture.width == WIDTH_PX, name
        assert picture.getpixel((WIDTH_PX - 1, picture.height - 1)) == (255, 255, 255), name
        assert len(twin) <= charts.SMALL_BYTES, name
        assert _opened(twin).width >= 420, name


@pytest.mark.parametrize("days", [1, 30, 800])
def test_the_thumbnail_is_shown_in_a_table_cell(days: int) -> None:
    """Longer markdown is folded away behind a button."""
    thumbnail = charts.thumbnail(_report(days, 3))

    assert len(thumbnail) <= TINY_BYTES
    assert (0, 114, 178) in {colour for _, colour in _opened(thumbnail).getcolors() or []}


def test_nothing_bought_is_drawn_as_such() -> None:
    """An empty frame looks like a fault; no picture at all like a lost one."""
    empty = nothing_bought(load_catalog(), since=LAST, until=LAST, today=LAST)

    assert (0, 114, 178) not in {colour for _, colour in _opened(charts.thumbnail(empty)).getcolors() or []}
    for name, chart in charts.draw_all(empty).items():
        picture = _opened(chart)
        middle = picture.crop((300, 90, 500, 140)).convert("1", dither=Image.Dither.NONE)
        assert picture.width == WIDTH_PX, name
        assert middle.histogram()[0] > 50, f"{name} says nothing"


_STEP_COLOURS = [(0, 114, 178), (230, 159, 0), (0, 158, 115)]
"""Of the picture, the clip and the voice."""


def _pixels(picture: bytes, colour: tuple[int, int, int]) -> int:
    return next((count for count, found in _opened(picture).getcolors(10**6) or [] if found == colour), 0)


def test_spending_is_stacked_by_step() -> None:
    """Each step in a colour of its own, as long as its share."""
    report = _report(3, 3)
    dear = [replace(row, cost_usd=row.cost_usd * (9 if row.step == "audio" else 1)) for row in report.spend]

    pictures = [
        charts.spend_by_provider_and_step(replace(report, spend=spend, providers=provider_uses(spend)))
        for spend in (report.spend, dear)
    ]

    assert all(_pixels(picture, colour) > 500 for picture in pictures for colour in _STEP_COLOURS)
    cheap_share, dear_share = (_pixels(one, _STEP_COLOURS[2]) / _pixels(one, _STEP_COLOURS[0]) for one in pictures)
    assert dear_share > 2 * cheap_share


def test_outcomes_show_what_failed_what_is_unknown_and_what_stood_in() -> None:
    """A week in which all went well looks like one."""
    report = _report(3, 3)
    good = [replace(row, failed=0) for row in report.spend]
    bad = [replace(row, unknown=1) for row in report.spend]

    fine, mixed = (
        charts.outcomes(replace(report, steps=step_uses(spend, [], stand_ins)))
        for spend, stand_ins in ((good, []), (bad, report.stand_ins))
    )

    for colour in ((213, 94, 0), (153, 153, 153), (230, 159, 0)):
        assert _pixels(mixed, colour) > 500 > _pixels(fine, colour)


def test_a_step_of_which_nothing_has_ended_has_no_rate() -> None:
    """Nought out of nought is no failure."""
    open_still = [replace(row, succeeded=0, failed=0) for row in _report(1, 1).spend]

    (step,) = step_uses(open_still, [], [])

    assert step.success_rate is None
    assert charts.outcomes(replace(_report(1, 1), steps=[step]))


def test_what_was_saved_is_drawn_with_how_often() -> None:
    few, many = (charts.savings(replace(_report(1, 1), savings=_report(1, models).savings)) for models in (1, 20))

    assert _pixels(few, (0, 158, 115)) > 500
    assert _opened(many).height > 2 * _opened(few).height, "a row a model; the smallest are put together"


def test_equal_reports_are_equal_pictures() -> None:
    """A file that changes whenever it is made cannot be compared with yesterday's."""
    assert charts.spend_by_day(_report(3, 2)) == charts.spend_by_day(_report(3, 2))
