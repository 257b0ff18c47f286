"""Lost submissions, found: sent over HTTP to the simulator, their replies dropped, and looked for in its lists."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import KeyRejectedError, ProviderUnavailableError, UnknownOutcomeError
from media_assets.prediction import Prediction, State
from media_assets.providers.listing import Listed, Listing
from media_assets.providers.transport import Transport, TransportOptions, open_transport
from media_assets.request import GenerationRequest
from media_assets.simulator.media import picture
from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.server import Simulator, running_simulator
from media_assets_tests.conformance.our_requests import PICTURE_PX, drafted, paid_models, requests_of
from media_assets_tests.simulated import settings_for

T = TypeVar("T")

LISTED = ("replicate", "fal", "elevenlabs")
ONE_OF_EACH = ("replicate:flux-schnell", "fal:flux-schnell", "elevenlabs:flash-v2.5")
MODELS = [spec.id for provider in LISTED for spec in paid_models(provider)]
RUN_S = 30.0
_TAKES = itertools.count()


class Times(TypedDict):
    """What a list is asked for."""

    since: datetime
    until: datetime


@dataclass
class Lost:
    """A simulator whose clock all but stands, and a transport to it; every test has hours of its own."""

    simulator: Simulator
    transport: Transport
    folder: Path
    _submitted_before: int = 0
    _began_s: float = 0.0

    def begin(self) -> None:
        """Leave what the test before did more than three hours behind."""
        self.faults()
        self.simulator.world.clock.advance(10_800)
        self._began_s = self.simulator.world.clock.now_s()
        self._submitted_before = len(self.simulator.world.submissions.all())

    def pass_time(self, seconds: float) -> None:
        self.simulator.world.clock.advance(seconds)

    def picture(self, seed: int = 0) -> tuple[Path, str]:
        """Return an input file as the store names it, and its digest."""
        digest = f"{seed:02x}" * 32
        path = self.folder / f"{digest}.png"
        path.write_bytes(picture(PICTURE_PX, "image/png", seed))
        return path, digest

    def faults(self, *rules: dict[str, Any]) -> None:
        self.simulator.world.faults.replace(rules)

    def lose(self, request: GenerationRequest, seed: int = 0) -> None:
        """Submit a request whose reply never comes."""
        asyncio.run(self._lose(request, seed))

    async def _lose(self, request: GenerationRequest, seed: int) -> None:
        spec = spec_of(request)
        files = {ref.role: self.picture(seed)[0] for ref in request.inputs}
        references = await self.transport.prepare(request, spec, files)
        self.faults({"fault": "exec_and_drop", "call": "submit"})
        with pytest.raises(UnknownOutcomeError):
            await self.transport.submit(
                request, spec, inputs=files, references=references, scratch=self.folder, tell=lambda _: None
            )
        self.faults()

    def submitted(self) -> list[str]:
        """Return the ids of everything that was accepted, oldest first."""
        return [one.id for one in self.simulator.world.submissions.all()[self._submitted_before :]]

    def times(self) -> Times:
        """Return the time of the test so far."""
        clock = self.simulator.world.clock
        return {"since": clock.utc(self._began_s), "until": clock.utc()}

    def listing(self, provider: str, endpoints: Sequence[str]) -> Listing:
        return self.run(lambda: self.transport.list_predictions(provider, endpoints=endpoints, **self.times()))

    def found(self, request: GenerationRequest) -> tuple[Listed, ...]:
        found = self.listing(request.provider, [request.endpoint])
        assert found.complete, found.unreadable
        return found.items

    @staticmethod
    def run(work: Callable[[], Awaitable[T]]) -> T:
        async def running() -> T:
            return await work()

        return asyncio.run(running())


def spec_of(request: GenerationRequest) -> ModelSpec:
    return load_catalog().get(request.model)


def request_for(model: str) -> GenerationRequest:
    """Return a request that no other test has made: with a seed of its own, where the model takes one."""
    spec, take = load_catalog().get(model), next(_TAKES)
    seed = {spec.roles["seed"]: take} if "seed" in spec.roles else {}
    request = drafted(spec).request
    return replace(request, params={**request.params, **seed}, take=take)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    # Speech is waited for by its client, so that it takes no time.
    latency_s = dict.fromkeys(LISTED[:2], (RUN_S, RUN_S)) | {"elevenlabs": (0.0, 0.0)}
    options = SimulatorOptions(time_scale=0.001, latency_s=latency_s, at_once=dict.fromkeys(LISTED[:2], 200))
    with running_simulator(options) as simulator:
        settings = settings_for(simulator)
        transport = open_transport(settings.endpoints(), replace(settings.transport_options(), list_budget_s=1.0))
        try:
            yield Lost(simulator, transport, tmp_path_factory.mktemp("lost"))
        finally:
            transport.close()


@pytest.fixture
def lost(shared: Lost) -> Lost:
    shared.begin()
    return shared


@pytest.mark.parametrize("model", MODELS)
def test_a_lost_submission_is_found_followed_and_fetched(lost: Lost, model: str) -> None:
    """One submission, one file: nothing was paid twice, and nothing that was paid for is lost."""
    request = request_for(model)
    adapter, (_, digest) = lost.transport.adapter(request.provider), lost.picture()
    digests = [digest] if request.inputs else []
    lost.lose(request)
    lost.pass_time(RUN_S + 1)

    (one,) = [listed for listed in lost.found(request) if adapter.is_of(request, listed, digests=digests)]
    assert adapter.lists(request)
    assert adapter.is_surely_of(request, one, digests=digests)
    assert [one.prediction.id] == lost.submitted()
    assert (one.ended, one.prediction.state) == (True, State.SUCCEEDED)
    assert one.created_at is not None

    spec = spec_of(request)
    ended = lost.run(lambda: follow(lost, one, spec))
    path = lost.run(lambda: lost.transport.fetch(ended, spec, lost.folder))

    assert (ended.id, ended.state) == (one.prediction.id, State.SUCCEEDED)
    assert path.stat().st_size > 1000
    assert len(lost.submitted()) == 1


async def follow(lost: Lost, one: Listed, spec: ModelSpec) -> Prediction:
    async def changed(_: Prediction) -> None:
        return None

    assert lost.transport.can_ask(spec.provider, one.to_follow())
    return await lost.transport.follow(one.to_follow(), spec, tell=lambda _: None, on_change=changed)


@pytest.mark.parametrize("model", MODELS)
def test_two_different_requests_never_match_each_other(lost: Lost, model: str) -> None:
    """Every parameter at its ends: what was sent for one is never taken for another."""
    spec = load_catalog().get(model)
    adapter = lost.transport.adapter(spec.provider)
    requests = list(requests_of(spec))
    for request in requests:
        lost.lose(request)
    lost.pass_time(RUN_S + 1)
    by_id = {one.prediction.id: one for one in lost.found(requests[0])}
    listed = [by_id[one] for one in lost.submitted()]

    surely = {
        (number, other)
        for (number, request), (other, one) in itertools.product(enumerate(requests), enumerate(listed))
        if adapter.is_surely_of(request, one)
    }
    can = {
        (number, other)
        for (number, request), (other, one) in itertools.product(enumerate(requests), enumerate(listed))
        if adapter.is_of(request, one)
    }

    hidden = {"apply_text_normalization"} if spec.provider == "elevenlabs" else set()
    same = {
        (one, other)
        for one, other in itertools.product(range(len(requests)), repeat=2)
        if shown(requests[one], hidden) == shown(requests[other], hidden)
    }
    assert len(listed) == len(requests) > 1
    assert surely == same
    # What the history shows of settings is no proof against an item: see ElevenLabsHistory.is_of.
    assert can == surely if spec.provider != "elevenlabs" else can >= surely


def shown(request: GenerationRequest, hidden: set[str]) -> dict[str, Any]:
    return {name: value for name, value in request.params.items() if name not in hidden}


@pytest.mark.parametrize("model", ["fal:wan-i2v", "fal:stable-video"])
def test_two_clips_of_two_pictures_are_told_apart_by_the_names_of_their_files(lost: Lost, model: str) -> None:
    request = request_for(model)
    adapter = lost.transport.adapter("fal")
    lost.lose(request, seed=1)
    lost.lose(request, seed=2)
    lost.pass_time(RUN_S + 1)

    for seed, own in zip((1, 2), lost.submitted(), strict=True):
        digests = [lost.picture(seed)[1]]
        matching = [one for one in lost.found(request) if adapter.is_of(request, one, digests=digests)]
        assert [one.prediction.id for one in matching] == [own]


@pytest.mark.parametrize("model", ONE_OF_EACH[:2])
def test_what_runs_is_listed_as_running(lost: Lost, model: str) -> None:
    """In the simulator; of fal nobody knows, so that nobody may rely on it."""
    request = request_for(model)
    lost.lose(request)

    (running,) = lost.found(request)
    assert (running.ended, running.prediction.state) == (False, State.RUNNING)
    lost.faults({"fault": "list_hides_running", "call": "list"})
    assert lost.found(request) == ()


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_a_list_that_lags_is_complete_and_proves_nothing_yet(lost: Lost, model: str) -> None:
    request = request_for(model)
    lost.lose(request)
    lost.pass_time(RUN_S + 1)
    lost.faults({"fault": "list_lag", "call": "list", "seconds": 60.0})
    early = lost.found(request)
    lost.pass_time(60)

    assert early == ()
    assert [one.prediction.id for one in lost.found(request)] == lost.submitted()


def test_an_hour_after_its_end_replicate_shows_no_input(lost: Lost) -> None:
    """It can still be ours, and nobody can say that it is: to be decided by a person."""
    request = request_for("replicate:flux-schnell")
    adapter = lost.transport.adapter("replicate")
    lost.lose(request)
    lost.pass_time(RUN_S + 3601)

    (one,) = lost.listing("replicate", []).items
    assert (one.input, one.prediction.outputs) == (None, ())
    assert adapter.is_of(request, one)
    assert not adapter.is_surely_of(request, one)


@pytest.mark.parametrize("model", ONE_OF_EACH)
@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "noexec_503", "times": 2},
        {"fault": "429_header", "times": 1, "seconds": 0.0},
        {"fault": "exec_and_drop", "times": 2},
        {"fault": "truncate", "times": 1},
        {"fault": "html", "times": 2},
        {"fault": "2xx_garbage", "times": 1},
    ],
    ids=lambda rule: str(rule["fault"]),
)
def test_a_list_that_is_not_answered_is_asked_for_again(lost: Lost, model: str, rule: dict[str, Any]) -> None:
    request = request_for(model)
    lost.lose(request)
    lost.pass_time(RUN_S + 1)
    lost.faults({**rule, "call": "list"})

    assert len(lost.found(request)) == 1


@pytest.mark.parametrize("model", ONE_OF_EACH)
@pytest.mark.parametrize("fault", ["2xx_garbage", "html"])
def test_a_list_that_cannot_be_read_proves_nothing(lost: Lost, model: str, fault: str) -> None:
    request = request_for(model)
    lost.faults({"fault": fault, "call": "list"})

    found = lost.listing(request.provider, [request.endpoint])

    assert (found.items, found.complete, len(found.unreadable)) == ((), False, 1)


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_a_list_that_is_never_answered_is_an_error(lost: Lost, model: str) -> None:
    request = request_for(model)
    lost.faults({"fault": "noexec_500", "call": "list"})

    with pytest.raises(ProviderUnavailableError):
        lost.listing(request.provider, [request.endpoint])


@pytest.mark.parametrize("provider", LISTED)
def test_a_key_that_may_not_list_says_nothing_of_buying(lost: Lost, provider: str) -> None:
    """A key of a narrow scope buys well and lists nothing: the provider stays open."""
    options = TransportOptions(keys={"replicate": "r8_invalid", "fal": "invalid:key", "elevenlabs": "invalid"})
    transport = open_transport(settings_for(lost.simulator).endpoints(), options)

    with pytest.raises(KeyRejectedError):
        lost.run(lambda: transport.list_predictions(provider, endpoints=["a/b"], **lost.times()))
    assert transport.refused_lately(provider) is None
    transport.close()


def test_openai_has_no_list(lost: Lost) -> None:
    assert not lost.listing("openai", ["images/generations"]).complete
    assert not lost.transport.adapter("openai").lists(request_for("openai:gpt-image-2"))


# Pages


def test_more_than_a_page_is_read_to_its_end(lost: Lost) -> None:
    """All of them lost, and each found once."""
    spec = load_catalog().get("fal:flux-schnell")
    requests = [request_for(spec.id) for _ in range(101)]
    adapter = lost.transport.adapter("fal")

    async def submit_all() -> None:
        lost.faults({"fault": "exec_and_500", "call": "submit"})
        for request in requests:
            with pytest.raises(UnknownOutcomeError):
                await lost.transport.submit(
                    request, spec, inputs={}, references={}, scratch=lost.folder, tell=lambda _: None
                )
        lost.faults()

    asyncio.run(submit_all())
    lost.pass_time(RUN_S + 1)
    found = lost.found(requests[0])

    assert sorted(one.prediction.id for one in found) == sorted(lost.submitted())
    assert [sum(adapter.is_of(request, one) for one in found) for request in requests] == [1] * len(requests)


# Bills


def test_the_providers_own_bill_is_read_by_prediction(lost: Lost) -> None:
    """What is compared with the ledger: USD of fal, characters of ElevenLabs, and of Replicate nothing."""
    for model in ONE_OF_EACH:
        lost.lose(request_for(model))
    lost.pass_time(RUN_S + 1)

    def bill_of(provider: str) -> Any:
        return lost.run(lambda: lost.transport.read_bill(provider, **lost.times()))

    replicate, fal, elevenlabs = (bill_of(provider) for provider in LISTED)
    ids = lost.submitted()
    assert (replicate.items, replicate.complete) == ((), False)
    assert (fal.complete, [line.prediction_id for line in fal.items]) == (True, [ids[1]])
    assert fal.items[0].usd == Decimal("0.003")
    assert (elevenlabs.complete, [line.prediction_id for line in elevenlabs.items]) == (True, [ids[2]])
    assert (elevenlabs.items[0].usd, elevenlabs.items[0].unit) == (None, "character")
    assert elevenlabs.items[0].units > 0
