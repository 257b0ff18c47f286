"""A run that is told to stop while it waits: what waits in a queue is called back, what runs is paid for and kept.

The bill is the simulator's, which knows nothing of our prices; the ledger has to agree with it exactly.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.errors import PredictionFailedError
from media_assets.film import Film
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.recall import OnCancel
from media_assets.settings import load_settings
from media_assets.studio import MakeOptions, Studio, open_studio
from media_assets_tests.canceling import until
from media_assets_tests.children import Child, run_children
from media_assets_tests.making import TODAY, reserved_of
from media_assets_tests.simulated import FAST, Market, open_market, paid_prompt

MODELS = {"replicate": "replicate:sdxl", "fal": "fal:flux-schnell"}
QUEUES = pytest.mark.parametrize("provider", list(MODELS))
_LONG_S = 30.0
"""How long the models run: far longer than a test, until the simulator's clock is put forward."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    latency_s = dict.fromkeys(MODELS, (_LONG_S, _LONG_S))
    with open_market(tmp_path_factory.mktemp("server"), latency_s=latency_s) as market:
        yield market


class Stage:
    """A home to buy a picture for, and what the one simulator saw of this test."""

    def __init__(self, server: Market, home: Path, text: str) -> None:
        self.market = Market(home, server.simulator, server.settings)
        self._text = text
        self._cancels_before = self._all_cancels()
        self.market.set_faults()

    def prompt(self, provider: str, key: str = "paid") -> Prompt:
        """Return a prompt of which the picture is wanted."""
        return paid_prompt(key=key, prompt=self._text, script=None, routes={"image": [MODELS[provider]]})

    async def stopped(
        self, studio: Studio, provider: str, *, when: Callable[[PurchaseRow], bool], times: int = 1
    ) -> PurchaseRow:
        """Buy the picture, cancel as often as said once ``when`` says so, and return its purchase."""
        making = asyncio.ensure_future(studio.make(self.prompt(provider), wanted=[Step.IMAGE]))
        await until(lambda: any(when(row) for row in studio.ledger.purchases.search()))
        await canceled(making, times=times)
        (row,) = studio.ledger.purchases.search()
        return row

    def stop(
        self,
        provider: str,
        *,
        when: Callable[[PurchaseRow], bool],
        faults: list[dict[str, Any]] | None = None,
        times: int = 1,
        **settings: Any,
    ) -> PurchaseRow:
        """Do so in a studio of its own, and hold that what is reserved is what may still be billed."""
        self.market.set_faults(*({"provider": provider, **fault} for fault in faults or ()))
        with self.market.studio(**{"cancel_grace_s": 30.0, **settings}) as studio:
            row = asyncio.run(self.stopped(studio, provider, when=when, times=times))
            assert reserved_of(studio.ledger) == (row.estimate_micro_usd if row.state.is_open else 0)
        self.market.set_faults()
        assert (row.owner == "") is row.state.is_open
        assert row.state.is_open or self.spent_usd() == self.billed_usd()
        return row

    def rerun(self, provider: str, *, options: MakeOptions | None = None) -> Film:
        """Make the picture in another run; the models need no time any more."""

        async def attempt(studio: Studio) -> Film:
            making = asyncio.ensure_future(studio.attempt(self.prompt(provider), wanted=[Step.IMAGE], options=options))
            while not making.done():
                self.pass_time()
                await asyncio.wait({making}, timeout=0.1)
            return making.result()

        with self.market.studio() as studio:
            film = asyncio.run(attempt(studio))
            assert reserved_of(studio.ledger) == 0
        assert self.spent_usd() == self.billed_usd()
        return film

    def pass_time(self) -> None:
        """Let everything that runs end."""
        url = f"{self.market.simulator.url}/_sim/clock"
        httpx.post(url, json={"advance_s": _LONG_S}, verify=False).raise_for_status()  # noqa: S501 - this machine

    def states(self) -> list[str]:
        """Return how the accepted submissions of this test stand at the provider."""
        return [one["state"] for one in self._accepted()]

    def cancels(self) -> int:
        """Return how often a provider was asked to cancel in this test."""
        return self._all_cancels() - self._cancels_before

    def billed_usd(self) -> Decimal:
        """Return what the simulator charges for this test."""
        ids = {one["id"] for one in self._accepted()}
        lines = self.market.ask("/_sim/bill")["lines"]
        return sum((Decimal(line["usd"]) for line in lines if line["id"] in ids), Decimal(0))

    def spent_usd(self) -> Decimal:
        """Return what the ledger says was spent."""
        query = "SELECT COALESCE(SUM(spent_micro_usd), 0) FROM budget WHERE scope LIKE 'day:%'"
        with self.market.studio() as studio, studio.ledger.database.read() as connection:
            return Decimal(connection.exec_driver_sql(query).scalar_one()) / 1_000_000

    def _accepted(self) -> list[dict[str, Any]]:
        return [one for one in self.market.accepted() if one["input"].get("prompt") == self._text]

    def _all_cancels(self) -> int:
        rows = self.market.ask("/_sim/requests")["requests"]
        return sum(row["count"] for row in rows if row["call"] == "cancel")


