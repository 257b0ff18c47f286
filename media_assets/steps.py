"""The four steps: which request each one makes of a prompt, and how long what it makes should be.

Pure: no ledger, no files. A step's request names its inputs by *their* request keys, so the whole chain can be
written down, priced and looked up before anything is made. Buying and judging what is written here is in ``chain.py``.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from media_assets.catalog import ModelSpec
from media_assets.errors import Problem
from media_assets.media.spoken_text import estimate_speech_s, unspeakable
from media_assets.prompt import Prompt, Scalar, Step
from media_assets.request import GenerationRequest, InputRef, derived_seed

VOICE_MARGIN, VOICE_TAIL_S = 1.15, 0.5
"""A clip that follows the voice is made longer than the estimate, which may be short by about this much."""

AFTER_VIDEO_TOLERANCE = 0.10
"""With ``audio_timing: after_video`` speech and clip differ by at most this fraction of the clip."""

_INPUT_ROLES = frozenset({"image", "video", "audio"})


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One step as it would be asked of one model."""

    spec: ModelSpec
    request: GenerationRequest
    length_s: float | None
    """Expected length of what it makes; None for a picture."""
    problems: tuple[Problem, ...]


def expected_voice_s(script: str, spec: ModelSpec, *, speed: float = 1.0) -> float:
    """Return how long ``script`` will take to speak, in seconds, before it is spoken."""
    if spec.characters_per_s is None:
        return estimate_speech_s(script, speed=speed)
    return len(script) / spec.characters_per_s / speed


def draft_image(prompt: Prompt, spec: ModelSpec) -> Draft:
    """Write down the picture's request."""
    return _draft(prompt, Step.IMAGE, spec, _picture_values(prompt, Step.IMAGE) | {"prompt": prompt.prompt}, {})


def draft_video(prompt: Prompt, spec: ModelSpec, *, voice: ModelSpec | None, image_key: str) -> Draft:
    """Write down the clip's request.

    Args:
        prompt: What is asked for.
        spec: The model.
        voice: The model that will speak, for a clip whose length follows the narration.
        image_key: The request key of the picture.
    """
    length_s, problems = _clip_length(prompt, spec, voice)
    values = _picture_values(prompt, Step.VIDEO) | {
        "prompt": prompt.motion or prompt.prompt,
        "caption": prompt.caption,
        "length": length_s,
    }
    return _draft(prompt, Step.VIDEO, spec, values, {"image": image_key}, length_s=length_s, problems=problems)


def draft_audio(prompt: Prompt, spec: ModelSpec, *, clip_s: float, match_clip: bool = False) -> Draft:
    """Write down the voice's request; without a script, that of a silent track as long as the clip.

    Args:
        prompt: What is asked for.
        spec: The model.
        clip_s: Length of the clip, probed or expected.
        match_clip: Whether the voice's speed is chosen so that it lasts as long as the clip.
    """
    script = prompt.script
    if script is None:
        return _draft(prompt, Step.AUDIO, spec, {"length": round(clip_s, 2)}, {}, length_s=clip_s)
    problems = []
    speed = _chosen_speed(prompt, spec)
    if match_clip and not spec.silent:
        speed, fault = _matching_speed(spec, script, clip_s)
        problems += [Problem(Step.AUDIO, "script", fault)] if fault else []
    fault = unspeakable(script) if spec.writing_systems else None
    problems += [Problem(Step.AUDIO, "script", fault)] if fault else []
    length_s = expected_voice_s(script, spec, speed=speed)
    values = {"script": script, "voice": prompt.voice, "speed": speed, "length": round(length_s, 2)}
    return _draft(prompt, Step.AUDIO, spec, values, {}, length_s=length_s, problems=problems)


def draft_merged(prompt: Prompt, spec: ModelSpec, *, video_key: str, audio_key: str) -> Draft:
    """Write down the film's request; without a script it is the clip alone, with the clip's own sound if it has any."""
    inputs = {"video": video_key} if prompt.script is None else {"video": video_key, "audio": audio_key}
    return _draft(prompt, Step.MERGED, spec, {"fit": str(prompt.fit)}, inputs)


