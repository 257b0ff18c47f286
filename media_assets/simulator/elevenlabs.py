"""ElevenLabs' API: speech, made while the client waits, and the history that keeps it.

Shapes: the OpenAPI file of 2026-08-22. Headers of a reply: ElevenLabs' blog and recorded replies; the specification
lists none.
"""

import base64
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from media_assets.simulator.calls import OTHER, Call, Work, endpoint, in_thread, no_model
from media_assets.simulator.elevenlabs_account import described, subscription
from media_assets.simulator.elevenlabs_faces import ElevenLabsFaces, common_headers, new_id
from media_assets.simulator.elevenlabs_history import History, Item
from media_assets.simulator.elevenlabs_inputs import (
    DEFAULT_MODEL,
    MODELS,
    Format,
    HistoryQuery,
    Model,
    SpeechBody,
    SpeechQuery,
    StreamedQuery,
    VoiceSettings,
    credits_of,
    fastapi_errors,
    is_voice,
    read_format,
)
from media_assets.simulator.media import AUDIO_MIMES, SHORT_S, speech, speech_s
from media_assets.simulator.synchronous import Wanted, carry_out, strict_json
from media_assets.simulator.world import World

PREFIX: Final = "/elevenlabs"

_FACES: Final = ElevenLabsFaces()
_CHUNK_BYTES: Final = 16_384
_CHUNK_CHARACTERS: Final = 60
_METADATA_ADDRESS: Final = "http://169.254.169.254/latest/meta-data/"


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What a client asked for, checked."""

    voice_id: str
    body: SpeechBody
    model: Model
    format: Format
    is_logged: bool
    """Whether the history keeps it."""

    @property
    def mime(self) -> str:
        """Its content type; the specification knows only ``audio/mpeg``, for whatever format."""
        return AUDIO_MIMES[self.format.audio_format]


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What was made of it."""

    sound: bytes
    seconds: float
    text: str
    mime: str
    headers: dict[str, str]


Present = Callable[[Spoken], Response]
Body = TypeVar("Body", bound=BaseModel)


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of ElevenLabs' API."""
    history = History(world.clock)
    model_of_item = partial(_model_of_item, history)
    speak = f"{PREFIX}/v1/text-to-speech/{{voice_id}}"
    item = f"{PREFIX}/v1/history/{{item_id}}"

    def submission(path: str, present: Present, *, is_streamed: bool) -> BaseRoute:
        work = _speaking(history, present, is_streamed=is_streamed)
        return endpoint(world, _FACES, "POST", path, "submit", work, model_of=_model_of_body)

    def other(method: str, path: str, work: Callable[[History, Call], Awaitable[Response]]) -> BaseRoute:
        return endpoint(world, _FACES, method, f"{PREFIX}{path}", OTHER, partial(work, history))

    return [
        submission(speak, _as_bytes, is_streamed=False),
        submission(f"{speak}/with-timestamps", _with_timestamps, is_streamed=False),
        submission(f"{speak}/stream", _as_bytes, is_streamed=True),
        submission(f"{speak}/stream/with-timestamps", _lines_with_timestamps, is_streamed=True),
        endpoint(world, _FACES, "GET", f"{PREFIX}/v1/history", "list", partial(_list, history), model_of=no_model),
        endpoint(world, _FACES, "GET", item, "poll", partial(_show, history), model_of=model_of_item),
        endpoint(world, _FACES, "GET", f"{item}/audio", "download", partial(_audio, history), model_of=model_of_item),
        other("DELETE", "/v1/history/{item_id}", _remove),
        other("GET", "/v1/user/subscription", _subscription),
        other("GET", "/v1/models", _models),
    ]


def _model_of_body(_world: World, _request: Request, body: bytes) -> str:
    try:
        given = json.loads(body)
    except ValueError:
        return ""
    model = given.get("model_id", DEFAULT_MODEL) if isinstance(given, dict) else None
    return model if isinstance(model, str) else ""


