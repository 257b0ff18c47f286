"""OpenAI's API: pictures and speech, made while the client waits.

Shapes: the OpenAPI file of 2026-08-21. There is no id to ask again with and no idempotency key: a reply that is lost
was paid for.
"""

import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from media_assets.simulator.calls import OTHER, Call, Faces, Work, endpoint, model_in_body
from media_assets.simulator.media import SHORT_S, picture, speech, speech_s, tiny_size_px
from media_assets.simulator.openai_inputs import (
    IMAGE_MODEL,
    SPEECH_MODEL,
    Problem,
    audio_tokens,
    image_problem,
    image_tokens,
    quality,
    size_px,
    speech_problem,
    text_tokens,
)
from media_assets.simulator.synchronous import Wanted, carry_out, strict_json
from media_assets.simulator.world import World

PREFIX: Final = "/openai/v1"

_SPEECH_RATE_HZ: Final = 24_000
_CHUNK_BYTES: Final = 16_384
_REQUESTS_PER_MIN: Final = 500
_SPECIFIED_SIZES: Final = {"1024x1024", "1024x1536", "1536x1024"}
"""What the specification lets ``size`` in a reply be. Others can be ordered but not named there, so that it is left
out; what the live service does is unknown (2026-11-22)."""
_MODELS: Final[Mapping[str, Mapping[str, Any]]] = {
    IMAGE_MODEL: {"created": 1_776_729_600, "shutdown_date": None},
    SPEECH_MODEL: {"created": 1_742_403_959, "shutdown_date": "2027-01-06"},
}
"""Shutdown dates: OpenAI's page of deprecations, read 2026-11-22. The dates of creation are made up."""


class OpenAIFaces(Faces):
    """OpenAI's refusals: ``{"error": {message, type, param, code}}``."""

    provider = "openai"

    def refuse_key(self, request: Request) -> Response | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            return _error(401, "You didn't provide an API key.", "invalid_request_error", code=None)
        if not key.startswith("sk-") or "invalid" in key:
            message = f"Incorrect API key provided: {key[:3]}{'*' * 8}{key[-2:]}."
            return _error(401, message, "invalid_request_error", code="invalid_api_key")
        return None

    def server_error(self, status: int) -> Response:
        message = "The server had an error while processing your request. Sorry about that!"
        return _error(status, message, "server_error", code="server_error")

    def throttled(self, wait_s: float | None) -> Response:
        wait = "" if wait_s is None else f" Please try again in {wait_s:g}s."
        message = f"Rate limit reached on requests per min (RPM).{wait}"
        return _error(429, message, "requests", code="rate_limit_exceeded")

    def bad_request(self) -> Response:
        return _refused(Problem("Invalid value for this request.", "model", "invalid_value"))

    def gone(self, model: str) -> Response:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return _error(404, message, "invalid_request_error", code="model_not_found")

    def out_of_money(self) -> Response:
        message = "You exceeded your current quota, please check your plan and billing details."
        return _error(429, message, "insufficient_quota", code="insufficient_quota")

    def moderated(self, stage: str, *, is_image: bool) -> Response:
        """Return the refusal of a content policy, before (``input``) or after (``output``) the work.

        The face of speech is unknown (2026-11-22): it is taken to differ in its type only.
        """
        error_type = "image_generation_user_error" if is_image else "invalid_request_error"
        details = {"moderation_stage": stage, "categories": ["violence"]}
        message = "Your request was rejected by the safety system."
        return _error(400, message, error_type, code="moderation_blocked", moderation_details=details)


_FACES: Final = OpenAIFaces()


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of OpenAI's API."""

    def submission(path: str, work: Work) -> BaseRoute:
        def model_of(_world: World, _request: Request, body: bytes) -> str:
            return model_in_body(body)

        return endpoint(world, _FACES, "POST", f"{PREFIX}{path}", "submit", work, model_of=model_of)

    return [
        submission("/images/generations", _make_images),
        submission("/audio/speech", _make_speech),
        endpoint(world, _FACES, "GET", f"{PREFIX}/models", OTHER, _list_models),
        endpoint(world, _FACES, "GET", f"{PREFIX}/models/{{model}}", OTHER, _show_model),
    ]


