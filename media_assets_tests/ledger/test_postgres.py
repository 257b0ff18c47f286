"""The ledger on Postgres: the same tables, the same films, the same promises under a race."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from media_assets.catalog import Recovery
from media_assets.errors import BudgetExceededError
from media_assets.ledger import open_ledger
from media_assets.ledger.database import HEAD, Database, ledger_url
from media_assets.ledger.schema import budget, metadata
from media_assets.prompt import Step
from media_assets_tests.children import Child, race, run_children
from media_assets_tests.ledger.money import DAY, buy, day_cap, open_plan, standing
from media_assets_tests.ledger.proxies import Line
from media_assets_tests.ledger.test_budget_races import PROCESSES, ROOM
from media_assets_tests.making import cheap_prompt, leftovers, some_request


def _shape(database: Database) -> dict[str, Any]:
    """Return tables with their columns, keys and constraints, as the database itself reports them."""
    with database.read() as connection:
        inspector = sa.inspect(connection)
        return {
            table: {
                "columns": [(column["name"], column["nullable"]) for column in inspector.get_columns(table)],
                "key": inspector.get_pk_constraint(table)["constrained_columns"],
                "unique": sorted(one["column_names"] for one in inspector.get_unique_constraints(table)),
                "checks": sorted(str(one["name"]) for one in inspector.get_check_constraints(table)),
                "references": [
                    (one["constrained_columns"], one["referred_table"]) for one in inspector.get_foreign_keys(table)
                ],
                "indexes": sorted(
                    (str(one["name"]), one["column_names"])
                    for one in inspector.get_indexes(table)
                    if not one.get("duplicates_constraint")
                ),
            }
            for table in sorted(inspector.get_table_names())
        }


def test_postgres_gets_the_same_tables_as_sqlite(url: str, tmp_path: Path) -> None:
    """A constraint that only one of them has protects only some users' money."""
    here, there = Database(ledger_url(None, tmp_path)), Database(ledger_url(url, tmp_path))

    shapes = _shape(here), _shape(there)
    with there.read() as connection:
        drift = compare_metadata(MigrationContext.configure(connection), metadata)

    here.close()
    there.close()
    assert shapes[0] == shapes[1]
    assert drift == []


def open_and_read(home: str, url: str) -> str | None:
    """In a child: open the ledger; return its revision."""
    with open_ledger(Path(home), url) as ledger:
        return ledger.database.revision()


def test_eight_processes_that_open_an_empty_database_at_once_all_succeed(url: str, tmp_path: Path) -> None:
    """Workers of a cluster start together; one migrates, the others wait for it."""
    assert race(f"{__name__}:open_and_read", [{"home": str(tmp_path), "url": url}] * 8) == [HEAD] * 8


def test_a_film_is_made_once_with_its_ledger_on_postgres(url: str, tmp_path: Path) -> None:
    """One setting moves the ledger; everything else stays as it was."""
    arguments = {"home": str(tmp_path), "prompt": cheap_prompt().model_dump(mode="json"), "ledger_url": url}
    child = Child("media_assets_tests.making:make_film", arguments)

    ((first, second),) = run_children([[child, child]], at_once=1)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [step["cached"] for step in first.value["steps"]] == [False] * 4
    assert [step["cached"] for step in second.value["steps"]] == [True] * 4
    assert first.value["film"] == second.value["film"]
    assert not (tmp_path / "ledger.db").exists()
    with open_ledger(tmp_path, url) as ledger:
        assert {row.step: row.attempts for row in ledger.purchases.search()} == {str(step): 1 for step in Step}
    assert leftovers(tmp_path) == []


def test_connections_that_were_cut_while_nobody_used_them_are_replaced(migrated: str, tmp_path: Path) -> None:
    """A server that was restarted overnight must not fail the first film of the morning."""
    with Line(migrated) as line:
        database = Database(ledger_url(line.through, tmp_path))
        line.cut()

        assert database.revision() == HEAD
        line.cut()
        with database.write() as connection:
            connection.execute(sa.select(budget))
        database.close()


_CLAIM = "media_assets_tests.ledger.test_purchases:claim_together"


