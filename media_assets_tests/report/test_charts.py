"""The report's pictures: there for every report, as wide as promised, and small enough for Dagster."""

import io
from datetime import date, timedelta
from decimal import Decimal

import pytest
from PIL import Image

from media_assets.catalog import load_catalog
from media_assets.ledger.figures import Duration, Spend
from media_assets.media.tiny_picture import TINY_BYTES
from media_assets.report import charts
from media_assets.report.tables import Report, model_uses, nothing_bought

LAST = date(2026, 11, 23)
WIDTH_PX = 800


def _report(days: int, models: int) -> Report:
    """Return a report in which every model is bought on every seventh day, and fails now and then."""
    since = LAST - timedelta(days=days - 1)
    spend = [
        Spend(
            day=since + timedelta(days=number),
            provider=f"provider-{model % 10}",
            model=f"provider-{model % 10}:a-model-with-a-long-name-{model}",
            step="image",
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
    return Report(**{**vars(empty), "spend": spend, "models": model_uses(spend, took)})


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


def test_equal_reports_are_equal_pictures() -> None:
    """A file that changes whenever it is made cannot be compared with yesterday's."""
    assert charts.spend_by_day(_report(3, 2)) == charts.spend_by_day(_report(3, 2))