async def _make_images(call: Call) -> Response:
    given = _given(call)
    if given is None:
        return _no_json()
    if call.model not in {IMAGE_MODEL, ""}:
        return _FACES.gone(call.model)
    if problem := image_problem(given):
        return _refused(problem)
    if call.met("content_rejected"):
        return _FACES.moderated("input", is_image=True)
    if not call.world.enter("openai"):
        return _too_many()
    try:
        return await _images(call, given)
    finally:
        call.world.leave("openai")


async def _images(call: Call, given: Mapping[str, Any]) -> Response:
    count = given.get("n") or 1
    usage = _image_usage(given, count)
    size = tiny_size_px(size_px(given)) if call.met("tiny_output") else size_px(given)
    mime = f"image/{given.get('output_format') or 'png'}"

    def make(number: int) -> list[str]:
        made = (
            picture(
                size,
                mime,
                call.world.media_seed("openai", number, index),
                is_black=call.met("black_output"),
                has_alpha=given.get("background") == "transparent",
            )
            for index in range(count)
        )
        return [base64.b64encode(data).decode() for data in made]

    outcome = {
        "tokens": {"text_in": usage["input_tokens"], "image_in": 0, "image_out": usage["output_tokens"]},
        "outputs": [{"kind": "image", "width_px": size[0], "height_px": size[1]}] * count,
    }
    request_id = _request_id()
    wanted = Wanted(provider="openai", endpoint="/v1/images/generations", id=request_id, given=given, kind="picture")
    done = await carry_out(call, wanted, make, outcome)
    if done is None:
        return _failed(call, is_image=True)
    _, pictures = done
    if given.get("stream"):
        events = _image_events(call, given, pictures, usage)
        return _event_stream(events, request_id)
    data = [{"b64_json": one} for one in pictures]
    body = {"created": _now(call), "data": data, **_image_facts(given), "usage": usage}
    if _size_text(given) not in _SPECIFIED_SIZES:
        del body["size"]
    return JSONResponse(body, headers=_headers(request_id))


def _image_usage(given: Mapping[str, Any], count: int) -> dict[str, Any]:
    text, image = text_tokens(given["prompt"]), image_tokens(given) * count
    return {
        "input_tokens": text,
        "output_tokens": image,
        "total_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": 0},
        "output_tokens_details": {"image_tokens": image, "text_tokens": 0},
    }


def _image_facts(given: Mapping[str, Any]) -> dict[str, str]:
    return {
        "background": "transparent" if given.get("background") == "transparent" else "opaque",
        "output_format": given.get("output_format") or "png",
        "quality": quality(given),
        "size": _size_text(given),
    }


def _size_text(given: Mapping[str, Any]) -> str:
    width_px, height_px = size_px(given)
    return f"{width_px}x{height_px}"


