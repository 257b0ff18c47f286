"""What became of a lost reply: found, proved never to have arrived, or a person's to decide; nothing is guessed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.errors import UnknownOutcomeError
from media_assets.film import Film
from media_assets.ledger import open_ledger
from media_assets.ledger.clock import mark
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt
from media_assets.prompt import Prompt, Step
from media_assets.providers.base import HttpReply
from media_assets.providers.transport.spool import Spool
from media_assets.studio import Event, MakeOptions, Studio
from media_assets_tests.making import purchases, reserved_micro_usd
from media_assets_tests.simulated import Market, open_market, paid_prompt

LOST = {"call": "submit", "fault": "exec_and_drop"}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _picture(model: str = "replicate:sdxl", **changes: Any) -> Any:
    routes = {"image": [model], "audio": ["local:silence"]}
    return paid_prompt(routes=routes, clip_s=1.0, params={"video": {"fps": 2}}, **changes)


def _image_alone(
    market: Market, prompt: Any, on_event: Any = None, options: MakeOptions | None = None, **settings: Any
) -> Any:
    with market.studio(**settings) as studio:
        listen = on_event or (lambda _event: None)
        return asyncio.run(studio.attempt(prompt, wanted={Step.IMAGE}, options=options, on_event=listen))


@pytest.mark.parametrize("model", ["replicate:sdxl", "fal:flux-schnell"])
def test_what_is_found_is_fetched_and_paid_once(market: Market, model: str) -> None:
    """While it is looked for, people are told what is waited for."""
    market.set_faults({**LOST, "times": 1})
    told: list[Event] = []

    film = _image_alone(market, _picture(model), told.append, settle_lag_s=0.3)

    assert film.error is None
    assert (market.posts(), film.cost_usd) == (1, market.bill_usd())
    waits = [event.note for event in told if event.what == "waiting"]
    assert waits
    assert "list tells what came of a submission without a reply" in waits[0]


def test_two_that_fit_are_a_persons_choice(market: Market) -> None:
    """The same input was submitted twice, once by somebody else: which one is ours, nobody can say."""
    market.set_faults()
    _image_alone(market, _picture(seed=5))
    (market.home / "ledger.db").rename(market.home / "gone.db")
    market.set_faults({**LOST, "times": 1})

    film = _image_alone(market, _picture(seed=5))

    assert isinstance(film.error, UnknownOutcomeError)
    assert "lists 2 that it may have become" in film.error.message
    assert "ledger adopt|resubmit|write-off" in film.error.message
    row = purchases(market.home)[Step.IMAGE]
    assert row.state is PurchaseState.UNKNOWN
    assert reserved_micro_usd(market.home) >= row.estimate_micro_usd
    assert market.posts() == 2


def test_an_input_that_is_not_shown_any_more_is_no_proof(market: Market) -> None:
    """Replicate forgets inputs after an hour: what is listed then may be ours."""
    market.set_faults({**LOST, "times": 1})
    held = _image_alone(market, _picture(), settle_lag_s=0.0, poll_interval_s=0.02, not_found_grace_s=0.0)
    assert held.error is None, "the control: at once it is found"
    market.set_faults({**LOST, "times": 1}, {"call": "list", "fault": "list_lag", "seconds": 3000, "times": 1})
    other = _picture(seed=9, key="other")
    with market.studio(settle_lag_s=60.0) as studio:
        asyncio.run(studio.attempt(other, wanted={Step.IMAGE}, options=MakeOptions(waits=False)))
    market.simulator.world.clock.advance(2 * 3600)
    market.set_faults()

    film = _image_alone(market, other, settle_lag_s=0.0)

    assert isinstance(film.error, UnknownOutcomeError)
    assert market.posts() == 2


def test_a_list_that_cannot_be_read_to_its_end_proves_nothing(market: Market) -> None:
    """What is looked for may be on the page that did not come."""
    market.set_faults({"call": "submit", "fault": "noexec_500", "times": 1}, {"call": "list", "fault": "2xx_garbage"})
    with market.studio() as studio:
        object.__setattr__(studio.transport.options, "list_budget_s", 0.2)

        film = asyncio.run(studio.attempt(_picture(), wanted={Step.IMAGE}))

    assert isinstance(film.error, UnknownOutcomeError)
    assert (market.posts(), len(market.accepted())) == (1, 0)


@pytest.mark.parametrize("fault", ["noexec_500", "429_header", "refuse_connect"])
def test_a_list_that_cannot_be_had_proves_nothing(market: Market, fault: str) -> None:
    """It is held with its budget, and no policy sends it again; once the list is there, it tells."""
    market.set_faults({"call": "submit", "fault": "noexec_500", "times": 1}, {"call": "list", "fault": fault})
    cheap: Any = {"unknown_policy": "resubmit_if_cheap", "resubmit_max_usd": "1"}
    with market.studio(**cheap) as studio:
        object.__setattr__(studio.transport.options, "list_budget_s", 0.2)

        film = asyncio.run(studio.attempt(_picture(), wanted={Step.IMAGE}))

    assert isinstance(film.error, UnknownOutcomeError)
    assert "replicate's list could not be had" in film.error.message
    row = purchases(market.home)[Step.IMAGE]
    assert (row.state, reserved_micro_usd(market.home)) == (PurchaseState.UNKNOWN, row.estimate_micro_usd)
    assert (market.posts(), len(market.accepted())) == (1, 0)
    market.set_faults()
    again = _image_alone(market, _picture())
    assert again.error is None
    assert (market.posts(), len(market.accepted()), again.cost_usd) == (2, 1, market.bill_usd())


def test_others_of_a_stream_go_on_while_one_waits_for_the_list(market: Market) -> None:
    """With one place for all: who waits for a provider's word leaves it to those who need none."""
    market.set_faults({**LOST, "times": 1})
    lost = _picture()
    free = paid_prompt(key="free", routes={"image": ["local:landscape"]}, clip_s=1.0)

    async def made(studio: Studio) -> list[str]:
        films = [film async for film in studio.stream([lost, free], wanted={Step.IMAGE})]
        assert [film.error for film in films] == [None, None]
        return [film.key for film in films]

    with market.studio(settle_lag_s=1.5, max_in_flight=1) as studio:
        assert asyncio.run(made(studio)) == ["free", lost.key]
    assert market.posts() == 1


