"""The artifact table, as far as nothing needs it: of several files, those that are meant and no others."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact
from media_assets.catalog import Recovery
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.clock import as_written
from media_assets.ledger.decisions import write_decision
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.rows import PurchaseRow, PurchaseState, add_artifact, set_output
from media_assets.ledger.schema import artifact, decision, output, purchase
from media_assets.prompt import Step
from media_assets_tests.ledger.far_host import REQUEST
from media_assets_tests.ledger.files import png
from media_assets_tests.making import cheap_prompt

_THEN = datetime(2026, 11, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ME = "me@here"
S = PurchaseState


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        yield one


def _names(files: list[Artifact]) -> list[str]:
    return [one.sha256.rstrip("0") for one in files]


def _add(ledger: Ledger, *names: str) -> None:
    with ledger.database.write() as connection:
        for name in names:
            add_artifact(connection, png(name))


def _buy(
    ledger: Ledger, take: int, *names: str, recovery: Recovery = Recovery.LISTED, state: PurchaseState = S.SUCCEEDED
) -> PurchaseRow:
    """Have a purchase that ended so at ``_THEN``, with these files, the newest last."""
    request = replace(REQUEST, take=take)
    claim = ledger.purchases.claim(request, recovery=recovery, prompt_key="a", plan_id="p", estimate_micro_usd=5)
    assert isinstance(claim, Claim)
    ledger.purchases.leave(claim)
    mine = purchase.c.request_key == request.key
    with ledger.database.write() as connection:
        connection.execute(
            sa.update(purchase).where(mine).values(state=state, cost_micro_usd=5, updated_at=as_written(_THEN))
        )
        for name in names:
            add_artifact(connection, png(name))
            set_output(connection, request.key, png(name))
    row = ledger.purchases.get(request.key)
    assert row is not None
    return row


def _unused(ledger: Ledger) -> dict[str, str | None]:
    return {one.artifact.sha256.rstrip("0"): one.since for one in ledger.garbage.unused()}


def test_each_file_is_remembered_from_when_it_was_found_unused(ledger: Ledger) -> None:
    """One that is needed never is, and one that is needed again is forgotten with its day."""
    row = _buy(ledger, 1, "e", "d")
    _add(ledger, "b", "c")
    assert _unused(ledger) == {"b": None, "c": None}
    assert ledger.garbage.mark(_THEN + _DAY) == 2
    _add(ledger, "f")
    assert ledger.garbage.mark(_THEN) == 1

    assert list(_unused(ledger).items()) == [
        ("f", as_written(_THEN)),
        ("b", as_written(_THEN + _DAY)),
        ("c", as_written(_THEN + _DAY)),
    ]
    with ledger.database.write() as connection:
        set_output(connection, row.request_key, png("c"))
        connection.execute(sa.delete(output).where(output.c.sha256 == png("e").sha256))
    assert ledger.garbage.mark(_THEN + 2 * _DAY) == 1
    assert _unused(ledger) == {
        "f": as_written(_THEN),
        "b": as_written(_THEN + _DAY),
        "e": as_written(_THEN + 2 * _DAY),
    }
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(artifact.c.sha256, artifact.c.unused_since))
        since = {row.sha256: row.unused_since for row in rows}
    assert (since[png("c").sha256], since[png("d").sha256]) == (None, None)


def test_what_was_not_needed_for_long_enough_is_struck_and_nothing_else(ledger: Ledger) -> None:
    """However many those are; and what somebody needs by now stays, whatever was remembered of it."""
    many = [f"{number:03}f" for number in range(205)]
    _add(ledger, *many)
    ledger.garbage.mark(_THEN)
    row = _buy(ledger, 1, "a")
    with ledger.database.write() as connection:
        set_output(connection, row.request_key, png("007f"))
        connection.execute(
            sa.update(artifact).where(artifact.c.sha256 == png("007f").sha256).values(unused_since=as_written(_THEN))
        )
    _add(ledger, "b")
    ledger.garbage.mark(_THEN + _DAY)
    with ledger.database.write() as connection:
        connection.execute(
            sa.update(artifact).values(unused_since=as_written(_THEN)).where(artifact.c.sha256 == png("007f").sha256)
        )
    _add(ledger, "c")
    condemned: list[Artifact] = []

    assert ledger.garbage.forget(before=_THEN - _DAY, condemn=condemned.append) == 0
    assert ledger.garbage.forget(before=_THEN, condemn=condemned.append) == 204

    assert sorted(_names(condemned)) == sorted(set(many) - {"007f"})
    assert _unused(ledger) == {"b": as_written(_THEN + _DAY), "c": None}
    assert ledger.garbage.named([f"{png(name).sha256}.png" for name in ("007f", "001f", "b")]) == {
        f"{png(name).sha256}.png" for name in ("007f", "b")
    }
    with ledger.garbage.unnamed([f"{png('b').sha256}.png", f"{png('b').sha256}.wav", "else.png"]) as unnamed:
        assert unnamed == {f"{png('b').sha256}.wav", "else.png"}


def test_a_step_keeps_its_file_as_long_as_its_purchase_has_one(ledger: Ledger) -> None:
    row = _buy(ledger, 1, "a")
    _add(ledger, "b")
    for key, request_key in (("film", row.request_key), ("else", "0" * 64)):
        done = FinishedStep(step=Step.IMAGE, request_key=request_key, model="m", inputs={}, degraded=False, reason=None)
        ledger.prompts.finish(key, "d", done, sha256=png("b").sha256, params={})
        with ledger.database.write() as connection:
            connection.exec_driver_sql(f"DELETE FROM step WHERE prompt_key <> '{key}'")  # noqa: S608 - ours
        assert _unused(ledger) == ({} if key == "film" else {"b": None})


def test_what_was_stored_and_never_recorded_is_wanted_by_what_has_no_file(ledger: Ledger) -> None:
    """And was paid for, or may have been: unless a person gave it up."""
    rows = {state: _buy(ledger, number, state=state) for number, state in enumerate(S)}
    free = _buy(ledger, 20, recovery=Recovery.FREE, state=S.SUBMITTED)
    has_file = _buy(ledger, 21, "a", state=S.FAILED_PAID)
    given_up = _buy(ledger, 22, state=S.LOST_OUTPUT)
    decided = _buy(ledger, 23, state=S.LOST_OUTPUT)
    unasked = _buy(ledger, 24, state=S.SUBMITTED)
    with ledger.database.write() as connection:
        write_decision(connection, given_up, "delete", who=_ME)
        write_decision(connection, decided, "resubmit", who=_ME)
    every = [row.request_key for row in (*rows.values(), free, has_file, given_up, decided)]

    wanted = ledger.garbage.still_wanted(every)

    open_states = {S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.DONE, S.UNKNOWN, S.LOST_OUTPUT, S.FAILED_PAID}
    assert wanted == {rows[state].request_key for state in open_states} | {decided.request_key}
    assert ledger.garbage.still_wanted([unasked.request_key]) == {unasked.request_key}


def test_what_was_paid_for_before_a_day_is_what_no_film_uses(ledger: Ledger) -> None:
    """Neither what is open, nor free, nor younger, nor made for a prompt as it is pinned now."""
    late, moment = _buy(ledger, 1, "a"), _THEN + timedelta(seconds=1)
    _buy(ledger, 2, "b", recovery=Recovery.FREE)
    _buy(ledger, 3, "c", state=S.LOST_OUTPUT)
    _buy(ledger, 4)
    bad = [_buy(ledger, 5, "d", state=S.FAILED_PAID), _buy(ledger, 6, "e", state=S.FAILED_FREE)]
    used, stood_in, unpinned = _buy(ledger, 7, "f"), _buy(ledger, 8, "9"), _buy(ledger, 9, "8")
    film = cheap_prompt(key="film")
    ledger.prompts.pin([film], source="test")
    digests = [film.step_digest(Step.VIDEO, stand_in_fields=both) for both in (False, True)]
    assert len(set(digests)) == 2
    for row, digest in zip((used, stood_in, unpinned), [*digests, "another"], strict=True):
        done = FinishedStep(
            step=Step.VIDEO, request_key=row.request_key, model="m", inputs={}, degraded=False, reason=None
        )
        ledger.prompts.finish("film", digest, done, sha256="s", params={})
    mine = purchase.c.request_key == late.request_key
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).where(mine).values(updated_at=as_written(_THEN - _DAY)))

    found = [row.request_key for row in ledger.garbage.paid_before(moment)]

    assert found[0] == late.request_key, "the oldest first"
    assert set(found) == {row.request_key for row in (late, *bad, unpinned)}
    assert [row.request_key for row in ledger.garbage.paid_before(_THEN)] == [late.request_key]
    (now,) = (row for row in ledger.purchases.search() if row.request_key == used.request_key)
    assert not ledger.garbage.give_up(now, moment, days=1, who=_ME, condemn=lambda _: pytest.fail("it is used"))


def test_what_is_given_up_goes_with_all_its_files_but_those_that_others_have(ledger: Ledger) -> None:
    row, other = _buy(ledger, 1, "a", "b", "c"), _buy(ledger, 2, "d", "b")
    _add(ledger, "e")
    condemned: list[Artifact] = []

    def give_up() -> bool:
        return ledger.garbage.give_up(row, _THEN + _DAY, days=30, who=_ME, condemn=condemned.append)

    assert not ledger.garbage.give_up(row, _THEN, days=30, who=_ME, condemn=condemned.append)
    assert give_up()
    assert not give_up(), "once"

    assert sorted(_names(condemned)) == ["a", "c"]
    now, untouched = (ledger.purchases.get(one.request_key) for one in (row, other))
    assert untouched == other
    assert now is not None
    assert (now.state, now.fence, now.artifact, now.cost_micro_usd) == (S.LOST_OUTPUT, row.fence + 1, None, 5)
    assert now.updated_at > row.updated_at
    assert "--delete-paid-older-than 30" in (now.error or {})["message"]
    with ledger.database.read() as connection:
        (told,) = connection.execute(sa.select(decision)).mappings()
        kept = connection.execute(sa.select(artifact.c.sha256).order_by(artifact.c.sha256)).scalars().all()
    assert (told["request_key"], told["what"], told["who"], told["state_before"]) == (
        row.request_key,
        "delete",
        _ME,
        "SUCCEEDED",
    )
    assert [one.rstrip("0") for one in kept] == ["b", "d", "e"]
    bad = _buy(ledger, 3, "f", state=S.FAILED_PAID)
    assert ledger.garbage.give_up(bad, _THEN + _DAY, days=30, who=_ME, condemn=condemned.append)
    after = ledger.purchases.get(bad.request_key)
    assert after is not None
    assert (after.state, after.artifact) == (S.FAILED_PAID, None)
