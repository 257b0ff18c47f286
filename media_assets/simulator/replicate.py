"""The simulated Replicate: predictions. Files are in ``replicate_files.py``, models in ``replicate_catalogue.py``.

What no source says, decided here on 2026-11-22: a canceled prediction is ``canceled`` even if it never started (as in
a recorded reply; it ran for no time and costs nothing); canceling one that has ended changes nothing and answers 200;
a header that cannot be read gets 422; webhooks are checked for ``https`` and never sent.
"""

import base64
import json
import re
from collections import deque
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator import replicate_catalogue, replicate_files
from media_assets.simulator.calls import Call, endpoint, in_thread
from media_assets.simulator.faults import Fault
from media_assets.simulator.inputs import read_input
from media_assets.simulator.jobs import NEVER, Job, JobState
from media_assets.simulator.outputs import SPOILED, Order
from media_assets.simulator.pictures import UnreachableError, UnreadableError, picture_size_px
from media_assets.simulator.replicate_bodies import (
    FACES,
    PREFIX,
    Prediction,
    invalid_input,
    invalid_version,
    not_found,
    output_of,
    prediction_body,
    problem,
)
from media_assets.simulator.replicate_models import BY_NAME, BY_VERSION, Model
from media_assets.simulator.world import World

PAGE: Final = 100
"""Predictions on a page of the list."""

_BODY_KEYS: Final = frozenset({"version", "input", "webhook", "webhook_events_filter", "stream"})
_PREFER: Final = re.compile(r"wait(?:=([1-9]|[1-5][0-9]|60))?")
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_LONGEST_WAIT_S: Final = 60.0
_SHORTEST_DEADLINE_S: Final = 5.0
_STEPS: Final = 25
"""Of a model that has no field for them."""
_MINUTE_S: Final = 60.0
_SPARSE: Final = frozenset({"output", "metrics", "data_removed", "source"})
"""What recorded replies to a create lack, though the OpenAPI document requires the first and the third."""

Size = tuple[int, int]

_RUN_ERROR: Final = "CUDA out of memory. Tried to allocate 2.53 GiB."


class RefusedError(Exception):
    """A create that is answered with an error; nothing was accepted."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def routes(world: World) -> list[BaseRoute]:
    """Return every route of Replicate's API."""
    predictions = _Predictions(world)
    named = partial(endpoint, world, FACES)
    one, kept = f"{PREFIX}/predictions/{{id}}", _model_of_id
    by_name = f"{PREFIX}/models/{{owner}}/{{name}}/predictions"
    return [
        named("POST", f"{PREFIX}/predictions", "submit", predictions.create, model_of=_model_of_body),
        named("POST", by_name, "submit", predictions.create_by_name, model_of=_model_of_path),
        named("GET", f"{PREFIX}/predictions", "list", predictions.list),
        named("GET", one, "poll", predictions.show, model_of=kept, without=_too_early),
        named("POST", f"{one}/cancel", "cancel", predictions.cancel, model_of=kept),
        *replicate_files.routes(world),
        *replicate_catalogue.routes(world),
    ]


def _model_of_body(_world: World, _request: Request, body: bytes) -> str:
    try:
        given = json.loads(body)
    except ValueError:
        return ""
    model = _find(given.get("version")) if isinstance(given, dict) else None
    return model.name if model else ""


def _model_of_path(_world: World, request: Request, _body: bytes) -> str:
    return f"{request.path_params['owner']}/{request.path_params['name']}"


def _model_of_id(world: World, request: Request, _body: bytes) -> str:
    job = world.queues["replicate"].get(request.path_params["id"])
    return job.model if job else ""


def _too_early(world: World, request: Request) -> frozenset[str]:
    job = world.queues["replicate"].get(request.path_params["id"])
    return frozenset() if job and job.state is JobState.SUCCEEDED else frozenset({"data_removed"})


def _find(version: Any) -> Model | None:
    """Return the model that a ``version`` names: 64 digits, ``owner/name:`` and 64 digits, or an official name."""
    if not isinstance(version, str):
        return None
    name, colon, digits = version.rpartition(":")
    if colon:
        model = BY_VERSION.get(digits)
        return model if model and model.name == name else None
    official = BY_NAME.get(version)
    return official if official and official.is_official else BY_VERSION.get(version)


