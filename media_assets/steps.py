"""The four steps: which request each one makes of a prompt, and how long what it makes should be.

Pure: no ledger, no files. A step's request names its inputs by *their* request keys, so the whole chain can be
written down, priced and looked up before anything is made. Buying and judging what is written here is in ``chain.py``.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from media_assets.catalog import ModelSpec
from media_assets.catalog.lengths import length_of, params_for_length
from media_assets.catalog.sizes import expected_clip_size_px, size_of, size_params
from media_assets.errors import Problem
from media_assets.letters import spoken_characters
from media_assets.media.recipes import ImageRecipe, kept_ratio
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
    size_px: tuple[int, int] | None = None
    """Expected width and height of what it makes; None for a sound, and where the model decides."""
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What the prompt says and this model does not do, or not quite: made all the same, and told."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much a picture may lose when it is made to fit the next model."""

    max_crop: float = 0.5
    """Share of its area that may be cut off."""
    max_enlargement: float = 2.0
    """Factor by which it may be blown up."""


USUAL_BOUNDS = Bounds()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The picture a clip is made of."""

    request_key: str
    size_px: tuple[int, int]
    """Its width and height, probed or expected."""


def expected_voice_s(script: str, spec: ModelSpec, *, speed: float = 1.0) -> float:
    """Return how long ``script`` will take to speak, in seconds, before it is spoken."""
    if spec.characters_per_s is None:
        return estimate_speech_s(script, speed=speed)
    return spoken_characters(script) / spec.characters_per_s / speed


def draft_image(
    prompt: Prompt, spec: ModelSpec, *, bounds: Bounds = USUAL_BOUNDS, route: Sequence[ModelSpec] = ()
) -> Draft:
    """Write down the picture's request, in the size nearest to the prompt's that the model makes.

    Args:
        prompt: What is asked for.
        spec: The model.
        bounds: How much a picture may lose.
        route: The step's models, in order; the prompt's parameters are for its first. Empty: this one alone.
    """
    values = {"seed": _seed(prompt, Step.IMAGE), "prompt": prompt.prompt}
    draft = _draft(prompt, Step.IMAGE, spec, values, (), also=size_params(spec, prompt.size_px), route=route)
    size_px = size_of(spec, draft.request.params) or prompt.size_px
    problems = list(draft.problems)
    cut = 1 - kept_ratio(size_px, prompt.size_px)
    if cut > bounds.max_crop:
        width, height = size_px
        fault = f"{spec.id} makes {width}x{height} at the nearest: {cut:.0%} of it would be cut off (max_crop)"
        problems.append(Problem(Step.IMAGE, "size_px", fault))
    notes = (*draft.notes, *_other_size(prompt, Step.IMAGE, spec, size_px))
    return replace(draft, size_px=size_px, problems=tuple(problems), notes=notes)


def draft_video(
    prompt: Prompt,
    spec: ModelSpec,
    *,
    voice: ModelSpec | None,
    picture: Picture,
    bounds: Bounds = USUAL_BOUNDS,
    route: Sequence[ModelSpec] = (),
) -> Draft:
    """Write down the clip's request.

    Args:
        prompt: What is asked for.
        spec: The model.
        voice: The model that will speak, for a clip whose length follows the narration.
        picture: What it is made of.
        bounds: How much the picture may lose to fit the model.
        route: As for :func:`draft_image`.
    """
    length_params, problems = _clip_length(prompt, spec, voice)
    recipe, fault = _recipe(spec, picture, bounds)
    problems += [Problem(Step.VIDEO, "size_px", fault)] if fault else []
    values = {
        "seed": _seed(prompt, Step.VIDEO),
        "prompt": prompt.motion or prompt.prompt,
        "caption": prompt.caption,
    }
    image = InputRef(role="image", request_key=picture.request_key, recipe=recipe.text if recipe else None)
    also = size_params(spec, prompt.size_px) | length_params
    draft = _draft(prompt, Step.VIDEO, spec, values, (image,), also=also, problems=problems, route=route)
    params = draft.request.params
    size_px = expected_clip_size_px(spec, params, recipe.size_px if recipe else picture.size_px)
    notes = (*draft.notes, *_other_size(prompt, Step.VIDEO, spec, size_px))
    return replace(draft, length_s=length_of(spec, params), size_px=size_px, notes=notes)


def _other_size(prompt: Prompt, step: Step, spec: ModelSpec, size_px: tuple[int, int] | None) -> Iterator[Problem]:
    """Say that a model makes another size than was asked for; nothing where the model decides."""
    if size_px is not None and size_px != prompt.size_px:
        (width, height), (wanted_width, wanted_height) = size_px, prompt.size_px
        yield Problem(step, "size_px", f"{spec.id} makes {width}x{height} in place of {wanted_width}x{wanted_height}")


def _recipe(spec: ModelSpec, picture: Picture, bounds: Bounds = USUAL_BOUNDS) -> tuple[ImageRecipe | None, str | None]:
    """Return how the picture is made to fit the model, and why that would lose too much, if it would."""
    rule = spec.accepts.get("image")
    if rule is None:
        return None, None
    size_px = rule.sizes.nearest(picture.size_px) if rule.sizes else picture.size_px
    # A PNG of noise is as large as its pixels; what might not fit is sent as JPEG.
    is_large = size_px[0] * size_px[1] * 3 > rule.max_bytes
    mime = "image/jpeg" if "image/png" not in rule.mimes or (is_large and "image/jpeg" in rule.mimes) else "image/png"
    recipe = ImageRecipe(size_px=size_px, mime=mime, max_bytes=rule.max_bytes)
    loss = recipe.loss(picture.size_px, max_crop=bounds.max_crop, max_enlargement=bounds.max_enlargement)
    if loss is None:
        return recipe, None
    width, height = size_px
    return recipe, f"{spec.id} takes {width}x{height}; the picture of {picture.size_px[0]}x{picture.size_px[1]}: {loss}"


def draft_audio(
    prompt: Prompt,
    spec: ModelSpec,
    *,
    clip_s: float,
    match_clip: bool = False,
    route: Sequence[ModelSpec] = (),
) -> Draft:
    """Write down the voice's request; without a script, that of a silent track as long as the clip.

    Args:
        prompt: What is asked for.
        spec: The model.
        clip_s: Length of the clip, probed or expected.
        match_clip: Whether the voice's speed is chosen so that it lasts as long as the clip.
        route: As for :func:`draft_image`.
    """
    script = prompt.script
    if script is None:
        return _draft(prompt, Step.AUDIO, spec, {"length": round(clip_s, 2)}, (), length_s=clip_s, route=route)
    problems = []
    speed = _chosen_speed(prompt, spec)
    if match_clip and not spec.silent:
        speed, fault = _matching_speed(spec, script, clip_s)
        problems += [Problem(Step.AUDIO, "script", fault)] if fault else []
    fault = unspeakable(script) if spec.writing_systems else _unspoken(spec, script)
    problems += [Problem(Step.AUDIO, "script", fault)] if fault else []
    if spec.characters_max is not None and len(script) > spec.characters_max:
        fault = f"has {len(script)} characters, and {spec.id} takes at most {spec.characters_max}"
        problems.append(Problem(Step.AUDIO, "script", fault))
    length_s = expected_voice_s(script, spec, speed=speed)
    voice, notes = _voice(prompt, spec, route)
    seed = _seed(prompt, Step.AUDIO)
    values = {"script": script, "voice": voice, "speed": speed, "seed": seed, "length": round(length_s, 2)}
    draft = _draft(prompt, Step.AUDIO, spec, values, (), length_s=length_s, problems=problems, route=route)
    return replace(draft, notes=(*draft.notes, *notes))


def _voice(prompt: Prompt, spec: ModelSpec, route: Sequence[ModelSpec]) -> tuple[str | None, list[Problem]]:
    """Return the speaker to ask for. Each provider has names of its own, so a later model may have its own speaker."""
    param = spec.params.get(spec.roles.get("voice", ""))
    if prompt.voice is None or param is None or _is_first(spec, route):
        return prompt.voice, []
    try:
        param.accept(prompt.voice)
    except ValueError:
        fault = f"{spec.id} has no speaker {prompt.voice!r}; {param.default} speaks"
        return None, [Problem(Step.AUDIO, "voice", fault)]
    return prompt.voice, []


def draft_merged(prompt: Prompt, spec: ModelSpec, *, video_key: str, audio_key: str) -> Draft:
    """Write down the film's request; without a script it is the clip alone, with the clip's own sound if it has any."""
    keys = {"video": video_key} if prompt.script is None else {"video": video_key, "audio": audio_key}
    inputs = tuple(InputRef(role=role, request_key=key) for role, key in keys.items())
    return _draft(prompt, Step.MERGED, spec, {"fit": str(prompt.fit)}, inputs)


def _seed(prompt: Prompt, step: Step) -> int:
    if prompt.seed is not None:
        return prompt.seed
    # A voice depends on what it says alone: its purchase must not change with the picture's words.
    text = prompt.script if step is Step.AUDIO and prompt.script is not None else prompt.prompt
    return derived_seed(text, step, prompt.take_of(step))


def _clip_length(prompt: Prompt, spec: ModelSpec, voice: ModelSpec | None) -> tuple[dict[str, Scalar], list[Problem]]:
    """Return the parameters that make the clip as long as it should be, and what is wrong with that length."""
    wanted_s = prompt.clip_s
    if wanted_s is None and spec.length_s is not None:
        wanted_s = spec.length_s.default
        if spec.length_follows_voice and prompt.script is not None and voice is not None:
            voice_s = expected_voice_s(prompt.script, voice)
            wanted_s = round(min(max(wanted_s, voice_s * VOICE_MARGIN + VOICE_TAIL_S), spec.length_s.max), 2)
    if wanted_s is None:
        return {}, []
    try:
        return params_for_length(spec, wanted_s), []
    except ValueError as error:
        return {}, [Problem(Step.VIDEO, "clip_s", str(error))]


def _chosen_speed(prompt: Prompt, spec: ModelSpec) -> float:
    name = spec.roles.get("speed")
    if name is None or name not in spec.params:
        return 1.0
    value = prompt.params.get(Step.AUDIO, {}).get(name, spec.params[name].default)
    try:
        return float(spec.params[name].accept(value))
    except ValueError:
        return float(spec.params[name].default)  # told of where the parameters are checked


def _unspoken(spec: ModelSpec, script: str) -> str | None:
    if spec.silent or any(character.isalnum() for character in script):
        return None
    return "has nothing to say: no letter and no digit"


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
    inputs: Sequence[InputRef],
    *,
    also: Mapping[str, Scalar] = MappingProxyType({}),
    length_s: float | None = None,
    problems: Sequence[Problem] = (),
    route: Sequence[ModelSpec] = (),
) -> Draft:
    params = {name: param.default for name, param in spec.params.items()}
    for role, name in spec.roles.items():
        value = values.get(role)
        if role not in _INPUT_ROLES and value is not None:
            params[name] = value
    asked, faults, notes = _asked_params(prompt, step, spec, route)
    params |= {**also, **asked}
    faults += _unfit(step, spec, params)
    request = GenerationRequest(
        step=step,
        provider=spec.provider,
        model=spec.id,
        endpoint=spec.endpoint,
        version=spec.version,
        params=params,
        take=prompt.take_of(step),
        inputs=tuple(ref for ref in inputs if ref.role in spec.roles),
    )
    return Draft(
        spec=spec,
        request=request,
        length_s=length_s,
        problems=(*problems, *faults),
        notes=(*notes, *_ignored(prompt, step, spec)),
    )


def _is_first(spec: ModelSpec, route: Sequence[ModelSpec]) -> bool:
    return not route or spec.id == route[0].id


def _asked_params(
    prompt: Prompt, step: Step, spec: ModelSpec, route: Sequence[ModelSpec]
) -> tuple[dict[str, Scalar], list[Problem], list[Problem]]:
    """Return what the prompt says in the model's own words, what is wrong with that, and what is left out of it.

    The words are the first model's of the route. Another one takes of them what it can: it is there so that there is
    a film when the first has failed, and must not fail of a parameter that was never meant for it.
    """
    asked: dict[str, Scalar] = {}
    problems, notes = [], []
    is_first = _is_first(spec, route)
    for name, value in prompt.params.get(step, {}).items():
        if name in spec.params:
            try:
                asked[name] = spec.params[name].accept(value)
            except ValueError as error:
                if is_first:
                    problems.append(Problem(step, name, str(error)))
                else:
                    default = spec.params[name].default
                    notes.append(Problem(step, name, f"{error}, for {spec.id}, which takes its default, {default}"))
        elif is_first and not any(name in other.params for other in route):
            problems.append(Problem(step, name, _unknown_param(name, spec)))
        elif not is_first:
            notes.append(Problem(step, name, f"{spec.id} has no such parameter; it is left out"))
    return asked, problems, notes


def _unfit(step: Step, spec: ModelSpec, params: dict[str, Scalar]) -> list[Problem]:
    """Bring each parameter into its type, in place, and return those that do not fit."""
    problems = []
    for name, param in spec.params.items():
        try:
            params[name] = param.accept(params[name])
        except ValueError as error:
            problems.append(Problem(step, name, str(error)))
    return problems


def _ignored(prompt: Prompt, step: Step, spec: ModelSpec) -> Iterator[Problem]:
    """Say which of the prompt's wishes a model has no use for."""
    wishes = {
        Step.IMAGE: (("seed", "seed", prompt.seed),),
        Step.VIDEO: (
            ("seed", "seed", prompt.seed),
            ("motion", "prompt", prompt.motion),
            ("caption", "caption", prompt.caption),
        ),
        Step.AUDIO: (("voice", "voice", None if spec.silent else prompt.voice),),
    }
    for field, role, value in wishes.get(step, ()):
        if value is not None and role not in spec.roles:
            yield Problem(step, field, f"{spec.id} has no use for it")


def _unknown_param(name: str, spec: ModelSpec) -> str:
    if name in spec.roles.values():
        role = next(role for role, param in spec.roles.items() if param == name)
        return f"is set from the prompt itself ({role}), not as a parameter of {spec.id}"
    near = difflib.get_close_matches(name, list(spec.params), n=2)
    known = ", ".join(spec.params) or "none"
    return f"{spec.id} has no such parameter. " + (
        f"Did you mean {' or '.join(near)}?" if near else f"It has: {known}."
    )