def _image_events(
    call: Call, given: Mapping[str, Any], pictures: list[str], usage: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    facts = {"created_at": _now(call), **_image_facts(given)}
    # Of the specification's two forms of usage, an event has the one that does not tell output tokens apart.
    told = {name: value for name, value in usage.items() if name != "output_tokens_details"}
    for one in pictures:
        for index in range(given.get("partial_images") or 0):
            yield {"type": "image_generation.partial_image", "b64_json": one, "partial_image_index": index, **facts}
        yield {"type": "image_generation.completed", "b64_json": one, "usage": told, **facts}


async def _make_speech(call: Call) -> Response:
    given = _given(call)
    if given is None:
        return _no_json()
    if call.model not in {SPEECH_MODEL, ""}:
        return _FACES.gone(call.model)
    if problem := speech_problem(given):
        return _refused(problem)
    if call.met("content_rejected"):
        return _FACES.moderated("input", is_image=False)
    if not call.world.enter("openai"):
        return _too_many()
    try:
        return await _speech(call, given)
    finally:
        call.world.leave("openai")


async def _speech(call: Call, given: Mapping[str, Any]) -> Response:
    seconds = SHORT_S if call.met("short_output") else speech_s(given["input"], given.get("speed") or 1.0)
    usage = _speech_usage(given, seconds)

    def make(number: int) -> bytes:
        return speech(
            f"{number} {given['voice']} {given['input']}",
            seconds,
            given.get("response_format") or "mp3",
            _SPEECH_RATE_HZ,
            is_silent=call.met("silent_output"),
        )

    outcome = {
        "tokens": {"text_in": usage["input_tokens"], "audio_out": usage["output_tokens"]},
        "outputs": [{"kind": "audio", "duration_s": round(seconds, 6)}],
    }
    request_id = _request_id()
    wanted = Wanted(provider="openai", endpoint="/v1/audio/speech", id=request_id, given=given, kind="voice")
    done = await carry_out(call, wanted, make, outcome)
    if done is None:
        return _failed(call, is_image=False)
    _, sound = done
    if given.get("stream_format") == "sse":
        return _event_stream(_speech_events(sound, usage), request_id)
    # The specification says bytes in chunks, without a more telling type than this one, and no usage.
    return StreamingResponse(_chunks(sound), media_type="application/octet-stream", headers=_headers(request_id))


def _speech_usage(given: Mapping[str, Any], seconds: float) -> dict[str, int]:
    text, audio = text_tokens(given["input"], given.get("instructions")), audio_tokens(seconds)
    return {"input_tokens": text, "output_tokens": audio, "total_tokens": text + audio}


def _speech_events(sound: bytes, usage: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(sound), _CHUNK_BYTES):
        part = base64.b64encode(sound[start : start + _CHUNK_BYTES]).decode()
        yield {"type": "speech.audio.delta", "audio": part}
    yield {"type": "speech.audio.done", "usage": usage}


async def _list_models(_call: Call) -> Response:
    return JSONResponse({"object": "list", "data": [_model(name) for name in _MODELS]})


async def _show_model(call: Call) -> Response:
    name = call.request.path_params["model"]
    return JSONResponse(_model(name)) if name in _MODELS else _FACES.gone(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "system", **_MODELS[name]}


def _given(call: Call) -> dict[str, Any] | None:
    try:
        given = strict_json(call.body)
    except ValueError:
        return None
    return given if isinstance(given, dict) else None


def _failed(call: Call, *, is_image: bool) -> Response:
    if call.met("moderation_after_run"):
        return _FACES.moderated("output", is_image=is_image)
    return _FACES.server_error(500)


def _too_many() -> Response:
    response = _FACES.throttled(1.0)
    response.headers["Retry-After"] = "1"
    return response


def _no_json() -> Response:
    message = "We could not parse the JSON body of your request."
    return _error(400, message, "invalid_request_error", code=None)


def _refused(problem: Problem) -> Response:
    return _error(400, problem.message, "invalid_request_error", code=problem.code, param=problem.param)


def _error(
    status: int, message: str, error_type: str, *, code: str | None, param: str | None = None, **more: Any
) -> Response:
    error = {"message": message, "type": error_type, "param": param, "code": code, **more}
    return JSONResponse({"error": error}, status, headers=_headers(_request_id()))


def _headers(request_id: str) -> dict[str, str]:
    """Return what every reply carries; the counts of the rate limit are made up and never run out."""
    return {
        "x-request-id": request_id,
        "openai-organization": "simulated",
        "openai-processing-ms": "250",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": str(_REQUESTS_PER_MIN),
        "x-ratelimit-remaining-requests": str(_REQUESTS_PER_MIN - 1),
        "x-ratelimit-reset-requests": "120ms",
    }


def _request_id() -> str:
    return f"req_{uuid4().hex}"


def _now(call: Call) -> int:
    return int(call.world.clock.utc().timestamp())


def _event_stream(events: Iterator[Mapping[str, Any]], request_id: str) -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in events:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers=_headers(request_id))


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield data[start : start + _CHUNK_BYTES]