class _Predictions:
    """The endpoints of predictions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue = world.queues["replicate"]
        self._created: deque[float] = deque()

    async def create(self, call: Call) -> Response:
        try:
            given = _read_body(call, frozenset())
            model = _find(given.get("version"))
            if model is None:
                return invalid_version()
            return await self._create(call, model, given)
        except RefusedError as refused:
            return refused.response

    async def create_by_name(self, call: Call) -> Response:
        model = BY_NAME.get(call.model)
        if model is None or not model.is_official:
            return not_found()
        try:
            return await self._create(call, model, _read_body(call, frozenset({"version"})))
        except RefusedError as refused:
            return refused.response

    async def show(self, call: Call) -> Response:
        job = self._queue.get(call.request.path_params["id"])
        if job is None or call.met("404_after_create"):
            return not_found()
        body = prediction_body(self._world, call.origin, job, is_removed=call.met("data_removed"))
        return JSONResponse(body | ({"status": "hibernating"} if call.met("unknown_status") else {}))

    async def cancel(self, call: Call) -> Response:
        job = self._queue.get(call.request.path_params["id"])
        if job is None:
            return not_found()
        if call.met("cancel_race"):
            before = prediction_body(self._world, call.origin, job)
            self._queue.finish(job)
            return JSONResponse(before)
        self._queue.cancel(job)
        return JSONResponse(prediction_body(self._world, call.origin, job))

    async def list(self, call: Call) -> Response:
        try:
            jobs = _between(self._world, call, list(reversed(self._queue.all())))
        except ValueError:
            return problem(400, "created_after and created_before must be dates and times.", title="Bad request")
        now_s = self._world.clock.now_s()
        if call.fault is not None and call.met("list_lag"):
            jobs = [job for job in jobs if now_s - job.created_s >= call.fault.seconds]
        if call.met("list_hides_running"):
            jobs = [job for job in jobs if job.state.is_final]
        return JSONResponse(_page(self._world, call, jobs))

    async def _create(self, call: Call, model: Model, given: dict[str, Any]) -> Response:
        wait_s, deadline_s = _wait_s(call.request), _deadline_s(call.request)
        values, misfits = read_input(model.fields, given["input"], takes_unknown=False)
        if misfits:
            return invalid_input(misfits)
        self._throttle()
        picture_px, unreadable = await _picture_px(call, values.get(model.picture_field))
        job = self._accept(call, model, given["input"], deadline_s)
        job.data = _plan(call, model, given=given["input"], values=values, picture_px=picture_px, number=job.number)
        if unreadable:
            job.data.error, job.ending = unreadable, JobState.FAILED
        self._queue.submit(job)
        if wait_s is not None:
            await self._wait(job, wait_s)
        return self._answer(call, job, wait_s)

    def _throttle(self) -> None:
        now_s = self._world.clock.now_s()
        while self._created and now_s - self._created[0] >= _MINUTE_S:
            self._created.popleft()
        if len(self._created) >= self._world.options.replicate_creates_per_min:
            raise RefusedError(FACES.throttled(_MINUTE_S - (now_s - self._created[0])))
        self._created.append(now_s)

    def _accept(self, call: Call, model: Model, given: dict[str, Any], deadline_s: float | None) -> Job:
        prediction_id = base64.b32encode(uuid4().bytes).decode().rstrip("=").lower()
        path = call.request.url.path.removeprefix("/replicate")
        number = self._world.accept("replicate", model.name, path, prediction_id, given)
        created_s = self._world.clock.now_s()
        job = Job(
            id=prediction_id,
            model=model.name,
            number=number,
            data=None,
            created_s=created_s,
            run_s=self._world.run_s("replicate", model.kind, number),
            end_by_s=NEVER if deadline_s is None else created_s + deadline_s,
        )
        _apply_fate(job, call.fault)
        return job

    async def _wait(self, job: Job, wait_s: float) -> None:
        """Wait until it has ended, or for so long; cancels and skipped time end it early too."""
        until_s = self._world.clock.now_s() + wait_s
        while not self._world.clock.stopped and (left_s := until_s - self._world.clock.now_s()) > 0:
            self._queue.settle()
            if job.state.is_final:
                return
            await self._world.clock.sleep(min(left_s, 0.05))

    def _answer(self, call: Call, job: Job, wait_s: float | None) -> Response:
        self._queue.settle()
        is_new = wait_s is None and not job.state.is_final
        body = prediction_body(self._world, call.origin, job, as_created=is_new)
        if call.met("201_unfinished"):
            body |= {"status": "processing", "output": output_of(self._world, call.origin, job)}
        if call.met("sparse_201"):
            body = {name: value for name, value in body.items() if name not in _SPARSE}
            body["urls"].pop("web")
        is_late = wait_s is not None and not job.state.is_final and not call.met("201_unfinished")
        left = self._world.options.replicate_creates_per_min - len(self._created)
        headers = {"ratelimit-remaining": str(left), "ratelimit-reset": "1"}
        if wait_s is not None:
            headers["Preference-Applied"] = f"wait={wait_s:g}"
        return JSONResponse(body, 202 if is_late else 201, headers=headers)


def _read_body(call: Call, unwanted: frozenset[str]) -> dict[str, Any]:
    try:
        given = call.json()
    except ValueError:
        raise RefusedError(problem(400, "The request body is not valid JSON.", title="Bad request")) from None
    if not isinstance(given, dict) or not isinstance(given.get("input"), dict):
        raise RefusedError(problem(422, "- input: input is required\n", title="Input validation failed"))
    if unknown := sorted(set(given) - (_BODY_KEYS - unwanted)):
        detail = f"- {unknown[0]}: Additional property {unknown[0]} is not allowed\n"
        raise RefusedError(problem(422, detail, title="Input validation failed"))
    webhook = given.get("webhook")
    if webhook is not None and not str(webhook).startswith("https://"):
        detail = "- webhook: Does not match format 'https URL'\n"
        raise RefusedError(problem(422, detail, title="Input validation failed"))
    return given


def _wait_s(request: Request) -> float | None:
    prefer = request.headers.get("prefer")
    if prefer is None:
        return None
    match = _PREFER.fullmatch(prefer.strip())
    if match is None:
        raise RefusedError(problem(422, "Prefer must be `wait`, or `wait=n` with n from 1 to 60."))
    return float(match[1]) if match[1] else _LONGEST_WAIT_S


def _deadline_s(request: Request) -> float | None:
    given = request.headers.get("cancel-after")
    if given is None:
        return None
    match = _DURATION.fullmatch(given.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    deadline_s = 3600.0 * hours + 60.0 * minutes + seconds
    if deadline_s < _SHORTEST_DEADLINE_S:
        raise RefusedError(problem(422, "Cancel-After must be a duration of at least 5 seconds, such as 30s or 1h30m."))
    return deadline_s


async def _picture_px(call: Call, url: str | None) -> tuple[tuple[int, int] | None, str]:
    if url is None:
        return None, ""
    try:
        return await in_thread(partial(picture_size_px, call.world, url), call.world), ""
    except UnreachableError:
        return None, "Failed to download the input file: 404 Not Found. (E006)"
    except UnreadableError:
        return None, "cannot identify image file '/tmp/input.png'"


def _plan(
    call: Call, model: Model, *, given: dict[str, Any], values: dict[str, Any], picture_px: Size | None, number: int
) -> Prediction:
    world, asked = call.world, values.get("seed")
    seed = asked if asked is not None else world.media_seed("replicate", number)
    spoiled = call.fault.name if call.fault and call.fault.name in SPOILED else ""
    look = world.media_seed(model.name, seed, values.get("prompt"))
    order = Order(values=values, picture_px=picture_px, seed=look, spoiled=spoiled)
    errors = {
        "run_failed": _RUN_ERROR,
        "content_rejected": model.nsfw_error,
        "moderation_after_run": model.nsfw_error,
    }
    return Prediction(
        model=model,
        shown_version=model.version or "hidden",
        given=given,
        plan=model.make(order),
        error=errors.get(call.fault.name) if call.fault else None,
        output_url=call.fault.value if call.fault and call.fault.name == "output_url" else None,
        seed=seed,
        steps=values.get(model.steps_field, _STEPS),
    )


def _apply_fate(job: Job, fault: Fault | None) -> None:
    fate = fault.name if fault else ""
    if fate in {"run_failed", "content_rejected", "moderation_after_run"}:
        job.ending = JobState.FAILED
    if fate == "content_rejected":
        job.run_s = 0.0
    if fate == "run_stuck":
        job.run_s = NEVER
    if fate in {"queue_stuck", "aborted"}:
        job.never_starts = True
    if fate == "aborted":
        job.end_by_s = min(job.end_by_s, job.created_s + job.run_s)


def _between(world: World, call: Call, jobs: list[Job]) -> list[Job]:
    query = call.request.query_params
    after, before = query.get("created_after"), query.get("created_before")
    if after is not None:
        after_s = world.clock.since_start_s(_moment(after))
        jobs = [job for job in jobs if job.created_s >= after_s]
    if before is not None:
        before_s = world.clock.since_start_s(_moment(before))
        jobs = [job for job in jobs if job.created_s < before_s]
    return [] if query.get("source") == "web" else jobs


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        message = "no time zone"
        raise ValueError(message)
    return moment


def _page(world: World, call: Call, jobs: list[Job]) -> dict[str, Any]:
    """Return a page, newest first; a cursor names the first prediction on its page."""
    ids = [job.id for job in jobs]
    cursor = call.request.query_params.get("cursor", "")
    start = ids.index(cursor) if cursor in ids else 0
    links = {"previous": ids[max(start - PAGE, 0)] if start else None}
    links["next"] = ids[start + PAGE] if start + PAGE < len(ids) else None
    url = call.request.url.remove_query_params("cursor")
    return {
        **{name: None if at is None else str(url.include_query_params(cursor=at)) for name, at in links.items()},
        "results": [prediction_body(world, call.origin, job) for job in jobs[start : start + PAGE]],
    }
