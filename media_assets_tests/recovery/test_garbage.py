"""Garbage collection removes what nothing needs, and nothing else: not what is in use, nor what was paid for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, ArtifactStore, MediaInfo
from media_assets.errors import MediaAssetsError
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import metadata, output
from media_assets.providers.base import HttpReply
from media_assets.providers.transport.spool import Spool
from media_assets.studio import StudioOptions, open_studio
from media_assets_tests.children import Child, Ended, run_children
from media_assets_tests.making import SILENCE_IS_BAD, Shop
from media_assets_tests.recovery.keeping import (
    BUY,
    COLLECT,
    WRITER,
    files,
    garbage,
    leave_unused,
    names,
    rows_without_file,
)

_KEEPING = COLLECT.partition(":")[0]


@pytest.fixture
def shop(home: Path) -> Iterator[Shop]:
    with open_ledger(home) as ledger:
        yield Shop(home, ledger)


def _everything(home: Path) -> tuple[set[str], list[Any]]:
    """Return all files of a store, and all rows of a ledger."""
    with open_ledger(home) as ledger, ledger.database.read() as connection:
        rows = [tuple(row) for one in metadata.sorted_tables for row in connection.execute(sa.select(one))]
    return files(home), rows


def test_what_nothing_needs_goes_after_two_weeks_and_nothing_else(shop: Shop) -> None:
    """A remade file's old bytes are of no use; what replaced them, and the time to change one's mind, are."""
    unused = leave_unused(shop)
    name = shop.store.path(unused).name

    first = garbage(shop.ledger, shop.home).collect()
    early = garbage(shop.ledger, shop.home, days=13.9).collect()
    late = garbage(shop.ledger, shop.home, days=14.1).collect()

    assert (names(first), [one.name for one in first.waiting]) == ([], [name])
    assert (names(early), names(late)) == ([], [name])
    assert late.freed_bytes == unused.info.size_bytes
    assert shop.row.artifact is not None
    assert files(shop.home) == {f"{shop.row.artifact.sha256[:2]}/{shop.store.path(shop.row.artifact).name}"}
    assert rows_without_file(shop.home) == []


def test_what_is_needed_again_begins_anew(shop: Shop) -> None:
    """Equal bytes of another purchase are the same file: its time as garbage is forgotten."""
    unused = leave_unused(shop)
    garbage(shop.ledger, shop.home).collect()

    assert shop.buy(take=1).artifact.sha256 == unused.sha256

    assert names(garbage(shop.ledger, shop.home, days=20).collect()) == []
    assert shop.store.verify(unused)


def test_a_dry_run_says_what_would_go_and_changes_nothing(shop: Shop) -> None:
    """Whoever deletes wants to see first."""
    leave_unused(shop)
    garbage(shop.ledger, shop.home).collect()
    before = _everything(shop.home)

    told = garbage(shop.ledger, shop.home, days=15).look()
    assert _everything(shop.home) == before
    done = garbage(shop.ledger, shop.home, days=15).collect()

    assert names(told) == names(done) != []
    assert told.freed_bytes == done.freed_bytes


def test_a_file_that_nobody_wrote_down_is_never_taken_for_garbage(shop: Shop) -> None:
    """After a restored backup, or with another ledger on the same folder, every paid file looks like that."""
    made = shop.buy(paid=True).artifact
    with shop.ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))

    found = garbage(shop.ledger, shop.home, days=1000, paid_days=1).collect()

    assert (names(found), found.kept) == ([], [])
    assert shop.store.verify(made)


@dataclass(frozen=True)
class _Crashed:
    """A home in which something died, and what the children were that ran in it."""

    home: Path
    gone: set[str]
    """The files that are to go."""
    ended: list[Ended]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Crashed]:
    """Run every case: a child that dies at a point; where it collected, then one that does not die."""
    root = tmp_path_factory.mktemp("crashes")
    gone: dict[str, set[str]] = {}
    chains: dict[str, list[Child]] = {}
    for case in ("free", "paid"):
        arguments = {"home": str(root / case), "take": 0, "paid": case == "paid"}
        chains[case] = [Child(BUY, arguments, {"MEDIA_ASSETS_CRASH_AT": "art.before"})]
    for case in ("gc.mark", "gc.delete", "rule"):
        home = root / case
        with open_ledger(home) as ledger:
            gone[case] = _leave_garbage(Shop(home, ledger), paid=case == "rule")
        arguments = {"home": str(home), "days": 15.0, "paid_days": 1.0 if case == "rule" else None}
        point = "gc.delete" if case == "rule" else case
        chains[case] = [Child(COLLECT, arguments, {"MEDIA_ASSETS_CRASH_AT": point}), Child(COLLECT, arguments)]
    ended = run_children(list(chains.values()), at_once=2)
    return {
        case: _Crashed(root / case, gone.get(case, set()), chain) for case, chain in zip(chains, ended, strict=True)
    }


def _leave_garbage(shop: Shop, *, paid: bool) -> set[str]:
    if paid:
        return {shop.store.path(shop.buy(paid=True).artifact).name}
    gone = {shop.store.path(leave_unused(shop, take=take, seconds=1.5 + take)).name for take in range(2)}
    garbage(shop.ledger, shop.home).collect()
    return gone


@pytest.mark.parametrize("case", ["gc.mark", "gc.delete", "rule"])
def test_killed_anywhere_the_next_one_finishes(crashed: dict[str, _Crashed], case: str) -> None:
    """No row ever names a file that is gone; a file that no row names is found again, also one that was paid for."""
    one = crashed[case]
    killed, rerun = one.ended

    assert (killed.was_killed, rerun.exit_code) == (True, 0)
    assert set(rerun.value) == one.gone
    assert rows_without_file(one.home) == []
    with open_ledger(one.home) as ledger:
        rows = ledger.purchases.search()
        kept = [ArtifactStore(one.home / "artifacts").path(row.artifact) for row in rows if row.artifact]
    assert {f"{path.parent.name}/{path.name}" for path in kept} == files(one.home)
    assert (case == "rule") == (rows[0].state is PurchaseState.LOST_OUTPUT)


def test_what_a_crash_left_without_a_row_goes(crashed: dict[str, _Crashed]) -> None:
    """Killed between storing and recording: it is made again, and the file would lie there for ever."""
    one = crashed["free"]
    assert one.ended[0].was_killed
    assert len(files(one.home)) == 2, "the file, and the note on it"

    with open_ledger(one.home) as ledger:
        assert len(names(garbage(ledger, one.home, days=15).look())) == 1
        assert names(garbage(ledger, one.home, days=13).collect()) == []
        assert len(names(garbage(ledger, one.home, days=15).collect())) == 1

    assert files(one.home) == set()


def test_what_a_crash_left_without_a_row_is_kept_while_it_may_be_paid_for(crashed: dict[str, _Crashed]) -> None:
    """When the provider has deleted its output, this file is all there is of it."""
    one = crashed["paid"]
    assert one.ended[0].was_killed

    with open_ledger(one.home) as ledger:
        found = garbage(ledger, one.home, days=1000).collect()
        (row,) = ledger.purchases.search()

    assert names(found) == []
    assert [row.request_key[:12] in told.reason for told in found.kept] == [True]
    assert len(files(one.home)) == 2


class _CollectedStore(ArtifactStore):
    """A store whose first new file is collected before it is recorded."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.home / "artifacts")
        self._shop = shop
        self.removed: list[str] = []

    def put(self, source: Path, info: MediaInfo, *, owner: str, token: str, wanted_by: str = "") -> Artifact:
        made = super().put(source, info, owner=owner, token=token, wanted_by=wanted_by)
        if not self.removed:
            self.removed = names(garbage(self._shop.ledger, self._shop.home, unused_days=0.0).collect())
        return made


