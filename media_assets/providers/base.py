"""What a provider adapter is: a translator, and nothing else.

An adapter turns our request into a call and a reply into a ``Prediction``. It does no I/O, reads no clock and no
environment, so its tests are tables of values. Sending, retrying, polling and downloading live once, in
``providers/transport/``. What a provider does not offer, its adapter answers with None.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from media_assets.catalog import ModelSpec
from media_assets.errors import PurchaseError, UnexpectedResponseError
from media_assets.media.work import Work
from media_assets.prediction import Prediction, State
from media_assets.prompt import Scalar
from media_assets.providers.listing import BillPage, Listed, ListedPage
from media_assets.providers.matching import files_agree, has_no_more_than, is_same
from media_assets.providers.params import nested
from media_assets.request import GenerationRequest

MOST_REPLY_BYTES = 512_000_000
"""The largest reply that is taken to a call whose answer may hold what is paid for.

Ten pictures of 3840 x 2160 in base64 are at most 332 MB and eleven minutes of stereo in hex 235 MB, the largest that
the catalog's models can be asked for (2026-11-30). It is read in memory, and takes three times as much there (measured
on 2026-11-30 with 330 MB of pictures: 1.0 GB).
"""


class Asked(StrEnum):
    """What a call was for: the same status code means different things."""

    SUBMIT = "submit"
    STATUS = "status"
    RESULT = "result"
    CANCEL = "cancel"
    UPLOAD = "upload"
    LIST = "list"
    BILL = "bill"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a multipart body."""

    name: str
    content: bytes
    content_type: str
    filename: str | None = None


@dataclass(frozen=True, kw_only=True)
class HttpCall:
    """One HTTP request, without credentials: the transport adds those as it sends."""

    method: str
    url: str
    """Absolute. The key is sent only where its scheme, host and port are those of the adapter's own base URLs."""
    json_body: Mapping[str, Any] | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)
    """A raw body, with its type in ``headers``."""
    parts: tuple[Part, ...] = field(default=(), repr=False)
    """A multipart body; at most one of the three is set."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    with_key: bool = True
    """False for a call that carries its own credentials, such as an upload by token."""


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """One HTTP reply, read to its end."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the parsed body, or None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - what HTTP calls success


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a provider is asked to keep at it, as far as it can be asked."""

    queue_s: float
    """Seconds after which work that has not begun need not be begun any more."""
    run_s: float
    """Seconds after which work that runs is to be given up."""

    @classmethod
    def of(cls, spec: ModelSpec) -> "Deadlines":
        """Return the deadlines of a model."""
        return cls(queue_s=spec.queue_deadline_s, run_s=spec.run_deadline_s)


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file that a request builds on, as it is sent to a provider."""

    content: bytes
    mime: str
    filename: str
    """Made by us: digest and extension."""


@dataclass(frozen=True, kw_only=True)
class LocalReply:
    """What a local model answers: the file it wrote, and what the user should know of it."""

    path: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LocalArguments:
    """What a local model is called with."""

    params: Mapping[str, Scalar]
    inputs: Mapping[str, Path]
    """Artifacts to read, by role; never written."""
    target: Path
    """Where to write, without an extension that means anything."""
    deadline_s: float
    work: Work


@dataclass(frozen=True, kw_only=True)
class LocalCall:
    """One call of a local model. It blocks, so the transport runs it in a thread."""

    function: Callable[[LocalArguments], LocalReply]
    params: Mapping[str, Scalar]


