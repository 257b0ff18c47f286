"""A ledger in a schema of its own, in a database that others use too; with Dagster: ``test_postgres_instance.py``."""

from pathlib import Path

import pytest

from media_assets.errors import LedgerError
from media_assets.ledger import open_ledger
from media_assets.ledger.database import HEAD, Database, ledger_url
from media_assets_tests.ledger.money import DAY, buy, day_cap, standing
from media_assets_tests.postgres_server import Server


def _in(url: str, search_path: str) -> str:
    return f"{url}?options=-csearch_path%3D{search_path}"


def _run(server: Server, url: str, statement: str) -> list[tuple[object, ...]]:
    return server.run(statement, url.rpartition("/")[2])


def _others_tables(server: Server, url: str) -> None:
    _run(server, url, "CREATE TABLE alembic_version (version_num text)")
    _run(server, url, "INSERT INTO alembic_version VALUES ('29b539ebc72a')")


def test_ledgers_in_two_schemas_of_a_database_know_nothing_of_each_other(
    server: Server, url: str, tmp_path: Path
) -> None:
    """Their locks are the database's, so they wait for each other; their rows and their caps are not."""
    _others_tables(server, url)
    for schema in ("ours", "theirs"):
        _run(server, url, f"CREATE SCHEMA {schema}")

    with (
        open_ledger(tmp_path / "ours", _in(url, "ours")) as ours,
        open_ledger(tmp_path / "theirs", _in(url, "theirs")) as theirs,
    ):
        buy(ours, "0.90", [day_cap()])
        buy(theirs, "0.30", [day_cap()])

        assert standing(ours) == {DAY: ("0.90", "0.00", False)}
        assert standing(theirs) == {DAY: ("0.30", "0.00", False)}
        assert ours.database.revision() == theirs.database.revision() == HEAD
    assert _run(server, url, "SELECT version_num FROM public.alembic_version") == [("29b539ebc72a",)]
    assert _run(server, url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("alembic_version",)]


def test_a_schema_that_is_not_there_is_told_with_what_to_do(url: str, tmp_path: Path) -> None:
    """Postgres itself says "no schema has been selected to create in"."""
    with pytest.raises(LedgerError, match=r"search_path \(media_assets\) none exists.*CREATE SCHEMA media_assets"):
        Database(ledger_url(_in(url, "media_assets"), tmp_path))


@pytest.mark.parametrize("search_path", [None, "media_assets,public"])
def test_no_ledger_is_begun_where_it_would_see_anothers_version(
    server: Server, url: str, tmp_path: Path, search_path: str | None
) -> None:
    """It was told that its own program is too old; and an upgrade would have helped nobody."""
    _others_tables(server, url)
    _run(server, url, "CREATE SCHEMA media_assets")

    with pytest.raises(LedgerError, match=r"another program's tables.*29b539ebc72a.*\?options=-csearch_path"):
        Database(ledger_url(_in(url, search_path) if search_path else url, tmp_path))

    count = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'media_assets')"
    assert _run(server, url, count) == [(1,)]