class _CollectedShop(Shop):
    """A shop with such a store."""

    collected: _CollectedStore

    @property
    def store(self) -> ArtifactStore:
        return self.collected


def test_what_is_collected_before_it_is_recorded_is_stored_again(shop: Shop) -> None:
    """With no patience at all, a collector takes even what was stored a moment ago."""
    busy = _CollectedShop(shop.home, shop.ledger)
    busy.collected = _CollectedStore(shop)

    made = busy.buy().artifact

    assert busy.collected.removed == [f"{made.sha256}.wav"]
    assert shop.store.verify(made)
    assert busy.provider.submits.total() == 1


def test_a_note_on_a_file_that_is_needed_is_dropped(shop: Shop) -> None:
    """Killed between the row and the end of its note, or condemned just when it was wanted again."""
    made = shop.buy().artifact
    shop.store.condemn(made, since_s=0.0)

    assert names(garbage(shop.ledger, shop.home, days=1000).look()) == []
    assert names(garbage(shop.ledger, shop.home, days=1000).collect()) == []

    assert shop.store.verify(made)
    assert shop.store.unrecorded() == []


def test_a_note_stays_while_something_paid_for_may_want_the_file(shop: Shop) -> None:
    """Its bytes are those of something free; when that is made again with others, it is all there is."""
    made = shop.buy().artifact
    with pytest.raises(MediaAssetsError):
        shop.buy(paid=True, take=1, question=SILENCE_IS_BAD)
    paid = next(row for row in shop.ledger.purchases.search() if row.take == 1)
    with shop.ledger.database.write() as connection:
        connection.execute(sa.delete(output).filter_by(request_key=paid.request_key))
    shop.store.put(shop.store.path(made), made.info, **WRITER, wanted_by=paid.request_key)

    garbage(shop.ledger, shop.home, days=1000).collect()

    assert [one.wanted_by for one in shop.store.unrecorded()] == [(paid.request_key,)]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Crashed]:
    """Run both races, each in a home of its own."""
    root = tmp_path_factory.mktemp("races")
    stored, beside = root / "stored", root / "beside"
    with open_ledger(stored) as ledger:
        shop = Shop(stored, ledger)
        unused = leave_unused(shop)
        garbage(ledger, stored).collect()
    with open_ledger(beside):
        pass
    until = str(stored / "until")
    children = [
        Child(f"{_KEEPING}:buy_held_in_child", {"home": str(stored), "until": until, "take": 1}),
        Child(f"{_KEEPING}:collect_when_stored_in_child", {"home": str(stored), "until": until}),
        Child(f"{_KEEPING}:store_and_drop_in_child", {"home": str(beside), "first_take": 0, "times": 15}),
        Child(f"{_KEEPING}:store_and_drop_in_child", {"home": str(beside), "first_take": 100, "times": 15}),
        Child(COLLECT, {"home": str(beside), "unused_days": 0.0, "times": 40}),
        Child(COLLECT, {"home": str(beside), "unused_days": 0.0, "times": 40}),
    ]
    ended = [one for (one,) in run_children([[child] for child in children], at_once=len(children))]
    return {
        "stored": _Crashed(stored, {shop.store.path(unused).name}, ended[:2]),
        "beside": _Crashed(beside, set(), ended[2:]),
    }