def _model_of_item(history: History, _world: World, request: Request, _body: bytes) -> str:
    item = history.get(request.path_params["item_id"])
    return item.model_id if item else ""


def _speaking(history: History, present: Present, *, is_streamed: bool) -> Work:
    async def work(call: Call) -> Response:
        checked = _check(call, is_streamed=is_streamed)
        if isinstance(checked, Response):
            return checked
        if not call.world.enter("elevenlabs"):
            return _FACES.too_many_at_once(call.world.options.limit_at_once("elevenlabs"))
        try:
            spoken = await _speak(call, checked, history)
        finally:
            call.world.leave("elevenlabs")
        if spoken is not None:
            return present(spoken)
        faces = _told(call)
        return faces.content_rejected() if call.met("moderation_after_run") else faces.server_error(500)

    return work


def _told(call: Call) -> ElevenLabsFaces:
    return _FACES if call.fault is None else _FACES.as_told(call.fault)


def _check(call: Call, *, is_streamed: bool) -> Speech | Response:
    """Return what was asked for, or what is wrong with it, in the order in which FastAPI and then the service look."""
    errors: list[dict[str, Any]] = []
    query = _read(StreamedQuery if is_streamed else SpeechQuery, dict(call.request.query_params), errors, "query")
    body = _read(SpeechBody, _json(call), errors, "body")
    if query is None or body is None:
        return _FACES.misfits(errors)
    model = MODELS.get(body.model_id)
    voice_id = call.request.path_params["voice_id"]
    if model is None:
        return _FACES.gone(body.model_id)
    if not is_voice(voice_id):
        return _FACES.voice_not_found(voice_id)
    if len(body.text) > model.longest:
        return _FACES.too_long(len(body.text), model.longest)
    if call.met("content_rejected"):
        return _told(call).content_rejected()
    return Speech(
        voice_id=voice_id,
        body=body,
        model=model,
        format=read_format(query.output_format),
        is_logged=query.enable_logging,
    )


def _json(call: Call) -> Any:
    try:
        return strict_json(call.body)
    except ValueError:
        return None


def _read(model: type[Body], given: Any, errors: list[dict[str, Any]], where: str) -> Body | None:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        errors += fastapi_errors(error, where)
        return None


async def _speak(call: Call, wanted: Speech, history: History) -> Spoken | None:
    text, request_id = wanted.body.text, new_id()
    seconds = SHORT_S if call.met("short_output") else speech_s(text, wanted.body.speed)
    at_once = call.world.busy("elevenlabs")

    def make(number: int) -> bytes:
        return speech(
            f"{number} {wanted.voice_id} {text}",
            seconds,
            wanted.format.audio_format,
            wanted.format.sample_rate_hz,
            bit_rate_bps=wanted.format.bit_rate_bps,
            is_silent=call.met("silent_output"),
        )

    order = Wanted(
        provider="elevenlabs",
        endpoint=call.request.url.path.removeprefix(PREFIX),
        id=request_id,
        given=strict_json(call.body),
        kind="voice",
    )
    outcome = {"outputs": [{"kind": "audio", "duration_s": round(seconds, 6)}]}
    item = _item(wanted, order, call.world.clock.now_s(), history.used)
    if wanted.is_logged:
        history.add(item)
    done = await carry_out(call, order, make, outcome)
    if done is None:
        history.remove(item.id)
        return None
    number, sound = done
    counts = history.charge(credits_of(wanted.model, text))
    if wanted.is_logged:
        history.add(replace(item, count_from=counts[0], count_to=counts[1], make=partial(make, number)))
    headers = {
        "request-id": request_id,
        "character-cost": str(counts[1] - counts[0]),
        "current-concurrent-requests": str(at_once),
        "maximum-concurrent-requests": str(call.world.options.limit_at_once("elevenlabs")),
        **common_headers(),
    }
    return Spoken(sound=sound, seconds=seconds, text=text, mime=wanted.mime, headers=headers)


def _as_bytes(spoken: Spoken) -> Response:
    return StreamingResponse(_chunks(spoken.sound), headers={"content-type": spoken.mime, **spoken.headers})


