"""A prompt's steps drafted, each on what is upstream: as it was made, or as the first models there would make it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from media_assets.catalog import ModelSpec
from media_assets.errors import ConformError, Problem
from media_assets.ledger.rows import PurchaseRow
from media_assets.media.length import film_length_s
from media_assets.prompt import Prompt, Step
from media_assets.standing import Standing
from media_assets.steps import Bounds, Draft, Picture, draft_audio, draft_image, draft_merged, draft_video


class Upstream(Protocol):
    """What a step builds on."""

    def key(self, step: Step) -> str:
        """Return a step's request key; empty where there is none."""

    def picture(self) -> Picture:
        """Return the picture that a clip is made of."""

    def clip(self) -> tuple[float, bool]:
        """Return the clip's length, and whether the voice is spoken as long."""


def draft_step(
    prompt: Prompt,
    step: Step,
    spec: ModelSpec,
    *,
    routes: Mapping[Step, Sequence[ModelSpec]],
    bounds: Bounds,
    upstream: Upstream,
) -> Draft:
    """Draft one step with any model of its route."""
    route = routes[step]
    if step is Step.IMAGE:
        return draft_image(prompt, spec, bounds=bounds, route=route)
    if step is Step.VIDEO:
        voice = next(iter(routes.get(Step.AUDIO, ())), None)
        return draft_video(prompt, spec, voice=voice, picture=upstream.picture(), bounds=bounds, route=route)
    if step is Step.AUDIO:
        clip_s, match_clip = upstream.clip()
        return draft_audio(prompt, spec, clip_s=clip_s, match_clip=match_clip, route=route)
    return draft_merged(prompt, spec, video_key=upstream.key(Step.VIDEO), audio_key=upstream.key(Step.AUDIO))


class Drafting:
    """The drafts of one prompt, before anything is made: each builds on what the first models upstream would make.

    Args:
        prompt: What is asked for.
        routes: The models of each step, in order. A step without any is left out, and what can be said of the others
            is said all the same.
        standings: What is there already.
        bounds: How much a picture may lose to fit the next model.
        match_clip: Whether the voice is spoken as long as the clip.
        find: Looks a purchase up by its request key; blocking.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        routes: Mapping[Step, Sequence[ModelSpec]],
        standings: Mapping[Step, Standing],
        bounds: Bounds,
        match_clip: bool,
        find: Callable[[str], PurchaseRow | None],
    ) -> None:
        self._prompt = prompt
        self._routes = routes
        self._standings = standings
        self._bounds = bounds
        self._match_clip = match_clip
        self._find = find
        self.firsts: dict[Step, Draft] = {}
        """Each step with the first model of its route."""
        for step in Step:
            if step in routes:
                self.firsts[step] = self.draft(step, routes[step][0])

    def draft(self, step: Step, spec: ModelSpec) -> Draft:
        """Draft one step with any model of its route."""
        draft = draft_step(self._prompt, step, spec, routes=self._routes, bounds=self._bounds, upstream=self)
        return self._with_length(draft) if step is Step.MERGED else draft

    def clip(self) -> tuple[float, bool]:
        """Return the length that the clip is expected to have, and whether the voice is spoken as long."""
        clip_s = self.firsts[Step.VIDEO].length_s if Step.VIDEO in self.firsts else None
        return clip_s or 0.0, self._match_clip and clip_s is not None

    def key(self, step: Step) -> str:
        """Return the request key of a step's finished purchase, or of its draft; empty where there is neither."""
        row = self._standings[step].row
        if row is not None:
            return row.request_key
        return self.firsts[step].request.key if step in self.firsts else ""

    def picture(self) -> Picture:
        """Return the picture as it was made, or as it is expected."""
        key, draft = self.key(Step.IMAGE), self.firsts.get(Step.IMAGE)
        size_px = (draft.size_px if draft else None) or self._prompt.size_px
        row = self._standings[Step.IMAGE].row or self._find(key)
        if row is not None and row.artifact is not None:
            info = row.artifact.info
            size_px = (info.width_px or size_px[0], info.height_px or size_px[1])
        return Picture(request_key=key, size_px=size_px)

    def _with_length(self, merged: Draft) -> Draft:
        """Return the film's draft with its expected length, or with the reason why clip and voice cannot be one."""
        if Step.VIDEO not in self.firsts or Step.AUDIO not in self.firsts:
            return merged
        prompt = self._prompt
        clip_s = self.firsts[Step.VIDEO].length_s or 1.0
        voice_s = None if prompt.script is None else self.firsts[Step.AUDIO].length_s
        try:
            return replace(merged, length_s=film_length_s(prompt.fit, clip_s=clip_s, voice_s=voice_s).film_s)
        except ConformError as error:
            fault = Problem(Step.MERGED, "fit", error.message.removeprefix("fit: "))
            return replace(merged, problems=(*merged.problems, fault))