@pytest.fixture
def stage(server: Market, home: Path, request: pytest.FixtureRequest) -> Stage:
    return Stage(server, home, request.node.name)


async def canceled(making: "asyncio.Task[Any]", *, times: int = 1) -> None:
    """Cancel a task so often, and wait for its end."""
    for _ in range(times):
        assert not making.done()
        making.cancel()
        await asyncio.sleep(0.05)
    with contextlib.suppress(asyncio.CancelledError):
        await making
    assert making.cancelled()


def submitted(row: PurchaseRow) -> bool:
    return row.prediction_id is not None


def runs(row: PurchaseRow) -> bool:
    return row.remote_state in {"processing", "IN_PROGRESS"}


STUCK_IN_QUEUE = {"fault": "queue_stuck"}


@QUEUES
def test_what_is_queued_is_called_back_free_and_a_rerun_submits_it_once(stage: Stage, provider: str) -> None:
    """P8: Ctrl-C reaches the provider, and the next run is as if nothing had been asked."""
    row = stage.stop(provider, when=submitted, faults=[STUCK_IN_QUEUE])

    assert (row.state, row.cost_micro_usd) == (PurchaseState.CANCELED, 0)
    assert stage.billed_usd() == 0
    assert row.cancel_requested_at is not None
    assert row.error is not None
    assert "called back, free" in row.error["message"]
    assert stage.cancels() == 1
    film = stage.rerun(provider)
    assert film.error is None
    assert len(stage.states()) == 2
    assert stage.states()[1] == "succeeded"


@QUEUES
def test_what_runs_and_ends_in_time_is_kept(stage: Stage, provider: str) -> None:
    """It is paid for: to throw it away would be to pay for nothing."""

    async def run(studio: Studio) -> PurchaseRow:
        stopping = asyncio.ensure_future(stage.stopped(studio, provider, when=runs))
        await until(lambda: any(row.cancel_requested_at for row in studio.ledger.purchases.search()))
        stage.pass_time()
        return await stopping

    with stage.market.studio(cancel_grace_s=10.0) as studio:
        row = asyncio.run(run(studio))

    assert row.state is PurchaseState.SUCCEEDED
    assert row.artifact is not None
    asked = stage.market.requests()
    assert stage.rerun(provider).steps[Step.IMAGE].cached
    assert stage.market.requests() == asked
    assert (stage.states(), stage.cancels()) == (["succeeded"], 0)


@QUEUES
def test_what_runs_on_is_left_and_a_rerun_goes_on_with_it(stage: Stage, provider: str) -> None:
    """The next run wants it: nothing is submitted, and nothing is left that would have it called back."""
    row = stage.stop(provider, when=runs, cancel_grace_s=0.2)

    assert row.state is PurchaseState.SUBMITTED
    assert row.cancel_requested_at is not None
    assert stage.cancels() == 0
    film = stage.rerun(provider)
    assert film.error is None
    assert film.steps[Step.IMAGE].prediction_id == row.prediction_id
    assert stage.states() == ["succeeded"]
    with stage.market.studio() as studio:
        (after,) = studio.ledger.purchases.search()
    assert after.cancel_requested_at is None


