"""The line to Postgres is cut around a COMMIT: who wrote finds out whether it stands, and nothing is bought twice."""

import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from media_assets.errors import LedgerError, MediaAssetsError, ProviderUnavailableError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim
from media_assets.ledger.database import CommitUnknownError
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.ledger.far_host import PREDICTION, REQUEST, claim, owned_by
from media_assets_tests.ledger.proxies import CUTS, Line
from media_assets_tests.making import reserved_of
from media_assets_tests.postgres_server import Server
from media_assets_tests.web_shop import KINDS, PRICE_USD, Service, WebAdapter, at_once, open_web_shop

_CUTS_OF_EACH_KIND = 500 if LONG else 2
_ENOUGH_S = 600
"""After which the line is cut no more: a slow machine gets to fewer cuts, of which it tells."""
_OWNED = owned_by("", lease_s=600)
PRICE_MICRO_USD = int(PRICE_USD * 1_000_000)
S = PurchaseState


def _cut_next(line: Line, how: str) -> None:
    line.commits, line.cut_at, line.how = 0, 1, how


def _claimed(ledger: Ledger) -> Claim:
    claimed = claim(ledger)
    assert isinstance(claimed, Claim), claimed
    return claimed


@pytest.mark.parametrize("how", CUTS)
def test_an_intent_whose_confirmation_was_lost_is_looked_for(migrated: str, tmp_path: Path, how: str) -> None:
    """If it stands it is ours to act on, once; if it does not, nothing may be sent under it."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:
        claimed = _claimed(ledger)
        _cut_next(line, how)

        if how == "before":
            with pytest.raises(LedgerError, match="cannot be used"):
                ledger.purchases.write_intent(claimed)
        else:
            token = ledger.purchases.write_intent(claimed)
            ledger.purchases.write_submitted(claimed, token, PREDICTION)

        assert len(ledger.purchases.attempts(REQUEST.key)) == (how != "before")
        assert ledger.purchases.search()[0].state is (S.RESERVED if how == "before" else S.SUBMITTED)


@pytest.mark.parametrize("how", CUTS)
def test_a_claim_whose_confirmation_was_lost_is_ours_or_free(migrated: str, tmp_path: Path, how: str) -> None:
    """Held by a process that does not know of it, it would keep everybody waiting for as long as that lives."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:
        _cut_next(line, how)

        if how == "before":
            with pytest.raises(LedgerError, match="cannot be used"):
                claim(ledger)

        assert _claimed(ledger).fence == 1
        assert ledger.owner.holds(REQUEST.key)


@pytest.mark.parametrize("how", CUTS)
def test_the_outcome_of_an_attempt_is_looked_for(migrated: str, tmp_path: Path, how: str) -> None:
    """Put back twice, or once too seldom, a submission would be counted wrongly; the same holds for its id."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:
        claimed = _claimed(ledger)
        refused = ProviderUnavailableError("not reached")

        def put_back(token: str) -> None:
            ledger.purchases.write_put_back(claimed, token, refused, block_s=0)

        def submitted(token: str) -> None:
            ledger.purchases.write_submitted(claimed, token, PREDICTION)

        for write in (put_back, submitted):
            token = ledger.purchases.write_intent(claimed)
            _cut_next(line, how)
            if how == "before":
                with pytest.raises(LedgerError):
                    write(token)
            write(token)

        outcomes = [attempt["outcome"] for attempt in ledger.purchases.attempts(REQUEST.key)]
    assert outcomes == ["unsent", "accepted"]


@pytest.mark.parametrize("how", CUTS)
def test_a_plan_whose_confirmation_was_lost_holds_no_money_for_ever(migrated: str, tmp_path: Path, how: str) -> None:
    """Its process lives on, for weeks perhaps, and so nobody would take it for dead."""
    amounts, caps = {REQUEST.step: PRICE_MICRO_USD}, [Cap("prompt:a", PRICE_MICRO_USD, "cap")]
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:
        for plan_id in ("opened", "again"):
            _cut_next(line, how)
            if how == "before":
                with pytest.raises(LedgerError, match="cannot be used"):
                    ledger.prompts.open_plan(plan_id, "a", amounts=amounts, caps=caps)
                ledger.prompts.open_plan(plan_id, "a", amounts=amounts, caps=caps)
            else:
                ledger.prompts.open_plan(plan_id, "a", amounts=amounts, caps=caps)
            assert (ledger.prompts.close_dead_plans(), reserved_of(ledger)) == (0, PRICE_MICRO_USD)

            _cut_next(line, how)
            if how == "before":
                with pytest.raises(LedgerError, match="cannot be used"):
                    ledger.prompts.close_plan(plan_id)
            else:
                ledger.prompts.close_plan(plan_id)

            assert ledger.prompts.close_dead_plans() == (how == "before")
            assert reserved_of(ledger) == 0


def test_a_commit_that_nobody_can_ask_about_is_said_to_be_unknown(migrated: str, tmp_path: Path) -> None:
    """To say that nothing was written would be a guess."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:
        _cut_next(line, "after")

        with pytest.raises(CommitUnknownError, match="not known"), ledger.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO plan VALUES ('1', 'o', 'p', 't')")

        with ledger.database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM plan").scalar_one() == 1