@pytest.mark.parametrize("found", ["nothing", "a dead owner's"])
def test_of_eight_processes_that_claim_at_once_one_gets_it(url: str, tmp_path: Path, found: str) -> None:
    """Postgres lets transactions read side by side, where SQLite lines them up: the claim itself has to decide."""
    with open_ledger(tmp_path, url) as dead:
        if found != "nothing":
            dead.purchases.claim(
                some_request(), recovery=Recovery.NONE, prompt_key="a", plan_id="p", estimate_micro_usd=1
            )

    names = race(_CLAIM, [{"home": str(tmp_path), "together": 8, "url": url}] * 8)

    assert sorted(names) == ["Busy"] * 7 + ["Claim"]


_RACES = "media_assets_tests.ledger.test_budget_races"


@pytest.mark.parametrize("which", ["day", "provider"])
def test_a_cap_accepts_exactly_what_it_pays_for(url: str, tmp_path: Path, which: str) -> None:
    """The guarded UPDATE decides, so it must also decide where writers do not queue."""
    each = [{"home": str(tmp_path), "which": which, "url": url}] * PROCESSES

    assert sum(race(f"{_RACES}:reserve_together", each)) == ROOM


def test_what_is_billed_and_given_back_adds_up(url: str, tmp_path: Path) -> None:
    """As on SQLite: nothing is lost, and nothing is left over."""
    each = [{"home": str(tmp_path), "number": number, "url": url} for number in range(PROCESSES)]

    billed = sum(one[1] for one in race(f"{_RACES}:buy_together", each))

    with open_ledger(tmp_path, url) as ledger, ledger.database.read() as connection:
        rows = connection.execute(sa.select(budget)).all()
    assert billed > 0
    assert {(row.spent_micro_usd, row.reserved_micro_usd, row.overrun) for row in rows} == {(billed, 0, False)}


@pytest.mark.parametrize(
    "forced",
    ["reserved_micro_usd = cap_micro_usd + 1", "spent_micro_usd = cap_micro_usd + 1", "reserved_micro_usd = -1"],
)
def test_the_table_itself_refuses_to_pass_a_cap(url: str, tmp_path: Path, forced: str) -> None:
    """The last line of defence, should our arithmetic ever be wrong; an overrun is recorded all the same."""
    with open_ledger(tmp_path, url) as ledger:
        open_plan(ledger, "0.50", [day_cap()])

        with pytest.raises(sa.exc.IntegrityError), ledger.database.write() as connection:
            connection.exec_driver_sql(f"UPDATE budget SET {forced}")  # noqa: S608 - from the list above
        with ledger.database.write() as connection:
            connection.exec_driver_sql("UPDATE budget SET spent_micro_usd = cap_micro_usd + 1, overrun = true")


def test_an_overrun_is_recorded_and_accepted(url: str, tmp_path: Path) -> None:
    """Statements that SQLite takes are not always Postgres's."""
    with open_ledger(tmp_path, url) as ledger:
        buy(ledger, "0.50", [day_cap()], billed_usd="2")

        with pytest.raises(BudgetExceededError, match="is overrun"):
            open_plan(ledger, "0.01", [day_cap()])
        assert [one.overrun for one in ledger.spending.scopes(date(2026, 11, 23))] == ledger.spending.overruns()
        assert ledger.spending.accept(DAY)
        assert ledger.spending.reserved([DAY]) == []
        assert standing(ledger) == {DAY: ("2.00", "0.00", False)}


def test_sixteen_processes_that_make_one_film_make_each_step_once(url: str, tmp_path: Path) -> None:
    """The promise of the project does not depend on which database it is kept in."""
    arguments = {"home": str(tmp_path), "prompt": cheap_prompt().model_dump(mode="json"), "ledger_url": url}

    films = race("media_assets_tests.making:make_film", [arguments] * 16)

    assert len({film["film"]["sha256"] for film in films}) == 1
    with open_ledger(tmp_path, url) as ledger:
        assert {row.step: row.attempts for row in ledger.purchases.search()} == {str(step): 1 for step in Step}
