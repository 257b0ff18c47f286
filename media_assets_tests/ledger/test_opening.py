"""Opening, sweeping and closing a ledger: where its folders are, what the dead left behind, and what is let go of."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import LedgerError
from media_assets.ledger import open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim
from media_assets.prompt import Step
from media_assets_tests.ledger.files import open_files
from media_assets_tests.making import some_request


def test_a_ledger_keeps_its_folders_where_older_versions_did(tmp_path: Path) -> None:
    """What was left there by a process of before the upgrade has to be found."""
    with open_ledger(tmp_path) as ledger:
        assert (ledger.scratch_root, ledger.spool_root) == (tmp_path / "scratch", tmp_path / "spool")
        assert ledger.owner.folder == tmp_path / "owners"
        assert ledger.scratch("t") == tmp_path / "scratch" / ledger.owner.id / "t"


def test_one_sweep_clears_up_everything_that_the_dead_left(tmp_path: Path) -> None:
    """Their money, their lock, and their half written files and folders: and nothing of the living."""
    films = tmp_path / "films"
    films.mkdir()
    with open_ledger(tmp_path) as ledger, open_ledger(tmp_path) as dying:
        for one, key in ((ledger, "living"), (dying, "dead")):
            caps = [Cap(f"prompt:{key}", 10, "cap"), Cap("run:x", 100, "cap")]
            one.prompts.open_plan(key, key, amounts={Step.IMAGE: 3, Step.AUDIO: 4}, caps=caps)
            claim = one.purchases.claim(
                some_request(take=len(key)),
                recovery=Recovery.LISTED,
                prompt_key=key,
                plan_id=key,
                estimate_micro_usd=3,
            )
            assert isinstance(claim, Claim)
            (films / f"{one.owner.id}.abc.part").touch()
            one.scratch("t").mkdir(parents=True)
        descriptor = dying.owner._descriptor
        os.close(descriptor)  # as its end would
        dying.owner._descriptor = -1

        ledger.sweep(films)

        assert [path.name for path in films.iterdir()] == [f"{ledger.owner.id}.abc.part"]
        assert [path.name for path in ledger.scratch_root.iterdir()] == [ledger.owner.id]
        assert [path.stem for path in ledger.owner.folder.iterdir()] == [ledger.owner.id]
        with ledger.database.read() as connection:
            plans = connection.exec_driver_sql("SELECT id FROM plan").scalars().all()
            held = connection.exec_driver_sql("SELECT scope, reserved_micro_usd FROM budget ORDER BY scope").all()
        assert plans == ["living"]
        assert [tuple(row) for row in held] == [("prompt:dead", 0), ("prompt:living", 7), ("run:x", 7)]


def test_a_ledger_that_cannot_be_owned_keeps_no_connection(tmp_path: Path) -> None:
    """Whoever tries again every second must not run out of files."""
    open_ledger(tmp_path).close()
    (tmp_path / "owners").rmdir()
    (tmp_path / "owners").touch()

    with pytest.raises((LedgerError, OSError)):
        open_ledger(tmp_path)

    assert open_files(tmp_path) == []
    (tmp_path / "owners").unlink()
    with open_ledger(tmp_path) as ledger:
        assert ledger.purchases.search() == []
        assert open_files(tmp_path)
    assert open_files(tmp_path) == []


def test_a_forked_child_neither_plans_nor_claims_nor_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would do so in its parent's name, and leave with it what nobody then works on."""
    with open_ledger(tmp_path) as ledger:
        request = some_request()

        def claim(take: int) -> object:
            return ledger.purchases.claim(
                replace(request, take=take),
                recovery=Recovery.LISTED,
                prompt_key="a",
                plan_id="p",
                estimate_micro_usd=0,
            )

        claimed = claim(0)
        assert isinstance(claimed, Claim)
        with monkeypatch.context() as forked:
            forked.setattr(ledger.owner, "pid", os.getppid())
            with pytest.raises(LedgerError, match="forked"):
                claim(1)
            with pytest.raises(LedgerError, match="forked"):
                ledger.prompts.open_plan("plan", "a", amounts={}, caps=[])
            with pytest.raises(LedgerError, match="forked"):
                ledger.purchases.write_intent(claimed)
        assert [row.state for row in ledger.purchases.search()] == ["RESERVED"]