def test_a_line_that_is_lost_before_the_commit_has_written_nothing(migrated: str, tmp_path: Path) -> None:
    """That is certain without a proof: whoever is told "unknown" looks on the provider's site for what never was."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, _OWNED) as ledger:

        def write() -> None:
            with ledger.database.write() as connection:
                connection.exec_driver_sql("INSERT INTO plan VALUES ('1', 'o', 'p', 't')")
                line.cut()
                connection.exec_driver_sql("INSERT INTO plan VALUES ('2', 'o', 'p', 't')")

        with pytest.raises(LedgerError, match="Nothing new was sent") as told:
            write()

        assert not isinstance(told.value, CommitUnknownError)
        with ledger.database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM plan").scalar_one() == 0


def _new_database(server: Server, template: str) -> str:
    name = f"test_{secrets.token_hex(6)}"
    server.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.url + name


def _buy_with_a_cut(url: str, home: Path, kind: str, cut: tuple[int, str]) -> int:
    """Buy over a line that is cut at a COMMIT, then over a good one until it is decided; return the COMMITs over it."""
    once = kind == "answers once"
    service, adapter = Service(submit=at_once) if once else Service(), WebAdapter(answers_once=once)
    with Line(url) as line:
        line.cut_at, line.how = cut
        try:
            with open_web_shop(home, service, adapter=adapter, ledger_url=line.through, ownership=_OWNED) as first:
                first.buy()
        except MediaAssetsError:
            if not cut[0]:
                raise
        commits = line.commits
    for _ in range(2):
        with open_web_shop(home, service, adapter=adapter, ledger_url=url, ownership=_OWNED) as again:
            again.ledger.sweep()
            try:
                again.buy()
            except MediaAssetsError:
                if again.row().state not in {S.UNKNOWN, S.LOST_OUTPUT}:
                    raise
            again.ledger.sweep()
            row, spent_usd, reserved = again.row(), again.shop.spent_usd(), reserved_of(again.ledger)
    assert service.submits == 1, f"{service.submits} submissions after a cut at {cut}"
    paid = row.state is not S.UNKNOWN
    assert (row.cost_micro_usd, spent_usd) == ((PRICE_MICRO_USD, PRICE_USD) if paid else (None, 0)), row
    assert reserved == (0 if paid else PRICE_MICRO_USD), row
    return commits


@pytest.mark.parametrize("kind", KINDS)
def test_a_purchase_is_submitted_once_wherever_the_line_is_cut(
    server: Server,
    template: str,
    tmp_path: Path,
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Every write of a purchase is one that may be confirmed to nobody; what was sent under it is sent once."""
    commits = _buy_with_a_cut(_new_database(server, template), tmp_path / "whole", kind, (0, ""))
    every = [(nth, how) for nth in range(1, commits + 1) for how in CUTS]
    tried = every if LONG else every[KINDS.index(kind) :: 5]

    for number, cut in enumerate(tried):
        _buy_with_a_cut(_new_database(server, template), tmp_path / str(number), kind, cut)

    record_property(SAMPLE, f"{len(tried)} of {len(every)} cuts around the commits of a purchase ({kind})")


@pytest.mark.timeout(_ENOUGH_S + 180)
def test_one_process_goes_on_however_often_its_line_is_cut(
    migrated: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What a cut leaves behind in the process, its pool or its ledger must not disturb the next purchase."""
    drawn = random.Random(20261130)  # noqa: S311 - not a secret
    cuts = [how for how in ("before", "after") for _ in range(_CUTS_OF_EACH_KIND)]
    drawn.shuffle(cuts)
    service, met, unknown, bought = Service(), 0, 0, 0
    give_up = time.monotonic() + _ENOUGH_S
    with Line(migrated) as line, open_web_shop(tmp_path, service, ledger_url=line.through, ownership=_OWNED) as shop:
        shop.shop.caps = [Cap("prompt:cheap", 10**12, "cap")]
        line.commits = 0
        shop.buy(take=-1)
        commits = line.commits
        for take, how in enumerate(cuts):
            if time.monotonic() > give_up:
                break
            bought += 1
            line.commits, line.cut_at, line.how = 0, drawn.randint(1, commits), how
            for _ in range(3):
                try:
                    shop.buy(take=take)
                except MediaAssetsError:
                    continue
                break
            met += line.commits >= line.cut_at
            line.cut_at = 0
            unknown += shop.row(take).state is S.UNKNOWN
            assert service.submits == take + 2, f"{service.submits - take - 1} submissions after a cut {how} a commit"
        shop.ledger.sweep()
        states = {row.state for row in shop.ledger.purchases.search()}
        spent_usd, reserved = shop.shop.spent_usd(), reserved_of(shop.ledger)

    assert states <= {S.SUCCEEDED, S.UNKNOWN}
    assert met == bought >= min(len(cuts), 100), "a purchase took fewer commits than it is cut at"
    assert (spent_usd, reserved) == (PRICE_USD * (1 + bought - unknown), unknown * PRICE_MICRO_USD)
    record_property(SAMPLE, f"{bought} of 1000 cuts around a commit in one process, {unknown} unknown")
