"""The built-in provider: free models that run in this process, behind the interface of the paid ones.

What a model does is in ``media/``; this file hands it our parameters.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from media_assets.errors import UnexpectedResponseError
from media_assets.media import animate, draw, merge, speak
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Fit
from media_assets.providers.base import Adapter, Asked, Deadlines, LocalArguments, LocalCall, LocalReply
from media_assets.request import GenerationRequest


def _landscape(call: LocalArguments) -> LocalReply:
    params = call.params
    size_px = (int(params["width"]), int(params["height"]))
    draw.write_landscape(
        str(params["prompt"]), seed=int(params["seed"]), size_px=size_px, target=call.target, work=call.work
    )
    return LocalReply(path=call.target)


def _ken_burns(call: LocalArguments) -> LocalReply:
    params = call.params
    size_px = (int(params["width"]), int(params["height"]))
    caption = params.get("caption")
    left_out = animate.write_ken_burns(
        call.inputs["image"],
        call.target,
        size_px=size_px,
        fps=int(params["fps"]),
        duration_s=float(params["duration_s"]),
        zoom=float(params["zoom"]),
        seed=int(params["seed"]),
        caption=None if caption is None else str(caption),
        work=call.work,
        deadline_s=call.deadline_s,
    )
    notes = [f"caption left out: {left_out}"] if left_out else []
    if any(side % 2 for side in size_px):
        notes.append("an odd side of the picture is one pixel less here: h264 needs even ones")
    return LocalReply(path=call.target, notes=tuple(notes))


def _piper(call: LocalArguments) -> LocalReply:
    speak.write_speech(str(call.params["script"]), call.target, speed=float(call.params["speed"]), work=call.work)
    return LocalReply(path=call.target)


def _silence(call: LocalArguments) -> LocalReply:
    speak.write_silence(call.target, duration_s=float(call.params["duration_s"]))
    return LocalReply(path=call.target)


def _merge(call: LocalArguments) -> LocalReply:
    merge.write_film(
        call.inputs["video"],
        call.inputs.get("audio"),
        call.target,
        fit=Fit(str(call.params["fit"])),
        work=call.work,
        deadline_s=call.deadline_s,
    )
    return LocalReply(path=call.target)


_MODELS: Mapping[str, tuple[Callable[[LocalArguments], LocalReply], str]] = {
    "ken_burns": (_ken_burns, "mp4"),
    "landscape": (_landscape, "png"),
    "merge": (_merge, "mp4"),
    "piper": (_piper, "wav"),
    "silence": (_silence, "wav"),
}


def _call_as(extension: str, function: Callable[[LocalArguments], LocalReply], call: LocalArguments) -> LocalReply:
    named = LocalArguments(
        params=call.params,
        inputs=call.inputs,
        target=call.target.with_suffix(f".{extension}"),
        deadline_s=call.deadline_s,
        work=call.work,
    )
    return function(named)


class LocalAdapter(Adapter):
    """Calls instead of HTTP; the reply is the file a model wrote."""

    name = "local"

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> LocalCall:
        """Return the call of the model. Free: it reads its inputs where they are."""
        del inputs, deadlines
        function, extension = _MODELS[request.endpoint]
        return LocalCall(function=partial(_call_as, extension, function), params=request.params)

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        del asked, prediction
        if not isinstance(reply, LocalReply):
            message = f"a local model answered with {type(reply).__name__}"
            raise UnexpectedResponseError(message, provider=self.name)
        return Prediction(
            id=reply.path.parent.name,
            state=State.SUCCEEDED,
            outputs=(Output(path=reply.path),),
            notes=reply.notes,
        )
