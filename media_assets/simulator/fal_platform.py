"""The simulated fal's platform API: the account's requests, and what each cost.

Shapes, limits and order: fal's OpenAPI document of the platform of 2026-08-21. What it leaves open, decided here on
2026-11-22: the range of the list is of the end of a request, as its order is, and of the start for what still runs;
what has not started is not listed, for ``started_at`` must be there; only what was charged is on the bill; every key
is an admin's.
"""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator.bill import bill_line
from media_assets.simulator.calls import Call, OpenFaces, endpoint
from media_assets.simulator.fal_bodies import FACES, failure_of, payload_of
from media_assets.simulator.jobs import Job, JobState
from media_assets.simulator.submissions import Submission
from media_assets.simulator.world import World

PREFIX: Final = "/fal-api/v1"

_PAGE, _LARGEST_PAGE = 50, 100
_BILL_PAGE, _LARGEST_BILL_PAGE = 1_000, 10_000
_MOST_ENDPOINTS: Final = 50
_DEFAULT_RANGE: Final = timedelta(hours=24)
_LONGEST_BILL: Final = timedelta(days=90)
_NANO: Final = 10**9
_STATUSES: Final = {"success": (200, 300), "user_error": (400, 500), "error": (500, 600)}
"""Which status codes each filter means; ours, for the document does not say."""


class MisfitError(ValueError):
    """What is wrong with a query."""


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of fal's platform API."""
    platform = _Platform(world)
    named = partial(endpoint, world, PLATFORM_FACES, model_of=_model_of_query)
    return [
        named("GET", f"{PREFIX}/models/requests/by-endpoint", "list", platform.requests),
        named("GET", f"{PREFIX}/models/billing-events", "list", platform.billing_events),
    ]


def _model_of_query(_world: World, request: Request, _body: bytes) -> str:
    named = _many(request, "endpoint_id")
    return named[0] if len(named) == 1 else ""


class _Platform:
    def __init__(self, world: World) -> None:
        self._world = world
        self._queue = world.queues["fal"]

    async def requests(self, call: Call) -> Response:
        try:
            jobs = self._found(call)
            start, limit = _place(call.request, _PAGE, _LARGEST_PAGE)
        except MisfitError as misfit:
            return _misfit(misfit)
        page = [self._item(call, job) for job in jobs[start : start + limit]]
        return JSONResponse(_links(start, limit, len(jobs)) | {"items": page})

    async def billing_events(self, call: Call) -> Response:
        try:
            since, until = _range(self._world, call.request, longest=_LONGEST_BILL)
            wanted, named = _many(call.request, "request_id"), _many(call.request, "endpoint_id")
            start, limit = _place(call.request, _BILL_PAGE, _LARGEST_BILL_PAGE)
        except MisfitError as misfit:
            return _misfit(misfit)
        self._world.settle()
        charged = [
            one
            for one in reversed(self._world.submissions.all())
            if one.provider == "fal"
            and since <= self._world.clock.utc(one.at_s) < until
            and (not wanted or one.id in wanted)
            and (not named or one.model in named)
            and bill_line(one).quantity
        ]
        page = [_event(one) for one in charged[start : start + limit]]
        return JSONResponse(_links(start, limit, len(charged)) | {"billing_events": page})

    def _found(self, call: Call) -> list[Job]:
        """Return the jobs that the query asks for, the last to end first."""
        request, now_s = call.request, self._world.clock.now_s()
        named, wanted = _many(request, "endpoint_id"), request.query_params.get("request_id")
        if not 1 <= len(named) <= _MOST_ENDPOINTS:
            message = "endpoint_id: 1 to 50 are needed"
            raise MisfitError(message)
        since, until = _range(self._world, request, back=_LONGEST_BILL if wanted else _DEFAULT_RANGE)
        status, order = _status(request), _order(request)
        hides_running = call.met("list_hides_running")
        lag_s = call.fault.seconds if call.fault is not None and call.met("list_lag") else 0.0
        found = [
            job
            for job in self._queue.all()
            if job.model in named
            and job.started_s is not None
            and wanted in {None, job.id}
            and since <= self._world.clock.utc(_place_s(job)) < until
            and now_s - _place_s(job) >= lag_s
            and not (hides_running and not job.state.is_final)
            and (status is None or _status_code(job) in range(*status))
        ]
        return sorted(found, key=order, reverse=True)

    def _item(self, call: Call, job: Job) -> dict[str, Any]:
        clock = self._world.clock
        item: dict[str, Any] = {
            "request_id": job.id,
            "endpoint_id": job.model,
            "started_at": clock.stamp(job.started_s),
            "sent_at": clock.stamp(job.created_s),
            "ended_at": None if job.finished_s is None else clock.stamp(job.finished_s),
            "status_code": _status_code(job),
            "duration": None if job.finished_s is None else round(job.finished_s - job.created_s, 6),
        }
        if "payloads" in _many(call.request, "expand"):
            # What the log kept, in which inline files are replaced by their digests: fal takes URLs.
            item["json_input"] = self._world.submissions.all()[job.number - 1].input
            item["json_output"] = self._output(call, job)
        return item

    def _output(self, call: Call, job: Job) -> Any:
        if job.state is JobState.SUCCEEDED:
            return payload_of(self._world, call.origin, job)
        failure = failure_of(job) if job.state.is_final else None
        return None if failure is None else json.loads(bytes(failure.response().body))


