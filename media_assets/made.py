"""What one chain has made so far, as the next step builds on it: what it is drafted from, and judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from media_assets.catalog import ModelSpec
from media_assets.errors import JudgeError
from media_assets.film import StepResult
from media_assets.judging import question_of
from media_assets.media.length import film_length_s
from media_assets.media.questions import AskFilm, Question
from media_assets.prompt import Prompt, Step
from media_assets.steps import Bounds, Draft, Picture, draft_video


@dataclass(frozen=True, kw_only=True)
class Made:
    """The steps upstream of one that is to be made."""

    prompt: Prompt
    steps: Mapping[Step, StepResult]
    routes: Mapping[Step, Sequence[ModelSpec]]
    bounds: Bounds
    min_image_side_px: int

    def key(self, step: Step) -> str:
        """Return the request key of a step; empty where it is not built on."""
        return self.steps[step].request_key if step in self.steps else ""

    def picture(self) -> Picture:
        """Return the picture as it came."""
        image = self.steps[Step.IMAGE]
        info = image.artifact.info if image.artifact is not None else None
        width, height = self.prompt.size_px
        size_px = ((info.width_px or width, info.height_px or height)) if info is not None else (width, height)
        return Picture(request_key=image.request_key, size_px=size_px)

    def clip(self) -> tuple[float, bool]:
        """Return the clip's length, and whether the voice waited for it, to be spoken as long."""
        if Step.VIDEO in self.steps:
            return self.clip_s(), True
        route = self.routes[Step.VIDEO]
        picture = Picture(request_key="", size_px=self.prompt.size_px)
        clip = draft_video(self.prompt, route[0], voice=None, picture=picture, bounds=self.bounds, route=route)
        return clip.length_s or 1.0, False

    def clip_s(self) -> float:
        """Return the length of the clip as it came."""
        artifact = self.steps[Step.VIDEO].artifact
        return (artifact.info.duration_s if artifact is not None else None) or 1.0

    def question(self, draft: Draft) -> Question:
        """Return what the file of the next step has to be, to be good enough to build on."""
        if draft.request.step is Step.MERGED:
            return AskFilm(target_s=self._film_s())
        return question_of(draft, min_image_side_px=self.min_image_side_px)

    def _film_s(self) -> float:
        clip, voice = (self.steps[step].artifact if step in self.steps else None for step in (Step.VIDEO, Step.AUDIO))
        if clip is None:
            message = "the film has no clip"
            raise JudgeError(message)
        clip_s = clip.info.video_duration_s or clip.info.duration_s or 0.0
        spoken = voice is not None and self.prompt.script is not None
        voice_s = voice.info.duration_s if spoken and voice is not None else None
        return film_length_s(self.prompt.fit, clip_s=clip_s, voice_s=voice_s).film_s
