"""What is done about one prompt and its purchase leaves another's alone: rows, money, interest, plans and decisions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, MediaInfo, MediaKind
from media_assets.catalog import Recovery
from media_assets.errors import (
    JudgeError,
    OutputLostError,
    PredictionFailedError,
    StoppedError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap, Need
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.rows import NOBODY, PurchaseRow, PurchaseState
from media_assets.ledger.schema import interest, metadata
from media_assets.prediction import Prediction, State
from media_assets.prompt import Prompt, Step
from media_assets_tests.making import cheap_prompt, some_request

_PRICE = 1_000_000
_BILLED = Settlement(cost_micro_usd=400_000)
_DONE = Prediction(id="p-a", state=State.SUCCEEDED)
_MADE = Artifact(
    sha256="ab" * 32, info=MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=10)
)
_ME = "me@here"

Rows = dict[tuple[str, tuple[Any, ...]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Party:
    """One prompt with a plan and a purchase."""

    prompt: Prompt
    claim: Claim
    token: str

    @property
    def key(self) -> str:
        """Of the prompt."""
        return self.prompt.key

    @property
    def names(self) -> set[str]:
        """What its rows are known by."""
        return {self.key, self.claim.request_key, f"plan-{self.key}", f"prompt:{self.key}", self.token}


def _party(ledger: Ledger, key: str, take: int) -> Party:
    prompt = cheap_prompt(key=key)
    ledger.prompts.pin([prompt], source="test")
    caps = [Cap(f"prompt:{key}", 10 * _PRICE, "cap"), Cap("day:2026-11-23", 100 * _PRICE, "cap")]
    amounts = {Step.IMAGE: _PRICE, Step.AUDIO: 7}
    ledger.prompts.open_plan(f"plan-{key}", key, amounts=amounts, caps=caps)
    claim = ledger.purchases.claim(
        some_request(take=take),
        recovery=Recovery.LISTED,
        prompt_key=key,
        plan_id=f"plan-{key}",
        estimate_micro_usd=_PRICE,
    )
    assert isinstance(claim, Claim)
    token = ledger.purchases.write_intent(claim)
    return Party(prompt=prompt, claim=claim, token=token)


@dataclass(frozen=True)
class World:
    """One party that something is done about, and another."""

    ledger: Ledger
    a: Party
    b: Party

    def rows(self, party: Party) -> Rows:
        """Return every row in which a party is named."""
        found: Rows = {}
        with self.ledger.database.read() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(sa.select(table)).mappings():
                    if party.names & {value for value in row.values() if isinstance(value, str)}:
                        key = tuple(row[column.name] for column in table.primary_key)
                        found[table.name, key] = dict(row)
        return found

    def row(self, party: Party) -> PurchaseRow:
        """Return a party's purchase."""
        row = self.ledger.purchases.get(party.claim.request_key)
        assert row is not None
        return row

    def undecided(self, party: Party) -> PurchaseRow:
        """Lose the reply of a party's submission, and let go of the purchase."""
        ledger = self.ledger
        ledger.purchases.write_unknown(party.claim, UnknownOutcomeError("no reply"), token=party.token)
        ledger.purchases.hand_over(party.claim)
        ledger.purchases.leave(party.claim)
        return self.row(party)

    def submitted(self) -> Claim:
        """Have the submission of the first accepted."""
        self.ledger.purchases.write_submitted(self.a.claim, self.a.token, Prediction(id="p-a", state=State.RUNNING))
        return self.a.claim

    def scopes(self) -> Mapping[str, tuple[int, int]]:
        """Return what each budget has spent and reserved."""
        query = "SELECT scope, spent_micro_usd, reserved_micro_usd FROM budget"
        with self.ledger.database.read() as connection:
            return {scope: (spent, held) for scope, spent, held in connection.exec_driver_sql(query)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_ledger(tmp_path) as ledger:
        yield World(ledger, _party(ledger, "a", 1), _party(ledger, "b", 2))


def _finished(request_key: str) -> FinishedStep:
    return FinishedStep(step=Step.IMAGE, request_key=request_key, model="m", inputs={}, degraded=False, reason=None)


def _done(world: World) -> None:
    world.ledger.purchases.write_done(world.submitted(), _DONE, _BILLED)


def _stored(world: World, failed: JudgeError | None = None) -> None:
    _done(world)
    world.ledger.purchases.write_stored(world.a.claim, _MADE, notes=["n"], duration_s=1.0, failed=failed)


def _accepted(world: World) -> None:
    _stored(world, JudgeError("black"))
    world.ledger.decisions.accept(world.row(world.a), who=_ME)


_WRITES: Mapping[str, Callable[[World], object]] = {
    "pin": lambda w: w.ledger.prompts.pin([cheap_prompt(key="a", script="Else.")], source="test"),
    "raise takes": lambda w: w.ledger.prompts.raise_takes("a", [Step.IMAGE], origin="run"),
    "status": lambda w: w.ledger.prompts.set_status(w.a.prompt, "failed", {"class": "X", "message": "m"}),
    "reserve again": lambda w: w.ledger.prompts.reserve_again("plan-a", Need({Step.AUDIO: 3}), []),
    "close plan": lambda w: w.ledger.prompts.close_plan("plan-a"),
    "finish": lambda w: w.ledger.prompts.finish("a", "d", _finished("r"), sha256="s", params={}),
    "submitted": lambda w: w.submitted(),
    "put back": lambda w: w.ledger.purchases.write_put_back(
        w.a.claim, w.a.token, UnexpectedResponseError("busy"), block_s=0.0
    ),
    "remote": lambda w: w.ledger.purchases.write_remote(w.submitted(), Prediction(id="p-a", state=State.RUNNING)),
    "progress": lambda w: w.ledger.purchases.write_progress(w.submitted(), 0.5),
    "done": _done,
    "stored": _stored,
    "failed": lambda w: w.ledger.purchases.write_failed(
        w.a.claim, w.a.token, PredictionFailedError("no"), outcome="failed"
    ),
    "interrupted": lambda w: w.ledger.purchases.write_failed(
        w.a.claim, w.a.token, StoppedError("stop"), outcome="interrupted"
    ),
    "lost": lambda w: w.ledger.purchases.write_lost(w.submitted(), OutputLostError("gone"), _BILLED),
    "unknown": lambda w: w.undecided(w.a),
    "trouble": lambda w: w.ledger.purchases.write_trouble(w.submitted(), PredictionFailedError("later")),
    "hand over": lambda w: w.ledger.purchases.hand_over(w.submitted()),
    "request cancel": lambda w: w.ledger.purchases.request_cancel(w.submitted(), plan_id="plan-a"),
    "lose interest": lambda w: w.ledger.purchases.lose_interest(w.a.claim.request_key, plan_id="plan-a"),
    "adopt": lambda w: w.ledger.decisions.adopt(w.undecided(w.a), _DONE, who=_ME),
    "resubmit": lambda w: w.ledger.decisions.resubmit(w.undecided(w.a), who=_ME),
    "resubmit once": lambda w: w.ledger.decisions.resubmit_once(w.undecided(w.a).request_key),
    "write off": lambda w: w.ledger.decisions.write_off(w.undecided(w.a), cost_micro_usd=9, who=_ME),
    "accept": _accepted,
    "budget": lambda w: w.ledger.spending.accept("prompt:a"),
}


@pytest.mark.parametrize("name", _WRITES)
def test_a_write_changes_its_own_rows_and_no_others(world: World, name: str) -> None:
    """A condition that is missing in one statement would settle, fail or free what others have."""
    mine, others = world.rows(world.a), world.rows(world.b)

    _WRITES[name](world)

    assert world.rows(world.b) == others
    assert name == "budget" or world.rows(world.a) != mine


@pytest.mark.parametrize(
    ("decide", "spent", "state", "outcome"),
    [
        (lambda w, row: w.ledger.decisions.adopt(row, _DONE, who=_ME), None, PurchaseState.SUBMITTED, "accepted"),
        (lambda w, row: w.ledger.decisions.resubmit(row, who=_ME), 0, PurchaseState.CANCELED, "unsent"),
        (lambda w, row: w.ledger.decisions.resubmit_once(row.request_key), _PRICE, PurchaseState.CANCELED, "ambiguous"),
        (lambda w, row: w.ledger.decisions.write_off(row, who=_ME), _PRICE, PurchaseState.FAILED_PAID, "ambiguous"),
    ],
    ids=["adopt", "resubmit", "resubmit once", "write off"],
)
def test_a_decision_moves_the_money_and_lets_go(
    world: World, decide: Callable[[World, PurchaseRow], object], spent: int | None, state: PurchaseState, outcome: str
) -> None:
    """What it settles is spent under every cap, and is held by nobody any more; what it keeps open keeps its money."""
    row = world.undecided(world.a)
    before = datetime.now(UTC)

    decide(world, row)

    held = _PRICE if spent is None else 0
    now = world.row(world.a)
    assert (now.state, now.owner) == (state, NOBODY)
    assert datetime.fromisoformat(now.updated_at) >= before
    assert now.cost_micro_usd == (spent or None)
    assert world.scopes()["prompt:a"] == (spent or 0, held + 7)
    assert world.scopes()["day:2026-11-23"] == (spent or 0, held + _PRICE + 14)
    assert [one["outcome"] for one in world.ledger.purchases.attempts(row.request_key)] == [outcome]
    wanted = sa.select(sa.func.count()).select_from(interest).filter_by(request_key=row.request_key, until=None)
    with world.ledger.database.read() as connection:
        assert connection.execute(wanted).scalar_one() == (1 if spent is None else 0)


def test_a_policy_submits_once_more_each_purchase_for_itself(world: World) -> None:
    """That another one was sent once more is no word on this one."""
    rows = [world.undecided(party) for party in (world.a, world.b)]

    assert [world.ledger.decisions.resubmit_once(row.request_key) for row in rows] == [True, True]
    assert [world.row(party).state for party in (world.a, world.b)] == [PurchaseState.CANCELED] * 2


def test_decisions_of_two_purchases_are_counted_apart(world: World) -> None:
    for party in (world.a, world.b):
        world.ledger.decisions.adopt(
            world.undecided(party), Prediction(id=f"p-{party.key}", state=State.RUNNING), who="x"
        )

    assert [one["n"] for one in world.ledger.decisions.of(world.b.claim.request_key)] == [1]


def test_dead_plans_are_closed_and_living_ones_stay(tmp_path: Path) -> None:
    """Their money is what a run at work counts on."""
    caps = [Cap("day:2026-11-23", 100, "cap")]
    with open_ledger(tmp_path) as alive:
        alive.prompts.open_plan("alive", "a", amounts={Step.IMAGE: 5}, caps=caps)
        with open_ledger(tmp_path) as dead:
            dead.prompts.open_plan("dead", "b", amounts={Step.IMAGE: 7}, caps=caps)

        assert alive.prompts.close_dead_plans() == 1

        with alive.database.read() as connection:
            assert connection.exec_driver_sql("SELECT id FROM plan").scalars().all() == ["alive"]
            assert connection.exec_driver_sql("SELECT reserved_micro_usd FROM budget").scalar_one() == 5


def test_a_plan_is_known_by_its_own_name(world: World) -> None:
    """Whether a write stands whose COMMIT nobody confirmed is asked of that plan."""
    from media_assets.ledger.prompts import _plan_stands  # noqa: PLC0415 - what Postgres alone asks

    with world.ledger.database.read() as connection:
        assert [_plan_stands(name)(connection) for name in ("plan-a", "plan-b", "plan-c")] == [True, True, False]


def test_whether_a_prompt_is_pinned_is_asked_of_what_it_says(world: World) -> None:
    assert world.ledger.prompts.is_pinned("a", world.a.prompt.digest)
    assert not world.ledger.prompts.is_pinned("a", cheap_prompt(key="a", script="Else.").digest)
    assert not world.ledger.prompts.is_pinned("c", cheap_prompt(key="c").digest)


def test_the_newest_attempt_is_told_of_several(world: World) -> None:
    """And of one whose reply was lost, from when on nothing more can come of it."""
    purchases, claim = world.ledger.purchases, world.a.claim
    purchases.write_put_back(claim, world.a.token, UnexpectedResponseError("busy"), block_s=0.0)
    token = purchases.write_intent(claim)
    sent = purchases.last_attempt(claim.request_key)
    assert sent is not None
    purchases.write_unknown(claim, UnknownOutcomeError("no reply"), token=token)
    ended = purchases.last_attempt(claim.request_key)

    assert ended is not None
    assert [(one.token, one.n, one.has_ended, one.outcome) for one in (sent, ended)] == [
        (token, 2, False, None),
        (token, 2, True, "ambiguous"),
    ]
    assert sent.clock_mark != ended.clock_mark


def test_an_overrun_that_is_accepted_leaves_room_for_what_is_there(world: World) -> None:
    """The cap becomes what is spent and reserved, or the rule that nothing passes a cap would be broken at once."""
    world.ledger.purchases.write_done(world.submitted(), _DONE, Settlement(cost_micro_usd=50 * _PRICE))
    with world.ledger.database.read() as connection:
        before = connection.exec_driver_sql("SELECT overrun FROM budget WHERE scope='prompt:a'").scalar_one()

    assert world.ledger.spending.accept("prompt:a")

    query = "SELECT overrun, overrun_by, overrun_micro_usd, cap_micro_usd FROM budget WHERE scope='prompt:a'"
    with world.ledger.database.read() as connection:
        row = connection.exec_driver_sql(query).one()
    assert before
    assert tuple(row) == (0, None, None, 50 * _PRICE + 7)


def test_nothing_of_a_process_stays_in_its_scratch_folder(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        folder = ledger.scratch("token")
        folder.mkdir(parents=True)
        (folder / "half.png").write_bytes(b"half")
        assert ledger.left_behind() == []
    with open_ledger(tmp_path) as later:
        assert list(later.scratch_root.glob("*/*")) == []
        gone = later.scratch_root / "gone" / "token"
        gone.mkdir(parents=True)
        assert later.left_behind() == [gone.parent]
        later.sweep()
        assert not gone.parent.exists()


def test_prompts_are_found_by_whose_they_are(world: World) -> None:
    """A prompt's purchases are those it asked for, and those it was made from."""
    world.ledger.prompts.finish("c", "d", _finished(world.b.claim.request_key), sha256="s", params={})

    found = {key: [row.prompt_key for row in world.ledger.purchases.search(prompt_key=key)] for key in "abcd"}

    assert found == {"a": ["a"], "b": ["b"], "c": ["b"], "d": []}


def test_what_expires_is_reckoned_in_time(world: World) -> None:
    """Of a plan that no cap limits nothing is held, and its prompt is marked all the same."""
    world.ledger.prompts.open_plan("free", "a", amounts={}, caps=[], digest=world.a.prompt.digest)
    found = world.ledger.prompts.get("a")

    assert found is not None
    assert found.status == "running"
    assert datetime.fromisoformat(found.updated_at) > datetime.now(UTC) - timedelta(minutes=5)
