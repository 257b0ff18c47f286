"""What a provider adapter is: a translator, and nothing else.

An adapter turns our request into a call and a reply into a ``Prediction``. It does no I/O, reads no clock and no
environment, so its tests are tables of values. Sending, retrying, polling and downloading live once, in
``providers/transport/``. What a provider does not offer, its adapter answers with None.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from media_assets.media.work import Work
from media_assets.prediction import Prediction
from media_assets.prompt import Scalar
from media_assets.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class HttpCall:
    """One HTTP request, without credentials: the transport adds those as it sends."""

    method: str
    url: str
    json_body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


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

    @abstractmethod
    def submit_call(self, request: GenerationRequest) -> HttpCall | LocalCall:
        """Return the call that starts the work. **Costs money**: sending it is the purchase."""

    @abstractmethod
    def parse(self, reply: Any) -> Prediction:
        """Read the reply to a submit or a status call.

        Raises:
            UnexpectedResponseError: A field is missing or a state is new to us; the prediction id is kept.
        """

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        del api_key
        return {}

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the call that asks how a prediction stands."""
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
