"""The report's tables: what they say of real purchases is what the budgets say, and files of them are harmless."""

import csv
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.ledger import open_ledger
from media_assets.pricing import price_read_on
from media_assets.report.tables import Report, build_report, nothing_bought, write_csv
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.making import reserved_of
from media_assets_tests.report.few_days import buy_a_few

FIRST, LAST = date(2026, 11, 17), date(2026, 11, 23)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home in which something was bought in every way there is."""
    path = tmp_path_factory.mktemp("few-days")
    buy_a_few(path)
    return path


def _report(home: Path, since: date = FIRST, until: date = LAST, today: date = LAST) -> Report:
    with open_ledger(home) as ledger:
        return build_report(ledger, load_catalog(), since=since, until=until, today=today)


def test_the_totals_are_what_the_budgets_say(home: Path) -> None:
    """The report adds up purchases, the budgets were settled one by one: whoever is wrong, they must not agree."""
    totals = _report(home).totals

    with open_ledger(home) as ledger:
        (day,) = (one for one in ledger.spending.of_days(LAST, LAST) if one.scope.startswith("day:"))
        assert totals.spent_usd == Decimal(day.spent_micro_usd) / 10**6 == Decimal("1.51")
        assert totals.unknown_reserved_usd == Decimal(reserved_of(ledger)) / 10**6 == Decimal("0.5")
    assert (totals.succeeded_count, totals.failed_count, totals.unknown_count) == (6, 3, 1)
    assert (totals.failed_usd, totals.quote_usd, totals.success_rate) == (Decimal("0.5"), Decimal("1.51"), 0.6667)


def test_a_time_has_its_own_days_and_of_late_is_as_of_today(home: Path) -> None:
    """A report of last week must not change what the last seven days cost."""
    report = _report(home, since=date(2026, 11, 18), until=date(2026, 11, 21))

    assert [(f"{row.day}", row.cost_usd, row.failed) for row in report.days] == [
        ("2026-11-20", Decimal(1), 1),
        ("2026-11-21", Decimal("0.01"), 1),
    ]
    assert report.totals.spent_usd == Decimal("1.01")
    of_late = (report.totals.spent_today_usd, report.totals.spent_7d_usd, report.totals.spent_30d_usd)
    assert list(map(str, of_late)) == ["0", "1.51", "1.51"]


def test_models_tell_success_duration_and_quote(home: Path) -> None:
    """What to change in a route is read from here: who fails, how fast, and at what price."""
    models = {one.model: one for one in _report(home).models}

    silence, gone = models["testing:silence"], models["testing:ken-burns"]
    assert (silence.purchases, silence.succeeded, silence.failed, silence.unknown) == (5, 2, 2, 1)
    assert (silence.success_rate, silence.cost_to_quote, silence.failed_untimed) == (0.5, 1.0, 0)
    assert silence.p95_s is not None
    assert silence.failed_p95_s is not None
    assert (gone.success_rate, gone.p50_s, gone.cost_to_quote) == (0.0, None, None)
    assert gone.failed_p50_s is not None


def test_a_shared_picture_is_saved_once_and_stand_ins_are_counted(home: Path) -> None:
    """Two films of one picture: the second picture would have cost a cent, and both clips are degraded."""
    report = _report(home)

    assert [(one.model, one.reused, one.saved_usd) for one in report.savings] == [
        ("testing:landscape", 1, Decimal("0.01"))
    ]
    assert [(one.model, one.degraded) for one in report.stand_ins] == [("local:ken-burns", 2)]
    assert [(one.state, one.prompts) for one in report.prompts] == [("degraded", 2)]


def test_providers_and_steps_add_up_to_the_totals(home: Path) -> None:
    """What each costs is read from a line, not added up from a thousand; nothing is counted twice or left out."""
    report = _report(home)

    for rows in (report.providers, report.steps):
        assert sum(row.cost_usd for row in rows) == report.totals.spent_usd
        assert sum(row.quote_usd for row in rows) == report.totals.quote_usd
        assert sum(row.failed for row in rows) == report.totals.failed_count
        assert sum(row.unknown for row in rows) == report.totals.unknown_count
    testing = {one.provider: one for one in report.providers}["testing"]
    assert (testing.cost_usd, testing.failed_usd, testing.unknown_usd) == (
        Decimal("1.51"),
        Decimal("0.5"),
        Decimal("0.5"),
    )
    assert (testing.succeeded, testing.failed, testing.unknown, testing.success_rate) == (3, 3, 1, 0.5)
    assert testing.cost_to_quote == 1.0
    assert [one.step for one in report.steps] == ["image", "video", "audio", "merged"]
    image, video, audio, merged = report.steps
    assert (image.cost_usd, image.reused, image.saved_usd, image.degraded) == (Decimal("0.01"), 1, Decimal("0.01"), 0)
    assert (video.cost_usd, video.failed, video.degraded, video.success_rate) == (Decimal(0), 1, 2, 0.5)
    assert (audio.cost_usd, audio.unknown, audio.cost_to_quote) == (Decimal("1.5"), 1, 1.0)
    assert (merged.cost_usd, merged.cost_to_quote) == (Decimal(0), None)


def test_caps_are_told_with_what_is_spent_of_them(home: Path) -> None:
    """A cap that nobody set is no cap, and has no share that is used."""
    day, provider = _report(home).budgets

    assert (day.scope, str(day.cap_usd), str(day.spent_usd)) == (f"day:{LAST}", "5", "1.51")
    assert day.spent_share == 0.302
    assert (provider.cap_usd, provider.spent_share, provider.overrun) == (None, None, False)


def test_prices_are_old_on_the_ninety_first_day(home: Path) -> None:
    """``today`` is an argument: the same report says the same next year."""
    read_on = price_read_on(load_catalog().get("fal:flux-dev"))
    assert read_on is not None
    names = [
        {one.model: one.age_days for one in _report(home, today=read_on + timedelta(days=age)).old_prices}
        for age in (90, 91)
    ]

    assert names[0].get("fal:flux-dev") is None
    assert names[1]["fal:flux-dev"] == 91
    assert not any(model.startswith("local:") for model in names[1])


def test_nothing_bought_is_a_report_too(tmp_path: Path) -> None:
    """Whoever reads the JSON finds every field, from the first day on."""
    empty = _report(home_with_ledger(tmp_path / "empty"))

    assert empty == nothing_bought(load_catalog(), since=FIRST, until=LAST, today=LAST)
    told = empty.as_dict()
    assert (told["spent_usd"], told["success_rate"], told["spend"]) == ("0", None, [])
    assert {name for name, value in told.items() if isinstance(value, list)} == set(empty.tables())


def test_the_last_day_there_is_can_be_asked_for(home: Path) -> None:
    """A far day is a way to say everything."""
    assert _report(home, since=date.min, until=date.max).totals.spent_usd == Decimal("1.51")


def test_csv_has_a_file_a_table_with_exact_amounts_and_no_formula(home: Path, tmp_path: Path) -> None:
    """Accounting opens these in a spreadsheet, and a prompt or a model file may name anything."""
    report = _report(home)
    evil = replace(report, spend=[replace(report.spend[0], model="=1+1"), *report.spend[1:]])

    files = write_csv(evil, tmp_path / "new" / "csv")

    assert [file.stem for file in files] == list(report.tables())
    rows = list(csv.DictReader(files[0].read_text(encoding="utf-8").splitlines()))
    assert rows[0]["model"] == "'=1+1"
    assert (rows[0]["day"], rows[0]["cost_usd"]) == ("2026-11-17", "0.5")
    assert sum(Decimal(row["cost_usd"]) for row in rows) == report.totals.spent_usd


def test_one_csv_file_has_the_spending(home: Path, tmp_path: Path) -> None:
    """``--csv spend.csv`` is what most people type."""
    (file,) = write_csv(_report(home), tmp_path / "march.csv")

    assert file.read_text(encoding="utf-8").startswith("day,provider,model,step,")