def _with_timestamps(spoken: Spoken) -> Response:
    sound = base64.b64encode(spoken.sound).decode()
    alignment = _alignment(spoken, 0, len(spoken.text))
    body = {"audio_base64": sound, "alignment": alignment, "normalized_alignment": alignment}
    return JSONResponse(body, headers=spoken.headers)


def _lines_with_timestamps(spoken: Spoken) -> Response:
    return StreamingResponse(_lines(spoken), media_type="application/json", headers=spoken.headers)


async def _lines(spoken: Spoken) -> AsyncIterator[str]:
    starts = range(0, len(spoken.text), _CHUNK_CHARACTERS)
    step_bytes = math.ceil(len(spoken.sound) / len(starts))
    for number, start in enumerate(starts):
        part = spoken.sound[number * step_bytes : (number + 1) * step_bytes]
        alignment = _alignment(spoken, start, start + _CHUNK_CHARACTERS)
        line = {
            "audio_base64": base64.b64encode(part).decode(),
            "alignment": alignment,
            "normalized_alignment": alignment,
        }
        yield json.dumps(line) + "\n"


def _alignment(spoken: Spoken, start: int, end: int) -> dict[str, list[Any]]:
    """Say when each character is spoken: at an even pace."""
    characters = list(spoken.text[start:end])
    times_s = [round(spoken.seconds * (start + at) / len(spoken.text), 3) for at in range(len(characters) + 1)]
    return {
        "characters": characters,
        "character_start_times_seconds": times_s[:-1],
        "character_end_times_seconds": times_s[1:],
    }


def _item(wanted: Speech, order: Wanted, created_s: float, used: int) -> Item:
    settings = wanted.body.voice_settings or VoiceSettings()
    return Item(
        id=new_id(),
        request_id=order.id,
        voice_id=wanted.voice_id,
        model_id=wanted.model.id,
        text=wanted.body.text,
        settings=settings.model_dump(exclude_none=True),
        output_format=wanted.format.name,
        mime=wanted.mime,
        created_s=created_s,
        count_from=used,
        count_to=used,
        make=None,
    )


async def _list(history: History, call: Call) -> Response:
    errors: list[dict[str, Any]] = []
    query = _read(HistoryQuery, dict(call.request.query_params), errors, "query")
    if query is None:
        return _FACES.misfits(errors)
    lag_s = call.fault.seconds if call.fault and call.met("list_lag") else 0.0
    page = history.page(query, lag_s=lag_s, hides_running=call.met("list_hides_running"))
    return JSONResponse(page, headers=common_headers())


async def _show(history: History, call: Call) -> Response:
    item = history.get(call.request.path_params["item_id"])
    if item is None:
        return _FACES.history_item_not_found(call.request.path_params["item_id"])
    return JSONResponse(history.shown(item), headers=common_headers())


async def _audio(history: History, call: Call) -> Response:
    item = history.get(call.request.path_params["item_id"])
    if item is None or item.make is None or call.met("expired"):
        return _FACES.history_item_not_found(call.request.path_params["item_id"])
    if call.fault is not None and call.met("redirect_private"):
        return RedirectResponse(call.fault.value or _METADATA_ADDRESS, 302)
    sound = await in_thread(item.make, call.world)
    mime = "text/plain" if call.met("wrong_mime") else item.mime
    return StreamingResponse(_chunks(sound), headers={"content-type": mime, **common_headers()})


async def _remove(history: History, call: Call) -> Response:
    item_id = call.request.path_params["item_id"]
    if not history.remove(item_id):
        return _FACES.history_item_not_found(item_id)
    return JSONResponse({"status": "ok"}, headers=common_headers())


async def _subscription(history: History, _call: Call) -> Response:
    return JSONResponse(subscription(history.used), headers=common_headers())


async def _models(_history: History, _call: Call) -> Response:
    return JSONResponse([described(model) for model in MODELS.values()], headers=common_headers())


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield data[start : start + _CHUNK_BYTES]
