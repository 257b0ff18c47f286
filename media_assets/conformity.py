"""A finished step beside what was asked for: the judge's verdict, its numbers, and by how much they differ.

The judge has looked before the step was told as made (``media/judge.py``); this looks nothing up in any file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media_assets.artifact import MediaInfo
from media_assets.catalog import ModelSpec
from media_assets.errors import ConformError, UnknownModelError
from media_assets.film import StepResult
from media_assets.judging import question_of, redrafted
from media_assets.ledger.decisions import ACCEPT, ACCEPTED
from media_assets.ledger.rows import PurchaseRow
from media_assets.letters import spoken_letters
from media_assets.media.length import film_length_s
from media_assets.media.questions import AskAudio
from media_assets.prompt import Fit, Step
from media_assets.request import GenerationRequest
from media_assets.standing import Standings
from media_assets.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Conformity:
    """How a finished step compares with its request."""

    accepted_by: str | None
    """The person who took a file that the judge had refused; None: it was good enough."""
    acceptance: str = ""
    """What the judge had found, as far as that is known."""
    stand_ins: Mapping[Step, str] = field(default_factory=dict)
    """Why each stand-in was taken that it was made by, or from."""
    numbers: Mapping[str, float]
    """Flat, each with its unit in its name; what nobody knows is left out."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a step's file should have been; None: that was left to the model, or nobody knows any more."""

    size_px: tuple[int, int] | None = None
    length_s: float | None = None
    text: str | None = None
    """What should be spoken."""


_NOTHING = _Asked()


def conformity_of(studio: Studio, key: str, result: StepResult) -> Conformity:
    """Return how a step that was made, or found, compares with what was asked for. Blocking, and free.

    Args:
        studio: That made it.
        key: Of the prompt.
        result: The step.
    """
    if result.artifact is None:
        return Conformity(accepted_by=None, numbers={})
    info = result.artifact.info
    row = studio.ledger.purchases.get(result.request_key)
    asked = _NOTHING if row is None else _asked(studio, row)
    decided = [one for one in studio.ledger.decisions.of(result.request_key) if one["what"] == ACCEPT]
    notes = [note for note in (row.notes if row is not None else ()) if note.startswith(ACCEPTED)]
    return Conformity(
        accepted_by=str(decided[-1]["who"]) if decided else None,
        acceptance=notes[-1] if decided and notes else "",
        stand_ins=Standings(studio.ledger, studio.store).stand_ins(key, result.step, result.request_key),
        numbers={**_size_numbers(info, asked), **_length_numbers(result.step, info, asked), **info.measured},
    )


def _asked(studio: Studio, row: PurchaseRow) -> _Asked:
    request = row.request()
    try:
        spec = studio.planner.catalog.get(request.model)
    except UnknownModelError:
        return _NOTHING
    if request.step is Step.MERGED:
        return _Asked(length_s=_film_s(studio, spec, request))
    draft = redrafted(spec, request)
    question = question_of(draft, min_image_side_px=studio.planner.settings.min_image_side_px)
    text = question.text if isinstance(question, AskAudio) else None
    return _Asked(size_px=draft.size_px, length_s=draft.length_s, text=text)


def _film_s(studio: Studio, spec: ModelSpec, request: GenerationRequest) -> float | None:
    keys = request.input_keys()
    rows = studio.ledger.purchases.get_many(keys.values())
    infos = {role: made.info for role, key in keys.items() if key in rows and (made := rows[key].artifact)}
    clip, voice = infos.get(str(Step.VIDEO)), infos.get(str(Step.AUDIO))
    if clip is None or len(infos) < len(keys):
        return None
    clip_s = clip.video_duration_s or clip.duration_s or 0.0
    try:
        fit = Fit(str(request.params[spec.roles["fit"]]))
        return film_length_s(fit, clip_s=clip_s, voice_s=None if voice is None else voice.duration_s).film_s
    except (ConformError, KeyError, ValueError):
        return None


def _size_numbers(info: MediaInfo, asked: _Asked) -> dict[str, float]:
    if info.width_px is None or info.height_px is None:
        return {}
    numbers: dict[str, float] = {"width_px": info.width_px, "height_px": info.height_px}
    if asked.size_px is not None:
        width_px, height_px = asked.size_px
        numbers |= {"requested_width_px": width_px, "requested_height_px": height_px}
        numbers |= {"width_drift_px": info.width_px - width_px, "height_drift_px": info.height_px - height_px}
    return numbers


def _length_numbers(step: Step, info: MediaInfo, asked: _Asked) -> dict[str, float]:
    # A clip's own sound may be longer than its picture, which is what was asked for.
    length_s = info.video_duration_s if step is Step.VIDEO else info.duration_s
    if not length_s:
        return {}
    numbers = {"media_duration_s": length_s}
    if asked.length_s is not None:
        numbers |= {"requested_duration_s": asked.length_s, "duration_drift_s": length_s - asked.length_s}
    if asked.text is not None:
        numbers["letters_per_s"] = spoken_letters(asked.text) / length_s
    if step is Step.MERGED and info.video_duration_s is not None and info.audio_duration_s is not None:
        numbers["stream_drift_s"] = info.video_duration_s - info.audio_duration_s
    return {name: round(value, 4) for name, value in numbers.items()}
