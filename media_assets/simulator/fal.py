"""The simulated fal: its queue. Uploads: ``fal_storage.py``; lists: ``fal_platform.py``; not simulated: ``fal.run``.

What no source says, decided here on 2026-11-22: an input that does not fit is accepted by the queue and fails in the
model, so that only the result tells (422); a canceled request is COMPLETED with ``client_cancelled`` whether it ran or
not, its result is 499, and it costs nothing; a runner always heeds a cancel; webhooks are never sent.
"""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from media_assets.simulator import fal_platform, fal_storage
from media_assets.simulator.calls import Call, endpoint, in_thread
from media_assets.simulator.fal_bodies import (
    BY_MODEL,
    FACES,
    PREFIX,
    RUN_FAILED,
    Failure,
    FalRequest,
    content_rejected,
    failure_of,
    invalid_input,
    links_of,
    model_fault,
    result_body,
    status_body,
    unreadable_picture,
)
from media_assets.simulator.fal_models import BY_NAME, Model
from media_assets.simulator.inputs import read_input
from media_assets.simulator.jobs import NEVER, Job, JobState
from media_assets.simulator.outputs import SPOILED, Order
from media_assets.simulator.pictures import UnreachableError, UnreadableError, picture_size_px
from media_assets.simulator.world import World

_SHORTEST_START_S: Final = 0.1
_STREAM_STEP_S: Final = 0.05


def routes(world: World) -> list[BaseRoute]:
    """Return every route of fal's queue, storage and platform."""
    queue = _Queue(world)
    named = partial(endpoint, world, FACES)
    one = f"{PREFIX}/{{app:path}}/requests/{{id}}"
    kept = _model_of_id
    return [
        named("GET", f"{one}/status", "poll", queue.status, model_of=kept, shown_path=_shown("/status")),
        named("GET", f"{one}/status/stream", "poll", queue.stream, model_of=kept, shown_path=_shown("/status/stream")),
        named("GET", f"{one}/response", "result", queue.result, model_of=kept, shown_path=_shown()),
        named("PUT", f"{one}/cancel", "cancel", queue.cancel, model_of=kept, shown_path=_shown("/cancel")),
        named("GET", one, "result", queue.result, model_of=kept, shown_path=_shown()),
        named("POST", f"{PREFIX}/{{app:path}}", "submit", queue.submit, model_of=_model_of_path, shown_path=_SUBMIT),
        *fal_storage.routes(world),
        *fal_platform.routes(world),
    ]


_SUBMIT: Final = f"{PREFIX}/{{app}}"


def _shown(rest: str = "") -> str:
    return f"{PREFIX}/{{app}}/requests/{{id}}{rest}"


def _model_of_path(_world: World, request: Request, _body: bytes) -> str:
    return str(request.path_params["app"])


def _model_of_id(world: World, request: Request, _body: bytes) -> str:
    job = world.queues["fal"].get(request.path_params["id"])
    return job.model if job else ""