FIRST, SECOND = "replicate:sdxl", "fal:flux-schnell"


def _route(*models: str) -> Prompt:
    routes = {"image": list(models), "audio": ["local:silence"]}
    return paid_prompt(routes=routes, clip_s=1.0, params={"video": {"fps": 2}})


def _attempt(market: Market, **how: Any) -> Film:
    return market.attempt(_route(FIRST, SECOND), **how)


def _assert_honest(market: Market, film: Film) -> None:
    """Hold that the ledger has the bill, and that a rerun asks nobody."""
    assert film.error is None
    assert film.cost_usd == market.bill_usd()
    asked = market.requests()
    assert _attempt(market).error is None
    assert market.requests() == asked


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("fault", ["exec_and_drop", "exec_and_500", "2xx_garbage"])
def test_what_a_lost_reply_was_of_is_found_and_becomes_the_film(market: Market, fault: str, *, waits: bool) -> None:
    """The provider has it, and its list shows it: by the same run if it waits, else by the next, and paid once."""
    market.set_faults({"provider": "replicate", "call": "submit", "fault": fault})
    film = _attempt(market, options=MakeOptions(waits=waits))
    if not waits:
        film = _attempt(market)

    assert film.error is None
    assert film.steps[Step.IMAGE].model == FIRST
    assert market.posts() == 1
    _assert_honest(market, film)


@pytest.mark.parametrize("fault", ["noexec_500", "refuse_connect"])
def test_what_never_arrived_is_sent_again_once_that_is_proved(market: Market, fault: str) -> None:
    """Replicate's list shows what waits and runs: what is not in it after a while never came."""
    market.set_faults({"provider": "replicate", "call": "submit", "fault": fault, "times": 1})

    film = _attempt(market)

    assert film.steps[Step.IMAGE].model == FIRST
    assert (market.posts(), len(market.accepted())) == (2, 1)
    _assert_honest(market, film)


_MOST = 3
"""Submissions of one run, if each of them proves never to have arrived."""


@pytest.mark.parametrize("lost", [_MOST - 1, _MOST])
def test_what_never_arrives_is_sent_a_few_times_and_no_more(market: Market, lost: int) -> None:
    """Each of them is proved first; a provider that is down must not keep a run busy for ever."""
    market.set_faults({"call": "submit", "fault": "noexec_500", "times": lost})

    film = _image_alone(market, _picture())

    assert market.posts() == _MOST
    if lost == _MOST:
        assert isinstance(film.error, UnknownOutcomeError)
        row = purchases(market.home)[Step.IMAGE]
        assert (row.state, reserved_micro_usd(market.home)) == (PurchaseState.UNKNOWN, row.estimate_micro_usd)
        film = _image_alone(market, _picture())
    assert film.error is None
    assert (market.posts(), len(market.accepted()), film.cost_usd) == (lost + 1, 1, market.bill_usd())
    assert reserved_micro_usd(market.home) == 0


