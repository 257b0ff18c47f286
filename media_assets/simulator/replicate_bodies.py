"""What the simulated Replicate says: prediction objects and problem documents.

Sources, read 2026-11-22: Replicate's OpenAPI document of 2026-04-09 for the fields, recorded replies and field reports
for the words of errors. No recording shows a 5xx, a 400 or a file's 404: those words are ours.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_assets.simulator.calls import Faces
from media_assets.simulator.files import StoredFile
from media_assets.simulator.inputs import Misfit
from media_assets.simulator.jobs import NEVER, Job, JobState
from media_assets.simulator.outputs import Output
from media_assets.simulator.replicate_models import Model
from media_assets.simulator.world import World

PREFIX: Final = "/replicate/v1"

RETENTION_S: Final = 3600.0
"""Input, output, logs and files of a prediction are removed this long after it ended (Replicate's OpenAPI document)."""

_TOKEN: Final = re.compile(r"Bearer r8_\S+")
_STATUS: Final = {
    JobState.QUEUED: "starting",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELED: "canceled",
    JobState.ABORTED: "aborted",
}
_BAR_WIDTH: Final = 10


@dataclass(kw_only=True)
class Prediction:
    """What is kept of a prediction besides its job."""

    model: Model
    shown_version: str
    """The version's id, or ``hidden`` of an official model."""
    given: dict[str, Any]
    plan: list[Output]
    error: str | None = None
    """Why it fails, where it does."""
    output_url: str | None = None
    """Handed out in the place of every real one."""
    seed: int = 0
    steps: int = 25
    """What the logs count up to."""
    stored: list[StoredFile] = field(default_factory=list)

    def outputs(self) -> list[dict[str, Any]]:
        """Return what the log tells of the outputs."""
        return [dict(output.facts) for output in self.plan]

    def links(self, world: World, expires_s: float) -> list[str]:
        """Return path and query of every output; they are stored when first asked for."""
        if not self.stored:
            for number, output in enumerate(self.plan):
                name = f"out-{number}.{output.suffix}" if self.model.is_list else f"output.{output.suffix}"
                stored = world.files.put(
                    output.make,
                    provider="replicate",
                    name=name,
                    mime=output.mime,
                    model=self.model.name,
                    expires_s=expires_s,
                )
                self.stored.append(stored)
        return [world.files.link(stored) for stored in self.stored]


def prediction_body(
    world: World, origin: str, job: Job, *, is_removed: bool = False, as_created: bool = False
) -> dict[str, Any]:
    """Return a prediction as the API shows it now.

    Args:
        world: The simulator.
        origin: Scheme, host and port of the request.
        job: The prediction.
        is_removed: Show it as after its retention, if it has ended.
        as_created: Show it as starting, though it may run: what every recorded reply to a create says.
    """
    kept: Prediction = job.data
    ended = job.state.is_final
    is_removed = ended and (is_removed or world.clock.now_s() >= (job.finished_s or 0.0) + RETENTION_S)
    here = f"{origin}{PREFIX}/predictions/{job.id}"
    state = JobState.QUEUED if as_created else job.state
    body: dict[str, Any] = {
        "id": job.id,
        "model": kept.model.name,
        "version": kept.shown_version,
        "input": {} if is_removed else kept.given,
        "logs": "" if is_removed or as_created else _logs(world, job),
        "output": None,
        "data_removed": is_removed,
        "error": kept.error if job.state is JobState.FAILED else None,
        "source": "api",
        "status": _STATUS[state],
        "created_at": world.clock.stamp(job.created_s),
        "urls": {"get": here, "cancel": f"{here}/cancel", "web": f"{origin}/replicate/p/{job.id}"},
    }
    if job.end_by_s < NEVER:
        body["deadline"] = world.clock.stamp(job.end_by_s)
    if job.started_s is not None and not as_created:
        body["started_at"] = world.clock.stamp(job.started_s)
    if job.finished_s is not None:
        body["completed_at"] = world.clock.stamp(job.finished_s)
        total_s = round(job.finished_s - job.created_s, 6)
        body["metrics"] = {"predict_time": round(job.compute_s, 6), "total_time": total_s}
    if job.state is JobState.SUCCEEDED and not is_removed:
        body["output"] = output_of(world, origin, job)
    return body


def output_of(world: World, origin: str, job: Job) -> Any:
    """Return the output's URLs: a list or one, as the model has it."""
    kept: Prediction = job.data
    ended_s = world.clock.now_s() if job.finished_s is None else job.finished_s
    links = [kept.output_url or origin + link for link in kept.links(world, ended_s + RETENTION_S)]
    return links if kept.model.is_list else links[0]


def _logs(world: World, job: Job) -> str:
    """Return log lines as tqdm writes them: the only place where progress shows."""
    if job.started_s is None:
        return ""
    kept: Prediction = job.data
    steps = kept.steps
    ran_s = (world.clock.now_s() if job.finished_s is None else job.finished_s) - job.started_s
    share = 1.0 if job.state is JobState.SUCCEEDED else min(ran_s / job.run_s if job.run_s else 1.0, 0.99)
    done = math.floor(share * steps)
    bar = ("#" * math.floor(share * _BAR_WIDTH)).ljust(_BAR_WIDTH)
    return f"Using seed: {kept.seed}\n{math.floor(share * 100):3d}%|{bar}| {done}/{steps} [00:00<00:00, 9.00it/s]\n"


def problem(status: int, detail: str, *, title: str | None = None, **more: Any) -> Response:
    """Return a problem document (RFC 7807) as Replicate words it."""
    body = ({"title": title} if title else {}) | {"detail": detail, "status": status} | more
    return JSONResponse(body, status, media_type="application/problem+json")


def not_found() -> Response:
    """Return the 404 of what does not exist, or not any more."""
    return problem(404, "The requested resource could not be found.")


def invalid_version() -> Response:
    """Return the 422 of a version that does not exist, and of a model that cannot be run without one."""
    detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
    return problem(422, detail, title="Invalid version or not permitted")


def invalid_input(misfits: list[Misfit]) -> Response:
    """Return the 422 of an input that does not fit the model."""
    fields = [_invalid_field(misfit) for misfit in misfits]
    lines = "".join(f"- {one['field']}: {one['description']}\n" for one in fields)
    return problem(422, lines, title="Input validation failed", invalid_fields=fields)


def _invalid_field(misfit: Misfit) -> dict[str, str]:
    here = f"input.{misfit.name}"
    field_ = misfit.field
    if misfit.reason == "required" or field_ is None:
        kind = "required" if field_ else "additional_property_not_allowed"
        said = f"{misfit.name} is required" if field_ else f"Additional property {misfit.name} is not allowed"
        return {"type": kind, "field": "input", "description": said}
    said, kind = {
        "type": (f"Invalid type. Expected: {_type_of(field_.kind)}, given: {_given(misfit.given)}", "invalid_type"),
        "choice": (f"{here} must be one of the following: {_quoted(field_.choices)}", "enum"),
        "low": (f"Must be greater than or equal to {field_.low:g}" if field_.low is not None else "", "number_gte"),
        "high": (f"Must be less than or equal to {field_.high:g}" if field_.high is not None else "", "number_lte"),
    }[misfit.reason]
    return {"type": kind, "field": here, "description": said}


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _type_of(kind: str) -> str:
    return {"integer": "integer", "number": "number", "flag": "boolean"}.get(kind, "string")


def _given(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


class ReplicateFaces(Faces):
    """Replicate's refusals."""

    provider = "replicate"

    def refuse_key(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if _TOKEN.fullmatch(given) and "invalid" not in given:
            return None
        return problem(401, "You did not pass a valid authentication token", title="Unauthenticated")

    def server_error(self, status: int) -> Response:
        title = {502: "Bad gateway", 503: "Service unavailable", 504: "Gateway timeout"}.get(status)
        return problem(status, "Something went wrong on our side.", title=title or "Internal server error")

    def throttled(self, wait_s: float | None) -> Response:
        # Documented words name a wait; a body without `retry_after` and without one exists in the field as well.
        if wait_s is None:
            return problem(429, "Request was throttled.")
        detail = f"Request was throttled. Your rate limit resets in ~{math.ceil(wait_s)}s."
        return problem(429, detail, retry_after=math.ceil(wait_s))

    def bad_request(self) -> Response:
        return problem(400, "The request could not be understood.", title="Bad request")

    def gone(self, model: str) -> Response:  # noqa: ARG002 - Replicate does not name it
        return not_found()

    def out_of_money(self) -> Response:
        detail = (
            "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
            "purchase credit."
        )
        return problem(402, detail, title="Insufficient credit")


FACES: Final = ReplicateFaces()
