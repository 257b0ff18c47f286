"""What a file should be, as plain values: a question that can be answered here or in a child process.

What makes a file good enough is decided in ``judge``; who runs a judge on a stranger's bytes, in ``examine``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from media_assets.artifact import MediaInfo
from media_assets.media.judge import (
    MIN_CLIP_S,
    MIN_SIDE_PX,
    Verdict,
    judge_audio,
    judge_film,
    judge_image,
    judge_video,
)


@dataclass(frozen=True, kw_only=True)
class AskImage:
    """Is it a picture to build on?"""

    requested_size_px: tuple[int, int] | None
    """Width and height; None when the model had no choice."""
    min_side_px: int = MIN_SIDE_PX

    def answer(self, path: Path, info: MediaInfo) -> Verdict:
        """Judge the file in this process."""
        return judge_image(path, info, requested_size_px=self.requested_size_px, min_side_px=self.min_side_px)


@dataclass(frozen=True, kw_only=True)
class AskVideo:
    """Is it a clip to build on?"""

    requested_size_px: tuple[int, int] | None
    """Width and height; None when the model had no choice."""
    requested_duration_s: float | None
    """The wanted length; None when the model had no choice."""
    check_motion: bool = True
    """Whether a clip that stands still is a fault."""
    min_clip_s: float = MIN_CLIP_S

    def answer(self, path: Path, info: MediaInfo) -> Verdict:
        """Judge the file in this process."""
        return judge_video(
            path,
            info,
            requested_size_px=self.requested_size_px,
            requested_duration_s=self.requested_duration_s,
            check_motion=self.check_motion,
            min_clip_s=self.min_clip_s,
        )


@dataclass(frozen=True, kw_only=True)
class AskAudio:
    """Is it the voice that was asked for?"""

    text: str | None
    """What should be spoken; None when nothing is known of it."""
    silent_ok: bool = False
    """Whether silence is what was asked for; then the text is not looked at either."""
    speed: float = 1.0
    """How many times as fast as usual it should be spoken."""

    def answer(self, path: Path, info: MediaInfo) -> Verdict:
        """Judge the file in this process."""
        return judge_audio(path, info, text=self.text, silent_ok=self.silent_ok, speed=self.speed)


@dataclass(frozen=True, kw_only=True)
class AskFilm:
    """Is it the film that was merged?"""

    target_s: float

    def answer(self, path: Path, info: MediaInfo) -> Verdict:
        """Judge the file in this process."""
        return judge_film(path, info, target_s=self.target_s)


Question = AskImage | AskVideo | AskAudio | AskFilm

_BY_NAME: Mapping[str, type[Question]] = {
    "image": AskImage,
    "video": AskVideo,
    "audio": AskAudio,
    "film": AskFilm,
}
_NAMES = {kind: name for name, kind in _BY_NAME.items()}


def question_as_dict(question: Question) -> dict[str, Any]:
    """Return a question ready for JSON."""
    return {"ask": _NAMES[type(question)], **asdict(question)}


def question_from_dict(data: Mapping[str, Any]) -> Question:
    """Build from :func:`question_as_dict`'s form, also after a way through JSON."""
    values = {name: value for name, value in data.items() if name != "ask"}
    if values.get("requested_size_px") is not None:
        values["requested_size_px"] = tuple(values["requested_size_px"])
    return _BY_NAME[data["ask"]](**values)
