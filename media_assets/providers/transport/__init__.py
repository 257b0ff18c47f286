"""The only sender: runs the call an adapter made, waits for what comes of it, and brings it to this machine.

One HTTP exchange is in ``wire.py``, where a URL may lead in ``addresses.py``, waiting in ``follow.py``, downloads in
``download.py``. What a purchase does with all this is in ``purchase.py``.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from media_assets.catalog import ModelSpec
from media_assets.errors import (
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    UnexpectedResponseError,
)
from media_assets.ledger.admission import Limits
from media_assets.prediction import Prediction
from media_assets.providers.base import MOST_REPLY_BYTES, Adapter, Asked, Deadlines, HttpCall, HttpReply, LocalCall
from media_assets.providers.endpoints import Endpoints
from media_assets.providers.keys import key_problem
from media_assets.providers.listing import Bill, Listing
from media_assets.providers.outputs import OutputsIn, outputs_of
from media_assets.providers.registry import build_adapters
from media_assets.providers.transport.addresses import check_base_url, same_origin
from media_assets.providers.transport.asking import UnreadableError, ask_until_answered
from media_assets.providers.transport.breaker import Breaker
from media_assets.providers.transport.fetching import Fetching, write_output
from media_assets.providers.transport.follow import Following, consent
from media_assets.providers.transport.inputs import as_reference
from media_assets.providers.transport.lists import Ask, again, read_bill, read_list
from media_assets.providers.transport.local_call import run_local_call
from media_assets.providers.transport.options import TransportOptions
from media_assets.providers.transport.places import Places
from media_assets.providers.transport.replies import read_refused, read_submit_reply, too_large, unanswered, unknown
from media_assets.providers.transport.spool import Spool
from media_assets.providers.transport.wire import (
    ExchangeLimits,
    NotSentError,
    ReplyLostError,
    ReplyTooLargeError,
    exchange,
)
from media_assets.recall import Recall
from media_assets.request import GenerationRequest
from media_assets.threads import in_thread

__all__ = ["Transport", "TransportOptions", "open_transport"]

_READ_DEADLINE_S = 30.0
"""For one poll, upload step or cancel; such calls are sent again."""


class Transport:
    """Sends, within limits on concurrency that all chains of an event loop share."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter] | None = None,
        options: TransportOptions = TransportOptions(),  # noqa: B008
        spool: Spool | None = None,
    ) -> None:
        self.options = options
        self.spool = spool
        """Where replies to submissions are kept until what they hold is; None keeps none."""
        self._adapters = build_adapters() if adapters is None else adapters
        # Local models keep a core busy each: more at once only makes all of them late.
        self._local_concurrency = options.local_concurrency or os.cpu_count() or 1
        # Threads of their own, so that long work never keeps a ledger's short writes waiting for one.
        self._threads = ThreadPoolExecutor(self._local_concurrency, thread_name_prefix="local-model")
        self._places = Places()
        self._breaker = Breaker(options.breaker_s, options.outage_s)

    def close(self) -> None:
        """End the threads of local models; nothing may be running any more."""
        self._threads.shutdown()

    def adapter(self, provider: str) -> Adapter:
        """Return a provider's adapter."""
        return self._adapters[provider]

    def key_problem(self, provider: str) -> str | None:
        """Return why ``provider`` cannot be asked with the key there is, if so: it is missing, or unusable."""
        adapter = self.adapter(provider)
        return None if adapter.key_env is None else key_problem(adapter.key_env, self._key(adapter))

    def limits(self, provider: str) -> Limits:
        """Return how much a provider takes at once."""
        return self.options.limits.get(provider, Limits())

    @contextlib.asynccontextmanager
    async def place(self, provider: str) -> AsyncIterator[None]:
        """Hold a place at a provider, in the order of asking."""
        size = self._local_concurrency if self._is_local(provider) else self.limits(provider).concurrency
        async with self._places.take(provider, size):
            yield

    def _is_local(self, provider: str) -> bool:
        return not self.adapter(provider).base_urls

    def refused_lately(self, provider: str) -> PurchaseError | None:
        """Return why a provider is not to be asked now: an empty account, a refused key, or silence a moment ago."""
        return self._breaker.refused_lately(provider)

    def can_ask(self, provider: str, prediction: Prediction) -> bool:
        """Whether a provider can be asked how a prediction stands; if not, its submit's reply was all there is."""
        return self.adapter(provider).status_call(prediction) is not None

    async def prepare(self, request: GenerationRequest, spec: ModelSpec, inputs: Mapping[str, Path]) -> dict[str, str]:
        """Bring a request's input files to its provider. Free.

        Returns:
            The reference of each, by the model's own parameter name.
        """
        adapter = self.adapter(request.provider)
        if self._is_local(request.provider):
            return {}

        async def send(call: HttpCall) -> HttpReply:
            reply = await ask_until_answered(
                lambda: self._send(adapter, call, Asked.UPLOAD, None, spec),
                budget_s=spec.poll_error_budget_s,
                first_wait_s=self.options.backoff_first_s,
            )
            if not reply.is_success:
                refusal = adapter.parse_error(reply, Asked.UPLOAD)
                refusal.http_status = reply.status
                self._breaker.came(adapter.name, request.key, refusal)
                raise refusal
            return reply

        return {spec.roles[role]: await as_reference(adapter, path, send) for role, path in inputs.items()}

    async def submit(
        self,
        request: GenerationRequest,
        spec: ModelSpec,
        *,
        inputs: Mapping[str, Path],
        references: Mapping[str, str],
        scratch: Path,
        tell: Callable[[float], None],
        token: str = "",
        before_sending: Callable[[], None] | None = None,
    ) -> Prediction:
        """Send the call that spends, once. **Costs money** for every provider but ``local``.

        Args:
            request: What to ask for.
            spec: Its model.
            inputs: The files it builds on, by role, for a local model.
            references: What :meth:`prepare` returned.
            scratch: A folder of this purchase alone.
            tell: Called with the fraction done, from any thread.
            token: The attempt's; the reply is spooled under it before it is read.
            before_sending: Called right before the first byte leaves this machine; if it raises, nothing has left.
                Called again before the body.

        Raises:
            ProviderUnavailableError: Provably not sent.
            RateLimitedError: Refused for now.
            RequestRejectedError: Refused for good.
            UnknownOutcomeError: Sent, and what came of it is not known.
            OutputLostError: Sent and paid for, and its output is larger than is taken.
            UnexpectedResponseError: Accepted or not, the answer could not be read.
        """
        adapter = self.adapter(request.provider)
        call = adapter.submit_call(request, inputs=references, deadlines=Deadlines.of(spec))
        if isinstance(call, LocalCall):
            made = await run_local_call(
                call, self._threads, inputs=inputs, scratch=scratch, deadline_s=spec.run_deadline_s, tell=tell
            )
            return adapter.parse(made, Asked.SUBMIT)
        limits = _may_hold_output(spec, deadline_s=self.post_deadline_s(spec))
        try:
            reply = await self._posted(adapter, call, limits, before_sending, token)
            prediction = read_submit_reply(adapter, reply, request)
        except PurchaseError as error:
            self._breaker.came(adapter.name, request.key, error)
            raise
        self._breaker.came(adapter.name, request.key, None)
        return prediction

    def post_deadline_s(self, spec: ModelSpec) -> float:
        """Return the seconds that the reply to a submission may take."""
        if self.adapter(spec.provider).answers_once:
            return spec.post_deadline_s  # the reply takes as long as the work
        return min(spec.post_deadline_s, self.options.post_deadline_s)

    async def _posted(
        self, adapter: Adapter, call: HttpCall, limits: ExchangeLimits, before: Callable[[], None] | None, token: str
    ) -> HttpReply:
        try:
            # No name for the headers: some reporters of errors show the variables of every frame, and a key is in them.
            reply = await exchange(
                call, headers=self._headers(adapter, call), limits=limits, before_sending=before, is_submit=True
            )
        except NotSentError as error:
            message = f"{adapter.name} could not be reached: {error}. Nothing was sent."
            raise ProviderUnavailableError(message, provider=adapter.name) from error
        except ReplyLostError as error:
            if isinstance(error, ReplyTooLargeError) and error.is_success and adapter.answers_once:
                raise too_large(adapter, error, None) from error
            raise unknown(adapter, str(error)) from error
        if self.spool is not None and token:
            await in_thread(self.spool.write, token, reply)
        return reply

    def read_spooled(self, request: GenerationRequest, token: str) -> Prediction | None:
        """Return what a spooled reply to a submission says; None where there is none. Blocking, and free.

        Raises:
            PurchaseError: As :meth:`submit`, of which this is the second half.
        """
        reply = self.spool.read(token) if self.spool else None
        return read_submit_reply(self.adapter(request.provider), reply, request) if reply else None

    async def follow(
        self,
        prediction: Prediction,
        spec: ModelSpec,
        *,
        tell: Callable[[float], None],
        on_change: Callable[[Prediction], Awaitable[None]],
        recall: Recall | None = None,
        before_cancel: Callable[[], Awaitable[bool]] = consent,
    ) -> Prediction:
        """Wait for a prediction and return it final. Free; see :class:`Following` and its ``to_the_end``."""
        following = self._following(spec)
        following.tell, following.on_change = tell, on_change
        following.recall, following.before_cancel = recall or Recall(), before_cancel
        return await following.to_the_end(prediction)

    async def ask_once(self, prediction: Prediction, spec: ModelSpec) -> Prediction:
        """Return how a prediction that has ended stands, outputs included. Free; see :meth:`Following.once_more`."""
        return await self._following(spec).once_more(prediction)

    def _following(self, spec: ModelSpec) -> Following:
        adapter = self.adapter(spec.provider)

        async def ask(call: HttpCall, asked: Asked, known: Prediction) -> Prediction | HttpReply:
            return await ask_until_answered(
                lambda: self._ask(adapter, call, asked, known, spec),
                budget_s=spec.poll_error_budget_s,
                first_wait_s=self.options.backoff_first_s,
            )

        return Following(adapter=adapter, spec=spec, options=self.options, ask=ask)

    async def list_predictions(
        self, provider: str, *, endpoints: Sequence[str], since: datetime, until: datetime
    ) -> Listing:
        """Return what a provider's list shows of what was submitted in a time; see :func:`read_list`. Free."""
        adapter = self.adapter(provider)
        return await read_list(adapter, self._asking(adapter), endpoints=endpoints, since=since, until=until)

    async def read_bill(
        self, provider: str, *, since: datetime, until: datetime, endpoints: Sequence[str] = ()
    ) -> Bill:
        """Return what a provider says it charged in a time; see :func:`read_bill`. Free."""
        adapter = self.adapter(provider)
        return await read_bill(adapter, self._asking(adapter), endpoints=endpoints, since=since, until=until)

    def _asking(self, adapter: Adapter) -> Ask:
        return again(
            adapter,
            lambda call, asked: self._send(adapter, call, asked, None, None),
            budget_s=self.options.list_budget_s,
            first_wait_s=self.options.backoff_first_s,
        )

    async def fetch(self, prediction: Prediction, spec: ModelSpec, scratch: Path, *, n: int = 0) -> Path:
        """Return a local file with the prediction's first output, or the ``n``-th after it. Free.

        An address that is refused, or leads to words in the place of a file (a page, an error, nothing), is tried a few
        times, and then the prediction is asked once for a fresh one.

        Raises:
            OutputLostError: The provider does not have it any more.
            UnexpectedResponseError: There is no output, or it lies where this provider's outputs never do, or words lie
                in its place; a rerun tries again.
            ProviderUnavailableError: It cannot be had just now; a rerun tries again.
        """
        if n >= len(prediction.outputs):
            message = f"prediction {prediction.id} succeeded without an output"
            raise UnexpectedResponseError(message, provider=spec.provider, prediction_id=prediction.id)
        output = prediction.outputs[n]
        if output.path is not None:
            return output.path
        target = scratch / "output"
        if output.url is None:
            await in_thread(write_output, target, output.data or b"")
            return target
        adapter = self.adapter(spec.provider)
        fetching = Fetching(
            adapter=adapter,
            spec=spec,
            target=target,
            credentials=adapter.auth_headers(self._key(adapter)) if adapter.sends_key_with_downloads else {},
            ask=self._following(spec).once_more if self.can_ask(spec.provider, prediction) else None,
            n=n,
            first_wait_s=self.options.backoff_first_s,
        )
        return await fetching.fetch(prediction, output.url)

    def _key(self, adapter: Adapter) -> str:
        return self.options.keys.get(adapter.name, "")

    def _headers(self, adapter: Adapter, call: HttpCall) -> dict[str, str]:
        """Return the headers that carry the key, for the provider's own address and no other."""
        if not call.with_key:
            return {}
        if not any(same_origin(call.url, base) for base in adapter.base_urls):
            message = f"{adapter.name} names an address that is not its own; the key is not sent there."
            raise UnexpectedResponseError(message, provider=adapter.name)
        return dict(adapter.auth_headers(self._key(adapter)))

    async def _ask(
        self, adapter: Adapter, call: HttpCall, asked: Asked, known: Prediction, spec: ModelSpec
    ) -> Prediction | HttpReply:
        """Ask about a prediction, once, and return what the answer says of it, or a refusal.

        A 2xx without a JSON object is raised, to be asked for again: it is of something that stands in between. With
        one it is the provider's own, and stays what it is.
        """
        reply = await self._send(adapter, call, asked, known, spec)
        if not reply.is_success or asked is Asked.CANCEL:
            return reply
        try:
            return adapter.parse(reply, asked, known)
        except UnexpectedResponseError as error:
            if isinstance(reply.json(), dict):
                raise
            raise UnreadableError(error) from error

    async def _send(
        self, adapter: Adapter, call: HttpCall, asked: Asked, known: Prediction | None, spec: ModelSpec | None
    ) -> HttpReply:
        """Send a call that costs nothing, once; an answer that is not final is raised, to be asked for again."""
        is_result = asked is Asked.RESULT
        limits = ExchangeLimits(deadline_s=_READ_DEADLINE_S)
        if is_result and spec is not None:
            limits = _may_hold_output(spec, deadline_s=_READ_DEADLINE_S)
        try:
            reply = await exchange(call, headers=self._headers(adapter, call), limits=limits)
        except (NotSentError, ReplyLostError) as error:
            if isinstance(error, ReplyTooLargeError) and error.is_success and is_result:
                raise too_large(adapter, error, known) from error
            raise unanswered(adapter, error, known) from error
        if reply.is_success:
            return reply
        refusal = read_refused(adapter, reply, asked, known)
        if isinstance(refusal, RateLimitedError | ProviderUnavailableError):
            raise refusal
        return reply


def open_transport(
    endpoints: Endpoints, options: TransportOptions, spool: Spool | None = None, outputs_in: OutputsIn = outputs_of
) -> Transport:
    """Return a transport to the providers at ``endpoints``, whose replies are read by ``outputs_in``.

    Raises:
        ConfigurationError: An address is neither https nor on this machine; the setting is named.
    """
    for field in fields(endpoints):
        check_base_url(f"MEDIA_ASSETS_{field.name.upper()}", getattr(endpoints, field.name))
    return Transport(build_adapters(endpoints, outputs_in), options, spool)


def _may_hold_output(spec: ModelSpec, *, deadline_s: float) -> ExchangeLimits:
    """Return the limits of a call whose reply may be a download of its own."""
    return ExchangeLimits(deadline_s=deadline_s, body_s=spec.download_deadline_s, max_bytes=MOST_REPLY_BYTES)
