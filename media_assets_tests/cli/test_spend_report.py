"""``report``: the time that is asked for, one object or tables, files where they are wanted, and no trace."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from media_assets.ledger import open_ledger
from media_assets.report.charts import CHARTS
from media_assets_tests.cli.running import Cli
from media_assets_tests.making import Shop


def _buy(cli: Cli) -> None:
    with open_ledger(cli.home) as ledger:
        Shop(cli.home, ledger).buy(paid=True)


def test_what_was_spent_is_one_object_with_files_beside_it(cli: Cli, tmp_path: Path) -> None:
    """One call a day is enough for a chat bot, a spreadsheet and a wall."""
    _buy(cli)
    target = tmp_path / "out"

    told = cli("report", "--since", "2d", "--csv", target / "csv", "--charts", target / "png", "--json").only()

    assert (told["spent_usd"], told["spend"][0]["model"], told["days"][0]["purchases"]) == ("0.5", "testing:silence", 1)
    assert told["home"] == str(cli.home)
    files = [Path(file) for file in told["files"]]
    assert [file.stem for file in files if file.suffix == ".png"] == list(CHARTS)
    assert "0.5" in next(file for file in files if file.name == "spend.csv").read_text(encoding="utf-8")
    with Image.open(files[-1]) as picture:
        assert picture.width == 800


def test_people_are_told_in_tables(cli: Cli, tmp_path: Path) -> None:
    """The sums come last, where people look; one CSV file has the spending."""
    _buy(cli)

    ended = cli("report", "--csv", tmp_path / "spend.csv")

    assert ended.code == 0
    assert "testing:silence" in ended.out
    assert re.search(r"\n\W*testing\W+1\W+100%\W+0\W+0\.5\W+0\W+0\.5\W*\n", ended.out), "the provider's line"
    assert re.search(r"\n\W*audio\W+1\W+100%\W+0\W+0\.5\W+0\W+0\.5\W+0\W+0\W*\n", ended.out), "and the step's"
    assert "spent: 0.5 USD" in ended.out
    assert "saved: 0 USD" in ended.out
    assert "written:" in ended.err
    assert (tmp_path / "spend.csv").is_file()


def test_a_time_without_purchases_is_no_fault(cli: Cli) -> None:
    """A quiet month has a report."""
    _buy(cli)

    ended = cli("report", "--since", "2020-01-01", "--until", "2020-01-31")

    assert ended.code == 0
    assert "nothing was spent" in ended.out


def test_without_a_ledger_it_reports_nothing_and_makes_none(cli: Cli) -> None:
    """A command that only asks leaves no trace."""
    ended = cli("report", "--json")

    assert (ended.code, ended.only()["spent_usd"], ended.only()["prompts"]) == (0, "0", [])
    assert "nothing made yet" in ended.err
    assert not cli.home.exists()


def test_days_are_counted_with_the_last(cli: Cli) -> None:
    """``7d`` on a Sunday is Monday to Sunday."""
    today = datetime.now(UTC).date()

    week, june = (
        cli("report", "--since", "7d", "--json"),
        cli("report", "--since", "1d", "--until", "2026-06-30", "--json"),
    )

    assert week.only()["since"] in {str(today - timedelta(days=6)), str(today - timedelta(days=5))}  # around midnight
    assert (june.only()["since"], june.only()["until"]) == ("2026-06-30", "2026-06-30")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "last week"), "YYYY-MM-DD, or a number of days as 7d"),
        (("--since", "0d"), "7d"),
        (("--since", "99999d", "--until", "0100-01-01"), "not so many days"),
        (("--until", "7d"), "--until '7d': write the UTC day as YYYY-MM-DD."),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "before"),
    ],
)
def test_a_time_that_is_none_is_refused(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    """A typing error must not become a report of everything."""
    ended = cli("report", *arguments, "--json")

    assert ended.code == 2
    assert told in ended.only()["error"]["message"]


@pytest.mark.parametrize("option", ["--csv", "--charts"])
def test_a_folder_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path, option: str) -> None:
    """What to change is in the message."""
    (tmp_path / "file").touch()

    ended = cli("report", option, tmp_path / "file" / "out")

    assert ended.code == 4
    assert option in ended.err
