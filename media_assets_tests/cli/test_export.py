"""``ledger export``: what accounting gets is complete, exact, and harmless to open."""

import csv
import io
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.ledger import open_ledger
from media_assets.ledger.accounts import Accounts
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import decision, purchase
from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli
from media_assets_tests.making import Shop

_ROW: dict[str, Any] = {
    "prompt_key": "barn",
    "step": "image",
    "provider": "fal",
    "account": "",
    "model": "fal:flux-schnell",
    "canon_json": "{}",
    "take": 0,
    "recovery": "B",
    "state": PurchaseState.SUCCEEDED,
    "fence": 1,
    "owner": "",
    "attempts": 1,
    "estimate_micro_usd": 3_000,
    "created_at": "2026-11-02T00:00:00.000000+00:00",
    "updated_at": "2026-11-02T00:00:01.000000+00:00",
}


def _insert(home: Path, *rows: dict[str, Any]) -> None:
    with open_ledger(home) as ledger, ledger.database.write() as connection:
        # One by one: they do not all have the same columns.
        for number, row in enumerate(rows):
            connection.execute(sa.insert(purchase).values({**_ROW, "request_key": f"{number:064}", **row}))


def test_a_purchase_is_told_whole(cli: Cli) -> None:
    """What it cost, by whose price, and what was sent: nothing has to be asked for again."""
    with open_ledger(cli.home) as ledger:
        made = Shop(cli.home, ledger).buy(paid=True).artifact

    told = cli("ledger", "export").only()

    day = told.pop("created_at")[:10]
    assert told.pop("updated_at")[:10] >= day
    assert len(told.pop("request_key")) == 64
    assert told.pop("prediction_id") is not None
    assert told == {
        "prompt_key": "cheap",
        "step": "audio",
        "provider": "testing",
        "model": "testing:silence",
        "take": 0,
        "state": "SUCCEEDED",
        "estimate_usd": "0.5",
        "cost_usd": "0.5",
        "billed": "yes",
        "reported": {},
        "price_from": "2026-01-01",
        "attempts": 1,
        "decisions": [],
        "sha256": made.sha256,
    }
    assert cli("ledger", "export", "--since", day, "--until", day).only()["sha256"] == made.sha256
    assert cli("ledger", "export", "--until", "2026-01-01").out == ""
    assert cli("ledger", "export", "--until", "9999-12-31").only()["sha256"] == made.sha256


def test_each_day_is_counted_once(cli: Cli) -> None:
    """Two months that are exported one after the other add up to both."""
    moments = [
        "2026-11-01T00:00:00.000000+00:00",
        "2026-11-30T23:59:59.999999+00:00",
        "2026-12-01T00:00:00.000000+00:00",
    ]
    _insert(cli.home, *({"created_at": one} for one in moments))

    november = cli("ledger", "export", "--since", "2026-11-01", "--until", "2026-11-30").objects()
    december = cli("ledger", "export", "--since", "2026-12-01").objects()

    assert [one["created_at"] for one in (*november, *december)] == moments
    assert len(november) == 2


@pytest.mark.parametrize(
    ("state", "cost", "billed"),
    [
        ("SUCCEEDED", 1, "yes"),
        ("SUCCEEDED", 0, "no"),
        ("FAILED_PAID", 1, "yes"),
        ("LOST_OUTPUT", None, "yes"),
        ("UNKNOWN", None, "unknown"),
        ("SUBMITTING", None, "unknown"),
        ("RESERVED", None, "no"),
        ("CANCELED", None, "no"),
    ],
)
def test_whether_it_was_billed_is_never_guessed(cli: Cli, state: str, cost: int | None, billed: str) -> None:
    """An unknown outcome is no zero in the books."""
    _insert(cli.home, {"state": state, "cost_micro_usd": cost})

    told = cli("ledger", "export").only()

    assert told["billed"] == billed
    assert told["cost_usd"] == (None if cost is None else "0.000001" if cost else "0")


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(cli: Cli, begins: str) -> None:
    """A spreadsheet would run it; it can come from whoever names predictions."""
    text = f'{begins}HYPERLINK("http://example.com";"a, b")\n1'
    _insert(cli.home, {"prediction_id": text, "model": text})

    ended = cli("ledger", "export", "--format", "csv")

    (row,) = csv.DictReader(io.StringIO(ended.out, newline=""))
    assert row["prediction_id"] == row["model"] == f"'{text}"
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_csv_and_jsonl_tell_the_same_to_the_last_digit(cli: Cli) -> None:
    """The sum over the file is the sum over the ledger."""
    _insert(cli.home, *({"cost_micro_usd": 1_000_000_000_001 * number} for number in range(1, 8)))
    with open_ledger(cli.home) as ledger, ledger.database.write() as connection:
        for n, what in ((1, "write-off"), (2, "accept")):
            row = {"request_key": f"{0:064}", "n": n, "what": what, "at": "", "who": "me", "state_before": "UNKNOWN"}
            connection.execute(sa.insert(decision).values(row))

    objects = cli("ledger", "export").objects()
    rows = list(csv.DictReader(io.StringIO(cli("ledger", "export", "--format", "CSV").out)))

    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("28000000.000028")
    assert [row["cost_usd"] for row in rows] == [one["cost_usd"] for one in objects]
    assert [row["sha256"] for row in rows] == [""] * 7
    assert (objects[0]["decisions"], rows[0]["decisions"]) == (["write-off", "accept"], "write-off accept")


def test_a_file_is_written_whole_or_not_at_all(cli: Cli, tmp_path: Path) -> None:
    """Half a month would be believed to be one."""
    cli("generate", "--prompt", "a boat", "--key", "boat", "--only", "image", *CHEAP_OPTIONS)
    target = tmp_path / "books" / "ledger.csv"

    nowhere = cli("ledger", "export", "--output", target)
    target.parent.mkdir()
    target.write_text("older")
    done = cli("ledger", "export", "--format", "csv", "--output", target)

    assert (nowhere.code, "--output" in nowhere.err) == (4, True)
    assert (done.code, done.out) == (0, "")
    assert len(target.read_text().splitlines()) == 2
    assert [path.name for path in target.parent.iterdir()] == ["ledger.csv"]


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "xlsx"),
        ("--since", "yesterday"),
        ("--until", "2026-11-31"),
        ("--since", "2026-12-01", "--until", "2026-11-01"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, options: tuple[str, ...]) -> None:
    """An empty file would read as: nothing was spent."""
    ended = cli("ledger", "export", *options)

    assert (ended.code, ended.out) == (2, "")
    assert options[-1] in ended.err or options[1] in ended.err


def test_nothing_made_yet_is_an_empty_export(cli: Cli) -> None:
    """A question leaves no ledger behind."""
    assert cli("ledger", "export").out == ""
    assert cli("ledger", "export", "--format", "csv").out.startswith("request_key,prompt_key,step,")
    assert not cli.home.exists()


def test_memory_stays_flat(home: Path) -> None:
    """A year of films is exported on the machine that made them."""
    with open_ledger(home) as ledger:
        rows = ({**_ROW, "request_key": f"{number:064}"} for number in range(3_000))
        with ledger.database.write() as connection:
            connection.execute(sa.insert(purchase), list(rows))
        accounts = Accounts(ledger.database)
        next(accounts.between(None, None))
        tracemalloc.start()
        try:
            count = sum(1 for _ in accounts.between(None, None))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert count == 3_000
    assert peak_bytes < 1_500_000, "all rows at once take 3 MB"
