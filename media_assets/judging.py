"""What a picture, a clip or a voice has to be, to be good enough to build on: told by its draft, or its request alone.

How files are judged is in ``media/judge.py``.
"""

from media_assets.catalog import ModelSpec
from media_assets.catalog.lengths import length_of
from media_assets.catalog.sizes import expected_clip_size_px, size_of
from media_assets.errors import ConformError
from media_assets.media.questions import AskAudio, AskImage, AskVideo, Question
from media_assets.media.recipes import ImageRecipe
from media_assets.prompt import Step
from media_assets.request import GenerationRequest
from media_assets.steps import Draft


def question_of(draft: Draft, *, min_image_side_px: int) -> Question:
    """Return what is to be asked of the file that comes of a draft; a film's length is no part of its draft."""
    spec, request = draft.spec, draft.request
    if request.step is Step.IMAGE:
        return AskImage(requested_size_px=draft.size_px, min_side_px=min_image_side_px)
    if request.step is Step.VIDEO:
        return AskVideo(requested_size_px=draft.size_px, requested_duration_s=draft.length_s)
    said = request.params.get(spec.roles.get("script", ""))
    text = said if isinstance(said, str) and not spec.silent else None
    return AskAudio(text=text, silent_ok=spec.silent, speed=spec.speed_of(request.params))


def redrafted(spec: ModelSpec, request: GenerationRequest) -> Draft:
    """Return the draft of a request that was made before, as far as the request itself tells."""
    size_px = size_of(spec, request.params)
    if request.step is Step.VIDEO:
        size_px = expected_clip_size_px(spec, request.params, _sent_px(request))
    return Draft(spec=spec, request=request, length_s=length_of(spec, request.params), size_px=size_px, problems=())


def _sent_px(request: GenerationRequest) -> tuple[int, int] | None:
    """Return width and height of the picture that a clip was asked for with."""
    recipe = next((ref.recipe for ref in request.inputs if ref.role == "image" and ref.recipe), None)
    try:
        return None if recipe is None else ImageRecipe.parse(recipe).size_px
    except ConformError:
        return None
