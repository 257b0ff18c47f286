"""The simulator's own endpoints, under ``/_sim``: what it was asked, what it bills, and what shall go wrong.

========  ===================  ============================================================================
GET       /_sim/submissions    ``{"submissions": [...]}``: every accepted submission with its outcome so far
GET       /_sim/log            the log as it is on disk, JSONL
GET       /_sim/bill           ``{"total_usd", "by_provider", "lines"}``
GET       /_sim/requests       ``{"requests": [{"method", "path", "provider", "call", "count"}]}``
GET, PUT  /_sim/faults         the rules in force, each with ``fired``; a PUT replaces them all
POST      /_sim/clock          ``{"advance_s": n}``; answers ``{"now_s", "utc"}``
POST      /_sim/files          stores the body as an output, for ``output_url`` rules; answers ``{"url"}``
========  ===================  ============================================================================
"""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from media_assets.errors import ConfigurationError
from media_assets.simulator.bill import bill
from media_assets.simulator.options import PROVIDERS
from media_assets.simulator.world import World

PREFIX: Final = "/_sim"


def routes(world: World) -> list[BaseRoute]:
    """Return the control routes."""
    control = _Control(world)
    return [
        Route(f"{PREFIX}/submissions", control.submissions),
        Route(f"{PREFIX}/log", control.log),
        Route(f"{PREFIX}/bill", control.bill),
        Route(f"{PREFIX}/requests", control.requests),
        Route(f"{PREFIX}/faults", control.show_faults, methods=["GET"]),
        Route(f"{PREFIX}/faults", control.put_faults, methods=["PUT"]),
        Route(f"{PREFIX}/clock", control.clock, methods=["POST"]),
        Route(f"{PREFIX}/files", control.files, methods=["POST"]),
    ]


class _Control:
    def __init__(self, world: World) -> None:
        self._world = world

    async def submissions(self, _request: Request) -> Response:
        self._world.settle()
        return JSONResponse({"submissions": [one.as_dict() for one in self._world.submissions.all()]})

    async def log(self, _request: Request) -> Response:
        self._world.settle()
        return PlainTextResponse(self._world.submissions.text(), media_type="application/jsonl")

    async def bill(self, _request: Request) -> Response:
        self._world.settle()
        return JSONResponse(bill(self._world.submissions.all()))

    async def requests(self, _request: Request) -> Response:
        received = sorted(self._world.received().items())
        return JSONResponse({"requests": [{**kind._asdict(), "count": count} for kind, count in received]})

    async def show_faults(self, _request: Request) -> Response:
        return JSONResponse(self._world.faults.listing())

    async def put_faults(self, request: Request) -> Response:
        try:
            self._world.faults.replace(_list_of(await _json(request)))
        except ConfigurationError as error:
            return _refused(error)
        return JSONResponse(self._world.faults.listing())

    async def clock(self, request: Request) -> Response:
        try:
            self._world.clock.advance(_advance_s(await _json(request)))
        except ConfigurationError as error:
            return _refused(error)
        self._world.settle()
        return JSONResponse({"now_s": self._world.clock.now_s(), "utc": self._world.clock.stamp()})

    async def files(self, request: Request) -> Response:
        provider, name = request.query_params.get("provider", "replicate"), request.query_params.get("name", "output")
        if provider not in PROVIDERS:
            return _refused(ConfigurationError(f"provider: {provider!r} is none of {', '.join(PROVIDERS)}"))
        mime = request.headers.get("content-type", "application/octet-stream")
        stored = self._world.files.put(await request.body(), provider=provider, name=name, mime=mime)
        origin = f"{request.url.scheme}://{request.url.netloc}"
        return JSONResponse({"url": origin + self._world.files.link(stored)}, 201)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as error:
        message = f"the body is no JSON: {error}"
        raise ConfigurationError(message) from error


def _list_of(given: Any) -> list[Any]:
    if not isinstance(given, list):
        message = "fault rules are a list of objects."
        raise ConfigurationError(message)
    return given


def _advance_s(given: Any) -> float:
    advance_s = given.get("advance_s") if isinstance(given, dict) else None
    if isinstance(advance_s, bool) or not isinstance(advance_s, int | float):
        message = 'the body must be {"advance_s": <seconds>}.'
        raise ConfigurationError(message)
    return advance_s


def _refused(error: ConfigurationError) -> Response:
    return JSONResponse({"error": error.message}, 422)
