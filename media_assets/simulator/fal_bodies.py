"""What the simulated fal says: queue bodies, results, and errors in its two shapes.

Sources, read 2026-11-22: fal's documentation of its queue and of errors. The words of 401, of 404 at submit, of a 5xx
and of a result asked for too early are not in it: ours, or third parties'.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_assets.simulator.calls import Faces
from media_assets.simulator.fal_models import Model
from media_assets.simulator.faults import Fault
from media_assets.simulator.files import StoredFile
from media_assets.simulator.inputs import Misfit
from media_assets.simulator.jobs import Job, JobState
from media_assets.simulator.outputs import Output
from media_assets.simulator.world import World

PREFIX: Final = "/fal-queue"

KEPT_S: Final = 7 * 24 * 3600.0
"""Media can be had for at least 7 days (fal's FAQ; another page says for ever)."""

_KEY: Final = re.compile(r"Key [^:\s]+:\S+")
_ERROR_PAGE: Final = "https://docs.fal.ai/errors/#"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a request has no output."""

    status: int
    """Of the result's reply."""
    detail: Any
    """A list for what the model says, a text for what the infrastructure says."""
    error_type: str
    is_retryable: bool = False
    timeout_type: str = ""
    """``user`` when it was the client's own deadline."""

    @property
    def is_infrastructure(self) -> bool:
        """Whether the status tells of it too."""
        return isinstance(self.detail, str)

    def response(self) -> Response:
        """Return the result's reply."""
        body = {"detail": self.detail} | ({"error_type": self.error_type} if self.is_infrastructure else {})
        headers = {"X-Fal-Error-Type": self.error_type, "X-Fal-Retryable": str(self.is_retryable).lower()}
        if self.timeout_type:
            headers["X-Fal-Request-Timeout-Type"] = self.timeout_type
        return JSONResponse(body, self.status, headers=headers)


CANCELED: Final = Failure(status=499, detail="Request was cancelled by the client", error_type="client_cancelled")
NOT_STARTED: Final = Failure(status=504, detail="Request timed out", error_type="request_timeout", timeout_type="user")
RUN_FAILED: Final = Failure(
    status=500, detail="Runner failed to process the request", error_type="runner_server_error", is_retryable=True
)

BY_MODEL: Final = "model"
"""A rule's ``value`` that has a fault told by the model, in a list, and not by the platform around it."""

_MODEL_FAULTS: Final[Mapping[int, str]] = {504: "generation_timeout", 503: "downstream_service_unavailable"}
"""What a model says of a fault of its own; ``internal_server_error`` for every other status."""


@dataclass(kw_only=True)
class FalRequest:
    """What is kept of a request besides its job."""

    model: Model
    values: Mapping[str, Any]
    plan: list[Output]
    seed: int
    failure: Failure | None = None
    """Why it fails, where it does."""
    output_url: str | None = None
    """Handed out in the place of every real one."""
    is_black: bool = False
    """Whether the safety checker is said to have blackened it."""
    stored: list[StoredFile] = field(default_factory=list)

    def outputs(self) -> list[dict[str, Any]]:
        """Return what the log tells of the outputs."""
        return [dict(output.facts) for output in self.plan]


def model_error(loc: list[str], kind: str, said: str, given: Any, **ctx: Any) -> dict[str, Any]:
    """Return one entry of a model's ``detail`` list."""
    entry = {"loc": ["body", *loc], "msg": said, "type": kind, "url": _ERROR_PAGE + kind, "input": given}
    return entry | ({"ctx": ctx} if ctx else {})


def invalid_input(misfits: list[Misfit], given: Any) -> Failure:
    """Return the failure of an input that does not fit the model."""
    return Failure(status=422, detail=[_misfit(one, given) for one in misfits], error_type="validation_error")


def _misfit(misfit: Misfit, given: Any) -> dict[str, Any]:
    path, known = list(misfit.path), misfit.field
    if misfit.reason == "required" or known is None:
        return model_error(path, "missing", "Field required", given)
    if misfit.reason == "choice":
        said = f"Input should be one of: {', '.join(known.choices)}"
        return model_error(path, "one_of", said, misfit.given, expected=list(known.choices))
    if misfit.reason == "low":
        said = f"Input should be greater than or equal to {known.low:g}"
        return model_error(path, "greater_than_equal", said, misfit.given, ge=known.low)
    if misfit.reason == "high":
        said = f"Input should be less than or equal to {known.high:g}"
        return model_error(path, "less_than_equal", said, misfit.given, le=known.high)
    names = {"integer": "int", "number": "float", "flag": "bool", "object": "dict", "list": "list"}
    name = names.get(known.kind, "string")
    return model_error(path, f"{name}_type", f"Input should be a valid {name}", misfit.given)


def model_fault(status: int) -> Failure:
    """Return the failure of a model that broke: the status of the request tells nothing of it."""
    kind = _MODEL_FAULTS.get(status, "internal_server_error")
    entry = model_error([], kind, "The model failed to process the request.", None)
    return Failure(status=status, detail=[entry], error_type=kind, is_retryable=True)


def content_rejected(given: Mapping[str, Any]) -> Failure:
    """Return the failure of what the content checker refuses."""
    said = "The content could not be processed because it contained material flagged by a content checker."
    entry = model_error(["prompt"], "content_policy_violation", said, given.get("prompt"))
    return Failure(status=422, detail=[entry], error_type="content_policy_violation")


def unreadable_picture(name: str, url: str, *, is_there: bool) -> Failure:
    """Return the failure of an input picture that cannot be fetched, or cannot be decoded."""
    kind = "image_load_error" if is_there else "file_download_error"
    said = "Failed to load the image" if is_there else "Failed to download the file"
    shown = url if len(url) <= 256 else f"{url[:256]}..."  # noqa: PLR2004 - nobody wants a data URI back
    return Failure(status=422, detail=[model_error([name], kind, said, shown)], error_type=kind)


def failure_of(job: Job) -> Failure | None:
    """Return why an ended job has no output, or None when it has one."""
    if job.state is JobState.SUCCEEDED:
        return None
    if job.state is JobState.ABORTED:
        return NOT_STARTED
    if job.state is JobState.CANCELED:
        return CANCELED
    kept: FalRequest = job.data
    return kept.failure


def links_of(origin: str, job: Job) -> dict[str, str]:
    """Return a request's three URLs, in the short form."""
    kept: FalRequest = job.data
    here = f"{origin}{PREFIX}/{kept.model.app}/requests/{job.id}"
    return {"response_url": here, "status_url": f"{here}/status", "cancel_url": f"{here}/cancel"}


def status_body(world: World, origin: str, job: Job, position: int, *, with_logs: bool) -> dict[str, Any]:
    """Return the status of a request, as the queue's documentation lists its keys."""
    body: dict[str, Any] = {"request_id": job.id, "response_url": links_of(origin, job)["response_url"]}
    if job.state is JobState.QUEUED:
        return {"status": "IN_QUEUE", **body, "queue_position": position}
    body["logs"] = _logs(world, job) if with_logs else None
    if job.state is JobState.RUNNING:
        return {"status": "IN_PROGRESS", **body}
    body["metrics"] = {"inference_time": round(job.compute_s, 6)} if job.started_s is not None else {}
    failure = failure_of(job)
    if failure is not None and failure.is_infrastructure:
        body |= {"error": failure.detail, "error_type": failure.error_type}
    return {"status": "COMPLETED", **body}


def _logs(world: World, job: Job) -> list[dict[str, str]]:
    if job.started_s is None:
        return []
    stamp = world.clock.stamp(job.started_s)
    return [{"message": "Running the model", "timestamp": stamp, "level": "INFO", "source": "USER"}]


async def result_body(world: World, origin: str, job: Job) -> dict[str, Any]:
    """Return a successful request's output, which is the model's own object without any envelope."""
    kept: FalRequest = job.data
    _store(world, kept, (job.finished_s or 0.0) + KEPT_S)
    if kept.model.kind == "picture":
        return await _pictures(world, origin, kept, job)
    if kept.model.kind == "clip":
        clip = await _file(world, origin, kept, kept.stored[0])
        return {"video": clip} | ({"seed": kept.seed} if kept.model.tells_seed else {})
    return await _voice(world, origin, kept)


def payload_of(world: World, origin: str, job: Job) -> dict[str, Any]:
    """Return a successful request's output as the account's list keeps it: every file by its URL alone.

    So that nothing has to be drawn for a list; the result itself says more of each file, or has it inside.
    """
    kept: FalRequest = job.data
    _store(world, kept, (job.finished_s or 0.0) + KEPT_S)
    urls = [{"url": kept.output_url or origin + world.files.link(stored)} for stored in kept.stored]
    if kept.model.kind == "picture":
        return {"images": urls}
    return {"video" if kept.model.kind == "clip" else "audio": urls[0]}


def _store(world: World, kept: FalRequest, expires_s: float) -> None:
    if kept.stored:
        return
    for output in kept.plan:
        name, model = f"{uuid4().hex}.{output.suffix}", kept.model.name
        kept.stored.append(
            world.files.put(output.make, provider="fal", name=name, mime=output.mime, model=model, expires_s=expires_s)
        )


async def _pictures(world: World, origin: str, kept: FalRequest, job: Job) -> dict[str, Any]:
    images = []
    for output, stored in zip(kept.plan, kept.stored, strict=True):
        url = kept.output_url or origin + world.files.link(stored)
        if kept.values["sync_mode"]:
            content = base64.b64encode(await world.files.read(stored)).decode()
            url = f"data:{stored.mime};base64,{content}"
        size = {"width": output.facts["width_px"], "height": output.facts["height_px"]}
        images.append({"url": url, **size, "content_type": stored.mime})
    return {
        "images": images,
        "timings": {"inference": round(job.compute_s, 6)},
        "seed": kept.seed,
        "has_nsfw_concepts": [kept.is_black] * len(images),
        "prompt": kept.values["prompt"],
    }


async def _voice(world: World, origin: str, kept: FalRequest) -> dict[str, Any]:
    stored = kept.stored[0]
    if "output_format" not in kept.model.fields:
        return {"audio": await _file(world, origin, kept, stored)}
    duration_ms = round(kept.plan[0].facts["duration_s"] * 1000)
    if kept.values["output_format"] == "hex":
        return {"audio": (await world.files.read(stored)).hex(), "duration_ms": duration_ms}
    return {"audio": await _file(world, origin, kept, stored), "duration_ms": duration_ms}


async def _file(world: World, origin: str, kept: FalRequest, stored: StoredFile) -> dict[str, Any]:
    return {
        "url": kept.output_url or origin + world.files.link(stored),
        "content_type": stored.mime,
        "file_name": stored.name,
        "file_size": len(await world.files.read(stored)),
    }


class FalFaces(Faces):
    """fal's refusals."""

    provider = "fal"

    def __init__(self, *, by_model: bool = False) -> None:
        """Speak for the platform, or as a model does of its own faults."""
        self._by_model = by_model

    def as_told(self, fault: Fault) -> "FalFaces":
        return FalFaces(by_model=True) if fault.value == BY_MODEL else self

    def refuse_key(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if _KEY.fullmatch(given) and "invalid" not in given:
            return None
        return _refusal(401, "Cannot access application. Authentication is required to access this application.")

    def server_error(self, status: int) -> Response:
        if self._by_model:
            return model_fault(status).response()
        kinds = {
            502: ("runner_incomplete_response", "Runner sent an incomplete response"),
            503: ("runner_scheduling_failure", "No runner could be scheduled"),
            504: ("startup_timeout", "Runner startup timed out"),
        }
        kind, said = kinds.get(status, ("internal_error", "Internal server error"))
        return _refusal(status, said, kind, is_retryable=True)

    def throttled(self, wait_s: float | None) -> Response:  # noqa: ARG002 - fal names no wait
        said = "You have reached the concurrent requests limit."
        return _refusal(429, said, "concurrent_requests_limit", is_retryable=True)

    def bad_request(self) -> Response:
        return _refusal(400, "Bad request", "bad_request")

    def gone(self, model: str) -> Response:
        return _refusal(404, f"Application '{model.rpartition('/')[2]}' not found")

    def out_of_money(self) -> Response:
        return _refusal(
            403, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
        )


def _refusal(status: int, said: str, kind: str = "", *, is_retryable: bool = False) -> Response:
    headers = {"x-fal-request-id": str(uuid4())}
    if kind:
        headers |= {"X-Fal-Error-Type": kind, "X-Fal-Retryable": str(is_retryable).lower()}
    return JSONResponse({"detail": said} | ({"error_type": kind} if kind else {}), status, headers=headers)


FACES: Final = FalFaces()
