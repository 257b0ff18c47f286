"""A shop whose provider is a small HTTP service of the tests' own, which answers whatever a test wants.

The simulator is as faithful as it can be; this is for what a faithful simulator would not do.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from media_assets.catalog import ModelSpec, Recovery
from media_assets.errors import (
    Billed,
    InsufficientCreditError,
    KeyRejectedError,
    OutputLostError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.ownership import OwnershipOptions
from media_assets.ledger.rows import PurchaseRow
from media_assets.orders import Order, Purchased
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Adapter, Asked, Deadlines, HttpCall, HttpReply
from media_assets.providers.transport import Transport, TransportOptions
from media_assets.providers.transport.options import DEFAULT_LIMITS
from media_assets.purchase import Purchasing
from media_assets.request import GenerationRequest
from media_assets.simulator.media import speech
from media_assets_tests.making import SHOP_PRICE_USD, SHOP_REQUEST, SILENCE_IS_GOOD, TODAY, Shop, own_model
from media_assets_tests.providers.transport.raw_server import Connection, RawServer, Received

Answer = tuple[int, Mapping[str, Any] | bytes]
"""Status, and what is in the body."""

SOUND = speech("Hello there.", 1.0, "wav")
PRICE_USD = Decimal(SHOP_PRICE_USD)
KEY = "CANARY-key-7f31"
SIGNATURE = "CANARY-signature-90aa"

_KINDS: Mapping[int, type[PurchaseError]] = {
    401: KeyRejectedError,
    402: InsufficientCreditError,
    410: OutputLostError,
    429: RateLimitedError,
    500: ProviderUnavailableError,
    503: ProviderUnavailableError,
}


@dataclass
class WebAdapter(Adapter):
    """The translations for the service: ``{"id", "state", "error", "billed", "at"}``; the sound is at ``/sound/ID``."""

    name: ClassVar[str] = "testing"
    base: str = ""
    answers_once: bool = False
    """Whether the reply to a submit is all there is."""
    result_apart: bool = False
    """Whether the output is in an answer of its own."""

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self.base,)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        return HttpCall(method="POST", url=f"{self.base}/submit", json_body={**request.params, **inputs})

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        return None if self.answers_once else HttpCall(method="GET", url=f"{self.base}/status/{prediction.id}")

    def result_call(self, prediction: Prediction) -> HttpCall | None:
        return HttpCall(method="GET", url=f"{self.base}/result/{prediction.id}") if self.result_apart else None

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        return HttpCall(method="POST", url=f"{self.base}/cancel/{prediction.id}")

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        told = reply.json()
        if not isinstance(told, dict) or "id" not in told:
            known = prediction.id if prediction else None
            message = "testing answered in a form nobody knows"
            raise UnexpectedResponseError(message, provider=self.name, prediction_id=known)
        words = {state.value: state for state in State}
        state = words.get(told["state"], State.UNKNOWN)
        has_output = (
            state is State.SUCCEEDED and told.get("output", True) and (asked is Asked.RESULT or not self.result_apart)
        )
        output = Output(url=f"{self.base}/sound/{told.get('at', told['id'])}?signature={SIGNATURE}")
        failure = None
        if "error" in told:
            failure = PredictionFailedError(told["error"], provider=self.name, billed=Billed(told.get("billed", "no")))
        return Prediction(
            id=told["id"],
            state=state,
            remote_state=told["state"],
            outputs=(output,) if has_output else (),
            failure=failure,
            progress=told.get("progress"),
        )

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        kind = _KINDS.get(reply.status, RequestRejectedError)
        error = kind(f"testing answered {reply.status} to {asked}", provider=self.name)
        if prediction is not None and kind is not OutputLostError and reply.status != 422:
            error.rerun, error.billed, error.prediction_id = Rerun.RESUME, Billed.UNKNOWN, prediction.id
        if isinstance(error, ProviderUnavailableError) and b"unless it lasts" in reply.body:
            kind = PredictionFailedError if b"failed" in reply.body else UnknownOutcomeError
            error.if_it_lasts = kind("testing said so again and again", prediction_id=error.prediction_id)
        return error


def at_once(_nth: int, name: str) -> Answer:
    """Answer that it is done."""
    return 200, {"id": name, "state": "succeeded"}


def after(seconds: float, answer: Callable[[int, str], Answer]) -> Callable[[int, str], Answer]:
    """Answer late."""

    def late(nth: int, name: str) -> Answer:
        time.sleep(seconds)
        return answer(nth, name)

    return late


@dataclass
class Service:
    """The provider. Each answer is given the how-manieth call of its kind it is, from 0, and the prediction's id."""

    submit: Callable[[int, str], Answer] = lambda _nth, name: (201, {"id": name, "state": "queued"})
    status: Callable[[int, str], Answer] = at_once
    result: Callable[[int, str], Answer] = at_once
    cancel: Callable[[int, str], Answer] = lambda _nth, name: (200, {"id": name, "state": "queued"})
    sound: Callable[[int, str], Answer] = lambda _nth, _name: (200, SOUND)
    asked: Counter[str] = field(default_factory=Counter)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, connection: Connection) -> None:
        """Serve one connection."""
        request = connection.read_request()
        kind, name = _kind_of(request)
        with self._guard:
            nth = self.asked[kind]
            self.asked[kind] += 1
        status, body = getattr(self, kind)(nth, name or f"p-{nth}")
        content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
        connection.reply(content, status=f"{status} Whatever")

    @property
    def submits(self) -> int:
        """How many submissions were sent."""
        return self.asked["submit"]