def test_cancel_always_stops_what_runs_and_it_is_paid_as_the_provider_says(stage: Stage) -> None:
    """Replicate charges what it ran. Then it is bought again by a person's word alone."""
    row = stage.stop("replicate", when=runs, on_cancel=OnCancel.CANCEL_ALWAYS)

    assert (row.state, stage.states(), stage.cancels()) == (PurchaseState.FAILED_PAID, ["canceled"], 1)
    assert stage.billed_usd() > 0
    film = stage.rerun("replicate")
    assert isinstance(film.error, PredictionFailedError)
    assert stage.states() == ["canceled"]
    assert stage.rerun("replicate", options=MakeOptions(retry_failed=True)).error is None
    assert stage.states() == ["canceled", "succeeded"]


def test_cancel_always_does_not_ask_where_it_would_not_be_heeded(stage: Stage) -> None:
    """The documentation of fal says that what runs may complete all the same."""
    row = stage.stop("fal", when=runs, on_cancel=OnCancel.CANCEL_ALWAYS, cancel_grace_s=0.2)

    assert (row.state, stage.cancels()) == (PurchaseState.SUBMITTED, 0)


@QUEUES
def test_a_cancel_that_comes_too_late_brings_what_was_made(stage: Stage, provider: str) -> None:
    """A cancel that was sent is no cancel: what the provider reports in the end counts."""
    row = stage.stop(provider, when=submitted, faults=[STUCK_IN_QUEUE, {"fault": "cancel_race"}])

    assert row.state is PurchaseState.SUCCEEDED
    assert row.artifact is not None
    assert (stage.states(), stage.cancels()) == (["succeeded"], 1)


@QUEUES
def test_detach_sends_nothing_and_waits_for_nothing(stage: Stage, provider: str) -> None:
    """For who stops a run to start it elsewhere."""
    began = time.monotonic()
    row = stage.stop(provider, when=submitted, faults=[STUCK_IN_QUEUE], on_cancel=OnCancel.DETACH, cancel_grace_s=60.0)

    assert time.monotonic() - began < 30
    assert (row.state, row.cancel_requested_at, stage.cancels()) == (PurchaseState.SUBMITTED, None, 0)


def test_another_cancellation_does_not_skip_the_clean_up(stage: Stage) -> None:
    """Impatience must cost nothing: the answer to the cancel is heard to its end."""
    slow = {"fault": "reply_late", "call": "cancel", "seconds": 1.0}
    row = stage.stop("replicate", when=submitted, faults=[slow, STUCK_IN_QUEUE], times=3)

    assert row.state is PurchaseState.CANCELED
    assert stage.states() == ["canceled"]


@QUEUES
def test_a_submission_that_was_being_sent_is_called_back_once_it_is_known(stage: Stage, provider: str) -> None:
    """Its reply is heard to the end first: without the id nobody could call it back."""
    late = {"fault": "reply_late", "call": "submit", "seconds": 0.4}

    row = stage.stop(
        provider,
        when=lambda _row: bool(stage.states()),
        faults=[late],
        on_cancel=OnCancel.CANCEL_ALWAYS,
        cancel_grace_s=30.0 if provider == "replicate" else 0.2,
    )

    assert row.prediction_id is not None
    assert row.cancel_requested_at is not None
    assert row.state is (PurchaseState.FAILED_PAID if provider == "replicate" else PurchaseState.SUBMITTED)


def test_a_run_that_wants_what_an_earlier_one_had_canceled_submits_it_again(stage: Stage) -> None:
    """The earlier run died, or had no time left, before it heard what came of its cancel."""
    lost = {"fault": "exec_and_hang", "call": "cancel"}
    row = stage.stop("replicate", when=submitted, faults=[lost, STUCK_IN_QUEUE], cancel_grace_s=3.0)
    assert (row.state, stage.states()) == (PurchaseState.SUBMITTED, ["canceled"])

    film = stage.rerun("replicate")

    assert film.error is None
    assert stage.states() == ["canceled", "succeeded"]
    assert film.cost_usd == film.spent_usd == stage.billed_usd()