def _picture_values(prompt: Prompt, step: Step) -> dict[str, Any]:
    take = prompt.take_of(step)
    seed = prompt.seed if prompt.seed is not None else derived_seed(prompt.prompt, step, take)
    return {"seed": seed, "width": prompt.size_px[0], "height": prompt.size_px[1]}


def _clip_length(prompt: Prompt, spec: ModelSpec, voice: ModelSpec | None) -> tuple[float, list[Problem]]:
    limits = spec.length_s
    if limits is None:
        return prompt.clip_s or 0.0, []
    if prompt.clip_s is not None:
        if limits.min <= prompt.clip_s <= limits.max:
            return prompt.clip_s, []
        fault = f"{spec.id} makes {limits.min:g} to {limits.max:g} s, not {prompt.clip_s:g} s"
        return prompt.clip_s, [Problem(Step.VIDEO, "clip_s", fault)]
    if spec.length_follows_voice and prompt.script is not None and voice is not None:
        voice_s = expected_voice_s(prompt.script, voice)
        wanted = max(limits.default, voice_s * VOICE_MARGIN + VOICE_TAIL_S)
        return round(min(wanted, limits.max), 2), []
    return limits.default, []


def _chosen_speed(prompt: Prompt, spec: ModelSpec) -> float:
    name = spec.roles.get("speed")
    if name is None or name not in spec.params:
        return 1.0
    value = prompt.params.get(Step.AUDIO, {}).get(name, spec.params[name].default)
    try:
        return float(spec.params[name].accept(value))
    except ValueError:
        return 1.0  # named as a problem where the parameters are checked


def _matching_speed(spec: ModelSpec, script: str, clip_s: float) -> tuple[float, str | None]:
    wanted = expected_voice_s(script, spec) / clip_s
    limits = spec.params.get(spec.roles.get("speed", ""))
    low, high = (limits.min or 1.0, limits.max or 1.0) if limits else (1.0, 1.0)
    speed = round(min(max(wanted, low), high), 3)
    off = abs(expected_voice_s(script, spec, speed=speed) - clip_s) / clip_s
    if off <= AFTER_VIDEO_TOLERANCE:
        return speed, None
    return speed, (
        f"speech would need {wanted:.2f} times its speed to last the clip's {clip_s:.1f} s, and {spec.id} can do "
        f"{low:g} to {high:g}. Change the script's length or clip_s, or use audio_timing: parallel"
    )


def _draft(
    prompt: Prompt,
    step: Step,
    spec: ModelSpec,
    values: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    length_s: float | None = None,
    problems: Sequence[Problem] = (),
) -> Draft:
    params, faults = _params(prompt, step, spec, values)
    request = GenerationRequest(
        step=step,
        provider=spec.provider,
        model=spec.id,
        endpoint=spec.endpoint,
        version=spec.version,
        params=params,
        take=prompt.take_of(step),
        inputs=tuple(InputRef(role=role, request_key=key) for role, key in inputs.items() if role in spec.roles),
    )
    return Draft(spec=spec, request=request, length_s=length_s, problems=(*problems, *faults))


def _params(
    prompt: Prompt, step: Step, spec: ModelSpec, values: Mapping[str, Any]
) -> tuple[dict[str, Scalar], list[Problem]]:
    """Return the model's parameters: its defaults, then what the prompt says in our words, then in the model's."""
    params = {name: param.default for name, param in spec.params.items()}
    for role, name in spec.roles.items():
        value = values.get(role)
        if role not in _INPUT_ROLES and value is not None:
            params[name] = value
    problems = []
    for name, value in prompt.params.get(step, {}).items():
        if name in spec.params:
            params[name] = value
        else:
            problems.append(Problem(step, name, _unknown_param(name, spec)))
    for name, param in spec.params.items():
        try:
            params[name] = param.accept(params[name])
        except ValueError as error:
            problems.append(Problem(step, name, str(error)))
    return params, problems


def _unknown_param(name: str, spec: ModelSpec) -> str:
    if name in spec.roles.values():
        role = next(role for role, param in spec.roles.items() if param == name)
        return f"is set from the prompt itself ({role}), not as a parameter of {spec.id}"
    near = difflib.get_close_matches(name, list(spec.params), n=2)
    known = ", ".join(spec.params) or "none"
    return f"{spec.id} has no such parameter. " + (
        f"Did you mean {' or '.join(near)}?" if near else f"It has: {known}."
    )