class _Queue:
    def __init__(self, world: World) -> None:
        self._world = world
        self._queue = world.queues["fal"]

    async def submit(self, call: Call) -> Response:
        model = BY_NAME.get(call.model)
        if model is None:
            return FACES.gone(call.model)
        try:
            given = call.json()
            start_s = _start_s(call.request)
            longest = int(call.request.query_params.get("fal_max_queue_length", "-1"))
        except ValueError:
            return FACES.bad_request()
        if not isinstance(given, dict):
            return FACES.bad_request()
        if 0 <= longest <= self._queue.waiting() and not self._queue.has_room():
            return FACES.throttled(None)
        values, misfits = read_input(model.fields, given, takes_unknown=True)
        failure: Failure | None = invalid_input(misfits, given) if misfits else None
        picture_px = None
        if failure is None:
            picture_px, failure = await _picture_px(call, model, values)
        job = self._accept(call, model, given, start_s)
        job.data = _keep(call, model, values=values, number=job.number, failure=failure, picture_px=picture_px)
        if job.data.failure is not None:
            job.ending = JobState.FAILED
            # Only a run that fails on purpose, or whose output is moderated, takes its time.
            job.run_s = job.run_s if call.met("run_failed", "moderation_after_run") and failure is None else 0.0
        self._queue.submit(job)
        position = self._queue.waiting_before(job) if job.state is JobState.QUEUED else 0
        body = {"request_id": job.id, **links_of(call.origin, job), "queue_position": position, "status": "IN_QUEUE"}
        return JSONResponse(body, headers=_headers(job))

    async def status(self, call: Call) -> Response:
        job = self._find(call)
        if job is None:
            return _not_found()
        body = self._status(call, job)
        if call.met("unknown_status"):
            body |= {"status": "HIBERNATING"}
        return JSONResponse(body, 200 if body["status"] == "COMPLETED" else 202, headers=_headers(job))

    async def stream(self, call: Call) -> Response:
        job = self._find(call)
        if job is None:
            return _not_found()
        return StreamingResponse(self._events(call, job), media_type="text/event-stream", headers=_headers(job))

    async def _events(self, call: Call, job: Job) -> AsyncIterator[str]:
        told: dict[str, Any] = {}
        while not self._world.clock.stopped:
            self._queue.settle()
            body = self._status(call, job)
            if body != told:
                told = body
                yield f"data: {json.dumps(body)}\n\n"
            if job.state.is_final:
                return
            await self._world.clock.sleep(_STREAM_STEP_S)

    async def result(self, call: Call) -> Response:
        job = self._find(call)
        if job is None:
            return _not_found()
        if not job.state.is_final:
            return JSONResponse({"detail": "Request is still in progress"}, 400, headers=_headers(job))
        failure = failure_of(job)
        if failure is not None:
            failed = failure.response()
            failed.headers.update(_headers(job))
            return failed
        kept: FalRequest = job.data
        units = format(kept.model.units(kept.values, kept.plan), "f")
        body = await result_body(self._world, call.origin, job)
        return JSONResponse(body, headers={**_headers(job), "X-Fal-Billable-Units": units})

    async def cancel(self, call: Call) -> Response:
        job = self._find(call)
        if job is None:
            return _not_found()
        if job.state.is_final:
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400, headers=_headers(job))
        if call.met("cancel_race"):
            self._queue.finish(job)
        else:
            self._queue.cancel(job)
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202, headers=_headers(job))

    def _accept(self, call: Call, model: Model, given: dict[str, Any], start_s: float | None) -> Job:
        request_id = str(uuid4())
        number = self._world.accept("fal", model.name, f"/{model.name}", request_id, given)
        created_s = self._world.clock.now_s()
        run_s = self._world.run_s("fal", model.kind, number)
        return Job(
            id=request_id,
            model=model.name,
            number=number,
            data=None,
            created_s=created_s,
            run_s=NEVER if call.met("run_stuck") else run_s,
            never_starts=call.met("queue_stuck"),
            start_by_s=NEVER if start_s is None else created_s + start_s,
        )

    def _find(self, call: Call) -> Job | None:
        job = self._queue.get(call.request.path_params["id"])
        if job is None or call.met("404_after_create"):
            return None
        kept: FalRequest = job.data
        return job if call.request.path_params["app"] in {kept.model.name, kept.model.app} else None

    def _status(self, call: Call, job: Job) -> dict[str, Any]:
        with_logs = call.request.query_params.get("logs", "0").lower() in {"1", "true"}
        position = self._queue.waiting_before(job)
        return status_body(self._world, call.origin, job, position, with_logs=with_logs)


async def _picture_px(
    call: Call, model: Model, values: dict[str, Any]
) -> tuple[tuple[int, int] | None, Failure | None]:
    """Decode every input picture; return the size of the first, or why one cannot be used."""
    first_px: tuple[int, int] | None = None
    for name, field in model.fields.items():
        url = values[name] if field.kind == "picture" else None
        if url is None:
            continue
        try:
            size_px = await in_thread(partial(picture_size_px, call.world, url), call.world)
        except UnreachableError:
            return None, unreadable_picture(name, url, is_there=False)
        except UnreadableError:
            return None, unreadable_picture(name, url, is_there=True)
        first_px = first_px or size_px
    return first_px, None


def _keep(
    call: Call,
    model: Model,
    *,
    values: dict[str, Any],
    number: int,
    failure: Failure | None,
    picture_px: tuple[int, int] | None,
) -> FalRequest:
    asked = values.get("seed")
    seed = asked if isinstance(asked, int) else call.world.media_seed("fal", number)
    spoiled = call.fault.name if call.fault and call.fault.name in SPOILED else ""
    look = call.world.media_seed(model.name, seed, values.get("prompt"))
    order = Order(values=values, picture_px=picture_px, seed=look, spoiled=spoiled)
    if call.met("content_rejected", "moderation_after_run"):
        failure = failure or content_rejected(values)
    if call.fault is not None and call.met("run_failed"):
        failure = failure or (model_fault(500) if call.fault.value == BY_MODEL else RUN_FAILED)
    return FalRequest(
        model=model,
        # Pictures have been looked at; thousands of them would fill the memory.
        values={name: value for name, value in values.items() if model.fields[name].kind != "picture"},
        plan=[] if failure else model.make(order),
        seed=seed,
        failure=failure,
        output_url=call.fault.value if call.fault and call.fault.name == "output_url" else None,
        is_black=spoiled == "black_output",
    )


def _start_s(request: Request) -> float | None:
    given = request.headers.get("x-fal-request-timeout")
    return None if given is None else max(float(given), _SHORTEST_START_S)


def _headers(job: Job) -> dict[str, str]:
    return {"x-fal-request-id": job.id}


def _not_found() -> Response:
    return JSONResponse({"status": "NOT_FOUND"}, 404, headers={"x-fal-request-id": str(uuid4())})