def test_a_list_that_is_believed_too_early_pays_twice(market: Market) -> None:
    """The control: with a lag below the provider's own, silence is no proof, and the bill shows two."""
    market.set_faults(
        {"provider": "replicate", "call": "submit", "fault": "exec_and_drop", "times": 1},
        {"provider": "replicate", "call": "list", "fault": "list_lag", "seconds": 60},
    )

    film = market.attempt(_route(FIRST), settle_lag_s=0.0)

    assert film.error is None
    assert len(market.accepted()) == 2


def test_a_submission_of_which_the_ledger_lost_its_record_is_not_sent_again(market: Market) -> None:
    """Without the time at which it was sent, no list proves anything."""
    market.set_faults({**LOST, "times": 1})
    _image_alone(market, _picture(), settle_lag_s=60.0, options=MakeOptions(waits=False))
    with open_ledger(market.home) as ledger, ledger.database.write() as connection:
        connection.execute(sa.delete(attempt))

    film = _image_alone(market, _picture(), settle_lag_s=0.0)

    assert isinstance(film.error, UnknownOutcomeError)
    assert "there is no record of the submission" in film.error.message
    assert (market.posts(), purchases(market.home)[Step.IMAGE].state) == (1, PurchaseState.UNKNOWN)


def test_a_spooled_reply_that_says_too_many_is_a_proof(market: Market) -> None:
    """The process died between the reply and the ledger: the next one reads it and asks no list, and waits for none."""
    market.set_faults({"call": "submit", "fault": "noexec_500", "times": 1}, {"call": "list", "fault": "noexec_500"})
    _image_alone(market, _picture(), settle_lag_s=600.0, options=MakeOptions(waits=False))
    with open_ledger(market.home) as ledger, ledger.database.read() as connection:
        token = connection.execute(sa.select(attempt.c.token)).scalar_one()
    Spool(market.home / "spool").write(token, HttpReply(status=429, headers={"retry-after": "0"}, body=b"{}"))

    film = _image_alone(market, _picture(), settle_lag_s=600.0)

    assert film.error is None
    assert (market.posts(), len(market.accepted()), film.cost_usd) == (2, 1, market.bill_usd())
    assert purchases(market.home)[Step.IMAGE].state is PurchaseState.SUCCEEDED


_NO_ID = (
    "CREATE TRIGGER no_id BEFORE UPDATE OF prediction_id ON purchase WHEN NEW.prediction_id IS NOT NULL "
    "BEGIN INSERT INTO there_is_no_room VALUES (1); END"
)
_LONG_AGO_S = 120.0
"""When the first was sent: longer ago than the reply to a submission may take, which the second's list waits for."""


@pytest.mark.parametrize("arrived", [True, False], ids=["both arrived", "one arrived"])
def test_a_prediction_that_a_lookalike_took_is_left_to_it(market: Market, *, arrived: bool) -> None:
    """Two takes with one seed look the same in a list: what is there goes to one of them, and only the rest is sent."""
    first, second = _picture(seed=5, key="first"), _picture(seed=5, key="second", take=1)
    market.set_faults()
    with market.studio() as studio:
        with studio.ledger.database.write() as connection:
            connection.exec_driver_sql(_NO_ID)
        held = asyncio.run(studio.attempt(first, wanted={Step.IMAGE}))
        with studio.ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER no_id")
            connection.execute(sa.update(attempt).values(clock_mark=mark(ago_s=_LONG_AGO_S)))
    market.simulator.world.clock.advance(_LONG_AGO_S)
    market.set_faults(
        {"call": "submit", "fault": "exec_and_drop" if arrived else "noexec_500", "times": 1},
        {"call": "list", "fault": "list_lag", "seconds": _LONG_AGO_S / 2, "times": 1},
    )
    taking = _image_alone(market, second)
    spooled = len(list((market.home / "spool").iterdir()))

    film = _image_alone(market, first)

    assert isinstance(held.error, UnknownOutcomeError)
    assert spooled == 1
    (mine, *others) = [one["id"] for one in market.accepted()]
    assert (taking.error, film.error) == (None, None)
    assert taking.steps[Step.IMAGE].prediction_id == mine
    assert [film.steps[Step.IMAGE].prediction_id] == others
    assert market.posts() == (2 if arrived else 3)
    assert taking.cost_usd + film.cost_usd == market.bill_usd()
    assert reserved_micro_usd(market.home) == 0