def stop_in_child(home: str, environment: dict[str, str], prompt: dict[str, Any]) -> None:
    """In a child: buy a picture, and be told to stop once its provider has it."""
    os.environ.update({**FAST, **environment})

    async def run(studio: Studio) -> None:
        making = asyncio.ensure_future(studio.make(Prompt.model_validate(prompt), wanted=[Step.IMAGE]))
        await until(lambda: any(map(submitted, studio.ledger.purchases.search())))
        await canceled(making)

    with open_studio(Path(home), load_settings().studio_options(), today=lambda: TODAY) as studio:
        asyncio.run(run(studio))


@pytest.mark.parametrize(
    ("point", "fault", "after", "in_the_end"),
    [
        ("cancel.before_send", "run_stuck", ["accepted"], []),
        ("cancel.after_send", "queue_stuck", ["canceled"], ["canceled", "succeeded"]),
    ],
)
def test_who_dies_at_the_cancel_has_said_so_before(
    stage: Stage, point: str, fault: str, after: list[str], in_the_end: list[str]
) -> None:
    """The request is on record before anything is sent, so that a janitor knows that nobody wants it."""
    stage.market.set_faults({"provider": "replicate", "fault": fault})
    environment = {**stage.market.simulator.environment(), "MEDIA_ASSETS_ON_CANCEL": "cancel_always"}
    prompt = stage.prompt("replicate").model_dump(mode="json")
    arguments = {"home": str(stage.market.home), "environment": environment, "prompt": prompt}
    child = Child(f"{__name__}:stop_in_child", arguments, {"MEDIA_ASSETS_CRASH_AT": point})

    ((killed,),) = run_children([[child]], at_once=1)

    assert killed.was_killed
    stage.market.set_faults()
    with stage.market.studio() as studio:
        (row,) = studio.ledger.purchases.search()
    assert (row.state, stage.states()) == (PurchaseState.SUBMITTED, after)
    assert row.cancel_requested_at is not None
    if in_the_end:
        assert stage.rerun("replicate").error is None
        assert stage.states() == in_the_end


async def _two(
    stage: Stage, first: Studio, second: Studio, stop: Callable[[list["asyncio.Task[Film]"]], Awaitable[None]]
) -> None:
    """Let two prompts want one picture; stop as said once the second waits for the first's."""
    makings = []
    for number, studio in enumerate((first, second)):
        prompt = stage.prompt("replicate", f"paid-{number}")
        makings.append(asyncio.ensure_future(studio.attempt(prompt, wanted=[Step.IMAGE])))
        await until(lambda: any(map(submitted, first.ledger.purchases.search())))
    query = "SELECT COUNT(*) FROM interest WHERE until IS NULL"

    def waits() -> bool:
        with first.ledger.database.read() as connection:
            return bool(connection.exec_driver_sql(query).scalar_one() == 2)

    await until(waits)
    await stop(makings)


def test_what_another_run_waits_for_is_handed_over_and_not_called_back(stage: Stage) -> None:
    """One person's Ctrl-C must not cost another one's picture its place in the queue."""

    async def stop(makings: list["asyncio.Task[Film]"]) -> None:
        await canceled(makings[0])
        while not makings[1].done():
            stage.pass_time()
            await asyncio.wait({makings[1]}, timeout=0.1)
        assert makings[1].result().error is None

    with stage.market.studio(on_cancel=OnCancel.CANCEL_ALWAYS) as first, stage.market.studio() as second:
        asyncio.run(_two(stage, first, second, stop))

    assert (stage.states(), stage.cancels()) == (["succeeded"], 0)
    assert stage.spent_usd() == stage.billed_usd()


def test_who_is_told_to_stop_together_calls_back_together(stage: Stage) -> None:
    """The last one to let go turns off the light, in one process or in two of one terminal."""
    stage.market.set_faults({"provider": "replicate", **STUCK_IN_QUEUE})

    async def stop(makings: list["asyncio.Task[Film]"]) -> None:
        await asyncio.gather(*map(canceled, makings))

    with stage.market.studio() as first, stage.market.studio() as second:
        asyncio.run(_two(stage, first, second, stop))

    assert (stage.states(), stage.cancels()) == (["canceled"], 1)
    assert stage.spent_usd() == 0