def _place_s(job: Job) -> float:
    """Return where a job stands in the list: at its end, or at its start as long as it runs."""
    return job.finished_s if job.finished_s is not None else job.started_s or 0.0


def _status_code(job: Job) -> int | None:
    if not job.state.is_final:
        return None
    failure = failure_of(job)
    return 200 if failure is None else failure.status


def _status(request: Request) -> tuple[int, int] | None:
    asked = request.query_params.get("status")
    if asked is None:
        return None
    if asked not in _STATUSES:
        message = f"status: {asked!r} is none of {', '.join(_STATUSES)}"
        raise MisfitError(message)
    return _STATUSES[asked]


def _order(request: Request) -> Callable[[Job], float]:
    asked = request.query_params.get("sort_by", "ended_at")
    orders: dict[str, Callable[[Job], float]] = {
        "ended_at": _place_s,
        "duration": lambda job: _place_s(job) - job.created_s,
    }
    if asked not in orders:
        message = f"sort_by: {asked!r} is none of {', '.join(orders)}"
        raise MisfitError(message)
    return orders[asked]


def _many(request: Request, name: str) -> list[str]:
    """Return the values of a parameter that may be repeated, or hold several with commas."""
    return [one for value in request.query_params.getlist(name) for one in value.split(",") if one]


def _range(
    world: World, request: Request, *, back: timedelta = _DEFAULT_RANGE, longest: timedelta | None = None
) -> tuple[datetime, datetime]:
    """Return the range in which something has to lie; its end is not in it."""
    now = world.clock.utc()
    since, until = (_moment(request, name) for name in ("start", "end"))
    # Without an end it is now, and what happens in this moment is to be in it.
    begin, end = since or now - back, until or now + timedelta(microseconds=1)
    if longest is not None and end - begin > longest:
        message = f"the range is of more than {longest.days} days"
        raise MisfitError(message)
    return begin, end


def _moment(request: Request, name: str) -> datetime | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given if "T" in given else f"{given}T00:00:00Z")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{name}: {given!r} is no date, and no date and time with a zone"
        raise MisfitError(message)
    return moment


def _place(request: Request, usual: int, largest: int) -> tuple[int, int]:
    """Return where a page begins and how long it is; the cursor is a page's number in base64, from 1."""
    query = request.query_params
    try:
        limit = int(query.get("limit", usual))
        number = int(base64.b64decode(query.get("cursor", "MQ=="), validate=True))
    except ValueError:
        limit = number = 0
    if not (1 <= limit <= largest and number >= 1):
        message = f"limit must be 1 to {largest}, and cursor one that a page named"
        raise MisfitError(message)
    return (number - 1) * limit, limit


def _links(start: int, limit: int, total: int) -> dict[str, Any]:
    has_more = start + limit < total
    number = start // limit + 2
    return {"next_cursor": base64.b64encode(b"%d" % number).decode() if has_more else None, "has_more": has_more}


def _event(one: Submission) -> dict[str, Any]:
    line = bill_line(one)
    usd = float(line.usd)
    return {
        "request_id": one.id,
        "endpoint_id": one.model,
        "timestamp": one.at,
        "output_units": float(line.quantity),
        "unit_price": float(line.usd / line.quantity),
        "percent_discount": None,
        "cost_subtotal": usd,
        "cost_discount": 0,
        "cost_total": usd,
        "cost_estimate_nano_usd": int(line.usd * _NANO),
    }


class PlatformFaces(OpenFaces):
    """The platform's refusals: one shape, another than the queue's; no submissions come here."""

    provider = "fal"

    def refuse_key(self, request: Request) -> Response | None:
        if FACES.refuse_key(request) is None:
            return None
        return _error(401, "authorization_error", "Authentication required")

    def server_error(self, status: int) -> Response:
        return _error(status, "server_error", "An internal error occurred")

    def throttled(self, wait_s: float | None) -> Response:  # noqa: ARG002 - fal names no wait
        return _error(429, "rate_limited", "Too many requests")


PLATFORM_FACES: Final = PlatformFaces()


def _misfit(misfit: MisfitError) -> Response:
    return _error(400, "validation_error", str(misfit))


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": {"type": kind, "message": message}}, status)