def _kind_of(request: Received) -> tuple[str, str]:
    _, kind, *rest = request.path.partition("?")[0].split("/")
    return kind, rest[0] if rest else ""


FAST = TransportOptions(
    keys={"testing": KEY},
    poll_first_s=0.005,
    poll_longest_s=0.02,
    backoff_first_s=0.005,
    deadline_grace_s=0.1,
    not_found_grace_s=0.1,
    cancel_grace_s=0.3,
)
"""Waits as short as the options allow; nothing is skipped."""


@dataclass
class WebShop:
    """A ledger, a store, and the service as provider."""

    shop: Shop
    service: Service
    adapter: WebAdapter
    transport: Transport
    spec: ModelSpec

    @property
    def ledger(self) -> Ledger:
        """The ledger of this process."""
        return self.shop.ledger

    async def buying(self, *, take: int = 0, estimate_usd: str = SHOP_PRICE_USD, **more: Any) -> Purchased:
        """Buy one second of sound for half a dollar."""
        order = Order(
            request=replace(SHOP_REQUEST, take=take),
            spec=more.pop("spec", self.spec),
            prompt_key="cheap",
            plan_id=self.shop.plan(estimate_usd),
            estimate_usd=Decimal(estimate_usd),
            inputs={},
            question=SILENCE_IS_GOOD,
            today=TODAY,
            **more,
        )
        try:
            return await Purchasing(self.ledger, self.shop.store, self.transport).buy(order)
        finally:
            self.ledger.prompts.close_plan(order.plan_id)

    def buy(self, **how: Any) -> Purchased:
        """Buy and wait for it."""
        return asyncio.run(self.buying(**how))

    def row(self, take: int = 0) -> PurchaseRow:
        """Return a purchase."""
        row = self.ledger.purchases.get(replace(SHOP_REQUEST, take=take).key)
        assert row is not None
        return row

    def outcomes(self, take: int = 0) -> list[str]:
        """Return what each attempt of a purchase came to."""
        return [one["outcome"] for one in self.ledger.purchases.attempts(replace(SHOP_REQUEST, take=take).key)]


@contextlib.contextmanager
def open_web_shop(
    home: Path,
    service: Service | None = None,
    *,
    options: TransportOptions = FAST,
    adapter: WebAdapter | None = None,
    ledger_url: str | None = None,
    ownership: OwnershipOptions = OwnershipOptions(),  # noqa: B008 - frozen
    **spec: Any,
) -> Iterator[WebShop]:
    """Start a service, and open a home to buy for."""
    service, adapter = service or Service(), adapter or WebAdapter()
    recovery = Recovery.NONE if adapter.answers_once else Recovery.LISTED
    model = own_model("silence", recovery=recovery, usd=SHOP_PRICE_USD, poll_error_budget_s=0.2, **spec)
    with RawServer(service) as server, open_ledger(home, ledger_url, ownership) as ledger:
        adapter.base = server.url
        with contextlib.closing(Transport({"testing": adapter}, options)) as transport:
            yield WebShop(Shop(home, ledger), service, adapter, transport, model)


@contextlib.contextmanager
def open_queue_shop(home: Path) -> Iterator[WebShop]:
    """Open a shop whose provider has a queue and limits, and answers each second question with the end.

    It buys under the caps that hold without configuration, on a prompt and on a day, as wide as they need to be.
    """

    def status(nth: int, name: str) -> Answer:
        return 200, {"id": name, "state": ("running", "succeeded")[nth % 2]}

    options = replace(FAST, limits={"testing": DEFAULT_LIMITS["replicate"]})
    with open_web_shop(home, Service(status=status), options=options) as shop:
        shop.shop.caps = [Cap(scope, 10**12, "cap") for scope in ("prompt:cheap", f"day:{TODAY}")]
        yield shop


KINDS = ("polled", "answers once")
"""The two ways in which a provider can answer a submission."""


@contextlib.contextmanager
def open_kind(kind: str, home: Path) -> Iterator[WebShop]:
    """Open a shop whose provider answers in one of ``KINDS``."""
    once = kind == "answers once"
    service = Service(submit=at_once) if once else Service()
    with open_web_shop(home, service, adapter=WebAdapter(answers_once=once)) as shop:
        yield shop