def test_a_file_that_is_stored_just_when_its_equal_is_collected_is_there(raced: dict[str, _Crashed]) -> None:
    """Storing finds the old file and counts on it; then the collector removes it; then the purchase is recorded."""
    one = raced["stored"]
    bought, collected = one.ended

    assert (bought.exit_code, collected.exit_code) == (0, 0)
    assert set(collected.value) == one.gone, "it was removed"
    assert bought.value == 2, "and stored once more"
    assert rows_without_file(one.home) == []
    with open_ledger(one.home) as ledger:
        assert names(garbage(ledger, one.home, days=1000).collect()) == []


def test_collecting_beside_runs_loses_nothing(raced: dict[str, _Crashed]) -> None:
    """Two processes store and drop the same bytes all the time, and two collect with no patience at all."""
    one = raced["beside"]
    *bought, first, second = one.ended

    assert [child.exit_code for child in one.ended] == [0] * 4
    assert [all(child.value) and len(child.value) == 15 for child in bought] == [True, True]
    assert len(first.value) + len(second.value) > 0, "nothing was ever collected"
    assert rows_without_file(one.home) == []


def test_a_raw_reply_of_another_ledger_is_left_to_it(home: Path) -> None:
    """Whoever tries Postgres once, in the same home, must not lose the one copy of what OpenAI answered."""
    with open_studio(home) as studio:
        Spool(studio.ledger.spool_root).write("f" * 32, HttpReply(status=200, headers={}, body=b"{}"))
    other = StudioOptions(ledger_url=f"sqlite:///{home.parent}/another.db")

    with open_studio(home, other) as studio:
        spool = Spool(studio.ledger.spool_root)
        assert spool.tokens() == {"f" * 32}
        assert garbage(studio.ledger, home, days=29).collect().replies == 0
        assert garbage(studio.ledger, home, days=31).look().replies == 1
        assert garbage(studio.ledger, home, days=31).collect().replies == 1
        assert spool.tokens() == set()


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(shop: Shop) -> None:
    """A collector that ran beside a download must not take its half."""
    root = shop.store.root
    root.mkdir(parents=True)
    mine, dead = root / f"{shop.ledger.owner.id}.1.part", root / "gone.2.part"
    mine.touch()
    dead.touch()
    shop.ledger.scratch("token").mkdir(parents=True)
    (shop.ledger.scratch_root / "gone").mkdir()

    with open_ledger(shop.home) as other:
        assert garbage(other, shop.home).look().temporary == 2
        assert dead.exists()
        assert garbage(other, shop.home).collect().temporary == 2

    assert (mine.exists(), dead.exists()) == (True, False)
    assert [path.name for path in shop.ledger.scratch_root.iterdir()] == [shop.ledger.owner.id]


def test_moments_are_those_of_the_ledger(shop: Shop) -> None:
    """The day on which a file was found unused is text that sorts like every other time in the ledger."""
    leave_unused(shop)
    garbage(shop.ledger, shop.home).collect()

    (unused,) = shop.ledger.garbage.unused()

    assert unused.since is not None
    assert abs((datetime.fromisoformat(unused.since) - datetime.now(UTC)).total_seconds()) < 60
