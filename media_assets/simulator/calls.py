"""What every HTTP request goes through: counted, faulted, its key checked, answered, and delivered well or badly.

A provider's module names its endpoints with ``endpoint`` and gives its own ``Faces``; what is common is here.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from media_assets.simulator.delivery import Dripping, Dropped, Hanging, Truncated, whole
from media_assets.simulator.faults import Fault
from media_assets.simulator.world import Received, World

OTHER: Final = "other"
"""The call of endpoints that no fault speaks of."""

_NGINX_503: Final = (
    "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
    "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
_PAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>Just a moment</title></head><body><h1>Please wait</h1></body></html>\n"
)
_GARBAGE: Final = b'\x00\x1f{"id": not json'
_SERVER_ERRORS: Final = (500, 502, 503, 504)


class Faces(ABC):
    """What one provider's refusals look like."""

    provider: str
    """One of ``options.PROVIDERS``."""

    def as_told(self, fault: Fault) -> "Faces":  # noqa: ARG002 - most providers have one form only
        """Return these faces in the form that a rule's ``value`` asks for, where the provider has several."""
        return self

    @abstractmethod
    def refuse_key(self, request: Request) -> Response | None:
        """Return the provider's 401 for a key that is missing, of the wrong shape or ``invalid``; else None."""

    @abstractmethod
    def server_error(self, status: int) -> Response:
        """Return the provider's own 500, 502, 503 or 504."""

    @abstractmethod
    def throttled(self, wait_s: float | None) -> Response:
        """Return the provider's 429 for too many requests.

        Args:
            wait_s: Seconds to name in the body, where this provider can; None names nothing.
        """

    @abstractmethod
    def bad_request(self) -> Response:
        """Return the provider's own 400."""

    @abstractmethod
    def gone(self, model: str) -> Response:
        """Return what a submission to a retired model gets."""

    @abstractmethod
    def out_of_money(self) -> Response:
        """Return what an empty account gets."""