class Adapter(ABC):
    """The translations for one provider."""

    name: ClassVar[str]
    key_env: ClassVar[str | None] = None
    """The environment variable that holds the key; None when none is needed."""
    output_hosts: ClassVar[tuple[str, ...]] = ()
    """Where outputs may be downloaded from: ``host``, or ``*.host`` for its subdomains."""
    sends_key_with_downloads: ClassVar[bool] = False
    """Whether a download from an allowed host carries the key."""
    outputs_kept_s: ClassVar[float | None] = None
    """Seconds an output can be had after it was made, by the provider's word; None: it comes with the reply alone."""
    data_uri_max_bytes: ClassVar[int] = 0
    """Inputs up to this size are sent inside the request; larger ones are uploaded first."""

    lists_running: ClassVar[bool] = False
    """Whether its list is known to show a prediction from its submission on; if not, perhaps only once it has ended."""
    list_lag_s: ClassVar[float | None] = None
    """Seconds after which what is to be listed is taken to be listed: from the submission on where ``lists_running``,
    else from the end of the run. No provider promises one (2026-11-22). None: it keeps no list."""
    list_window_s: ClassVar[float | None] = None
    """Seconds after a submission in which its input is still listed, so that it can be matched; None: no end known."""
    list_endpoints_max: ClassVar[int | None] = None
    """How many endpoints one list call can name; it must name one then. None: the list is of the whole account."""

    bills_money: ClassVar[bool] = False
    """Whether its bill tells USD for each prediction."""

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Where this provider is asked; a key goes nowhere else."""
        return ()

    @property
    def download_hosts(self) -> tuple[str, ...]:
        """Where outputs may be downloaded from: ``output_hosts``, unless they lie where the provider is asked."""
        return self.output_hosts

    @property
    def answers_once(self) -> bool:
        """Whether the reply to a submit is all there is: it holds the output, and nothing can be asked after it."""
        return False

    def named_in(self, headers: Mapping[str, str]) -> str | None:
        """Return the provider's own name of a reply, of its headers alone; None where they have none."""
        del headers
        return None

    @abstractmethod
    def submit_call(
        self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines
    ) -> HttpCall | LocalCall:
        """Return the call that starts the work. **Costs money**: sending it is the purchase.

        Args:
            request: What to ask for. A parameter named ``a.b`` is the field ``b`` of the object ``a``.
            inputs: URL or ``data:`` URI of each input file, by the model's own parameter name.
            deadlines: When the provider is asked to give up, where it can be asked.
        """

    @abstractmethod
    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        """Read a reply (for HTTP: a 2xx) to a submit, status, result or cancel call.

        Args:
            reply: An ``HttpReply``, or what a local model returned.
            asked: What the call was for.
            prediction: What was known before; None for a submit.

        Returns:
            The prediction as it stands now. A failed one carries its ``failure``.

        Raises:
            UnexpectedResponseError: A field is missing or has another type; the prediction id is kept.
        """

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        """Read a reply that is not a 2xx.

        A ``ProviderUnavailableError`` or ``RateLimitedError`` says that the same GET may be sent again; the former's
        ``if_it_lasts`` is the word on the prediction that the answer turns out to be when it stays the same.

        What a status code means for a submit's outcome is decided by the transport: 408, 409 and 5xx are never taken
        as unsent.
        """
        del asked
        known = prediction.id if prediction else None
        message = f"{self.name} answered with status {reply.status}"
        return UnexpectedResponseError(message, provider=self.name, prediction_id=known)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        del api_key
        return {}

    def where_to_ask(self, prediction: Prediction, request: GenerationRequest) -> Prediction:
        """Return a prediction with the places to ask on that a submit's reply left out, as far as they follow from it.

        Args:
            prediction: As the reply to the submit tells of it, or its id alone where the rest could not be read.
            request: What was submitted.
        """
        del request
        return prediction

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the call that asks how a prediction stands; None where a submit's reply is all there is."""
        del prediction
        return None

    def result_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the call that gets the output, where it is not in the status."""
        del prediction
        return None

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the call that asks to cancel."""
        del prediction
        return None

    def upload(self, file: InputFile) -> Generator[HttpCall, HttpReply, str] | None:
        """Return the free calls that bring an input to the provider: it yields calls, is sent replies, returns the URL.

        None where the provider takes no files.
        """
        del file
        return None

    def lists(self, request: GenerationRequest) -> bool:
        """Whether this provider's list would show what became of a request: if not, its silence proves nothing."""
        del request
        return self.list_lag_s is not None

    def list_call(
        self, *, endpoints: Sequence[str], since: datetime, until: datetime, page: str | None
    ) -> HttpCall | None:
        """Return the call that lists predictions; free. None where the provider keeps no list.

        Args:
            endpoints: What was asked, by the catalog's names. A list of the whole account shows others as well.
            since: Aware. Whatever was submitted from then on is listed...
            until: ...up to then, aware; later ones may be listed too.
            page: ``next_page`` of the page before; None for the first.
        """
        del endpoints, since, until, page
        return None

    def parse_list(self, reply: HttpReply) -> ListedPage:
        """Read a 2xx to a list call; an entry that cannot be read is reported, and the others are read.

        Raises:
            UnexpectedResponseError: It is no page of a list.
        """
        del reply
        message = f"{self.name} keeps no list"
        raise UnexpectedResponseError(message, provider=self.name)

    def is_of(self, request: GenerationRequest, listed: Listed, *, digests: Collection[str] = ()) -> bool:
        """Whether a listed prediction *can* be what became of a request: nothing that is shown speaks against it.

        Where every listed prediction is denied here, and the list is complete and late enough, the request never
        arrived. Where ``listed.input`` is None this says that endpoint and version fit, and nothing more.

        Args:
            request: What was asked for.
            listed: One entry of the provider's list.
            digests: SHA-256 in hex of the files that the request builds on, as they are in the store; compared with
                the names of uploaded files, where the list shows those.
        """
        if not self.is_same_model(request, listed):
            return False
        sent = nested(request.params)
        shown = listed.input
        return shown is None or (is_same(sent, shown) and files_agree(request, sent, shown, digests))

    def is_surely_of(self, request: GenerationRequest, listed: Listed, *, digests: Collection[str] = ()) -> bool:
        """Whether a listed prediction is one of such a request: its input is shown and holds what was sent, no more.

        Input files count where their names show what they are, and a request whose take, time or account differs alone
        looks the same: whose id the ledger has already is to be left out before.
        """
        if listed.input is None or not self.is_of(request, listed, digests=digests):
            return False
        return has_no_more_than(nested(request.params), listed.input, len(request.inputs))

    def is_same_model(self, request: GenerationRequest, listed: Listed) -> bool:
        """Whether endpoint and version can be those of a request."""
        return listed.endpoint == request.endpoint and listed.version in {None, request.version}

    def known(self, request: GenerationRequest, prediction_id: str) -> Prediction | None:
        """Return a prediction that a person names, as one to ask about; None where it cannot be asked about.

        Args:
            request: What it became of.
            prediction_id: The provider's id, as its site shows it.
        """
        known = self.where_to_ask(Prediction(id=prediction_id, state=State.UNKNOWN), request)
        return known if prediction_id and self.status_call(known) is not None else None

    def bill_call(
        self, *, since: datetime, until: datetime, page: str | None, endpoints: Sequence[str] = ()
    ) -> HttpCall | None:
        """Return the call that reads what the provider itself says it charged; free. None where it cannot be read.

        Args:
            since: Aware; of charges from then on...
            until: ...and before then.
            page: ``next_page`` of the page before; None for the first.
            endpoints: Only these; none: all.
        """
        del since, until, page, endpoints
        return None

    def parse_bill(self, reply: HttpReply) -> BillPage:
        """Read a 2xx to a bill call, as :meth:`parse_list` does.

        Raises:
            UnexpectedResponseError: It is no page of a bill.
        """
        del reply
        message = f"{self.name} does not tell what it charges"
        raise UnexpectedResponseError(message, provider=self.name)