class OpenFaces(Faces):
    """Base of faces whose endpoints ask for no key and take no submissions."""

    def refuse_key(self, request: Request) -> Response | None:  # noqa: ARG002 - nobody is refused
        return None

    def throttled(self, wait_s: float | None) -> Response:  # noqa: ARG002
        return self.server_error(503)

    def bad_request(self) -> Response:
        return self.server_error(500)

    def gone(self, model: str) -> Response:  # noqa: ARG002
        return self.server_error(500)

    def out_of_money(self) -> Response:
        return self.server_error(500)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request, as far as it is understood before its work is done."""

    world: World
    request: Request
    body: bytes
    model: str
    """The provider's own name; "" where the request names none."""
    fault: Fault | None
    """What befell it; faults of the request and the reply are dealt with before and after the work."""

    @property
    def origin(self) -> str:
        """Scheme, host and port as the client wrote them: every URL in a reply begins with it."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    def met(self, *names: str) -> bool:
        """Whether one of these faults befell the call."""
        return self.fault is not None and self.fault.name in names

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)


Work = Callable[[Call], Awaitable[Response]]
ModelOf = Callable[[World, Request, bytes], str]
Without = Callable[[World, Request], frozenset[str]]


def no_model(_world: World, _request: Request, _body: bytes) -> str:
    """Say that a request names no model."""
    return ""


def nothing(_world: World, _request: Request) -> frozenset[str]:
    """Say that every fault makes sense."""
    return frozenset()


def model_in_body(body: bytes) -> str:
    """Return the ``model`` of a JSON body, or "" where there is none."""
    try:
        given = json.loads(body)
    except ValueError:
        return ""
    model = given.get("model") if isinstance(given, dict) else None
    return model if isinstance(model, str) else ""


def endpoint(  # noqa: PLR0917 - a table of routes is read by position
    world: World,
    faces: Faces,
    method: str,
    path: str,
    call: str,
    work: Work,
    *,
    model_of: ModelOf = no_model,
    without: Without = nothing,
    shown_path: str = "",
) -> Route:
    """Return the route of one endpoint.

    Args:
        world: The simulator.
        faces: The provider's refusals.
        method: GET, POST, PUT or DELETE.
        path: As starlette wants it, with the simulator's prefix.
        call: One of ``faults.CALLS``, or ``OTHER`` where no fault happens.
        work: Answers the call; whatever it accepts, it logs with ``World.accept`` before it answers. It deals itself
            with faults of what becomes of a prediction or of what is told of it (see ``faults.FAULTS``).
        model_of: Finds the model that a rule may name.
        without: Says which faults make no sense now.
        shown_path: How the path is counted; as ``path`` when not given.
    """
    received = Received(method, shown_path or path, faces.provider, call)

    async def answer(request: Request) -> Response:
        world.count(received)
        body = await request.body()
        model = model_of(world, request, body)
        fault = None
        if call != OTHER:
            fault = world.faults.take(faces.provider, model, call, without=without(world, request))
        if fault is not None and fault.name in {"refuse_connect", "tls_fail"}:
            return Dropped()
        told = faces.as_told(fault) if fault else faces
        refused = told.refuse_key(request) or (_refusal(told, fault, model) if fault else None)
        if refused is not None:
            return refused
        made = await work(Call(world=world, request=request, body=body, model=model, fault=fault))
        return made if fault is None else await _deliver(world, told, fault, await whole(made))

    return Route(path, answer, methods=[method])


def _refusal(faces: Faces, fault: Fault, model: str) -> Response | None:
    refusals: dict[str, Callable[[], Response]] = {
        "noexec_500": lambda: faces.server_error(500),
        "noexec_503": lambda: faces.server_error(503),
        "poll_5xx": lambda: faces.server_error(_SERVER_ERRORS[fault.turn % len(_SERVER_ERRORS)]),
        "429_body": lambda: faces.throttled(fault.seconds),
        "429_header": lambda: _with_retry_after(faces.throttled(None), f"{fault.seconds:g}"),
        "429_date": lambda: _with_retry_after(faces.throttled(None), _date_in(fault.seconds)),
        "400": faces.bad_request,
        "retired_404": lambda: faces.gone(model),
        "insufficient_credit": faces.out_of_money,
    }
    refusal = refusals.get(fault.name)
    return refusal() if refusal else None


def _with_retry_after(response: Response, value: str) -> Response:
    response.headers["Retry-After"] = value
    return response


def _date_in(seconds: float) -> str:
    # An HTTP date has whole seconds and is compared with the client's clock, so it is of real time, rounded up.
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return format_datetime(moment.replace(microsecond=0) + timedelta(seconds=1), usegmt=True)


async def _deliver(world: World, faces: Faces, fault: Fault, made: Response) -> Response:
    deliveries: dict[str, Callable[[], Response]] = {
        "exec_and_drop": Dropped,
        "reset_before_headers": lambda: Dropped(reset=True),
        "exec_and_hang": lambda: Hanging(world.clock),
        "exec_and_truncate": lambda: Truncated(made),
        "truncate": lambda: Truncated(made),
        "slow_1Bps": lambda: Dripping(made, world.clock),
        "exec_and_500": lambda: faces.server_error(500),
        "exec_and_503_nginx": lambda: Response(_NGINX_503, 503, media_type="text/html"),
        "2xx_garbage": lambda: Response(_GARBAGE, made.status_code, media_type="application/json"),
        "html": lambda: Response(_PAGE, 200, media_type="text/html"),
    }
    if fault.name == "reply_late":
        await world.clock.sleep(fault.seconds)
    delivery = deliveries.get(fault.name)
    return delivery() if delivery else made


async def in_thread(work: Callable[[], Any], world: World) -> Any:
    """Run what would hold up the event loop, such as decoding a picture, in one of the simulator's workers."""
    return await asyncio.get_running_loop().run_in_executor(world.workers, work)
