"""Our adapters' calls for every paid model of the catalog: with its defaults, and at the ends of every parameter."""

from collections.abc import Iterator, Mapping
from typing import Any

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.prompt import Prompt, Scalar, Step
from media_assets.providers.base import Adapter, Deadlines, HttpCall
from media_assets.providers.endpoints import Endpoints
from media_assets.providers.registry import build_adapters
from media_assets.request import GenerationRequest
from media_assets.simulator.server import Simulator
from media_assets.steps import Draft, Picture, draft_audio, draft_image, draft_video

PICTURE_PX = (1024, 576)
SCRIPT = "A lighthouse keeps its watch. The sea is calm tonight."


def paid_models(provider: str) -> list[ModelSpec]:
    """Return the catalog's models of a provider."""
    return [spec for spec in load_catalog() if spec.provider == provider]


def adapters_at(simulator: Simulator) -> Mapping[str, Adapter]:
    """Return the adapters as the simulator's environment variables point them."""
    given = {name.removeprefix("MEDIA_ASSETS_").lower(): url for name, url in simulator.environment().items()}
    return build_adapters(Endpoints(**{name: given[name] for name in Endpoints.__dataclass_fields__}))


def drafted(spec: ModelSpec, params: Mapping[str, Scalar] | None = None) -> Draft:
    """Write down what a prompt asks of one model."""
    row: dict[str, Any] = {"key": "conform", "prompt": "a lighthouse at dusk", "script": SCRIPT, "size_px": PICTURE_PX}
    prompt = Prompt.model_validate({**row, "params": {spec.step: dict(params or {})}})
    if spec.step is Step.IMAGE:
        return draft_image(prompt, spec)
    if spec.step is Step.VIDEO:
        return draft_video(prompt, spec, voice=None, picture=Picture(request_key="0" * 64, size_px=PICTURE_PX))
    return draft_audio(prompt, spec, clip_s=5.0)


def requests_of(spec: ModelSpec) -> Iterator[GenerationRequest]:
    """Yield the request with the defaults, then one for every other choice and end of range of every parameter."""
    usual = drafted(spec)
    assert usual.problems == (), f"{spec.id}: {usual.problems}"
    yield usual.request
    for name, param in spec.params.items():
        ends = param.enum or [end for end in (param.min, param.max) if end is not None]
        for value in ends:
            draft = drafted(spec, {name: param.accept(value)})
            if not draft.problems and draft.request.key != usual.request.key:
                yield draft.request


def call_of(adapter: Adapter, spec: ModelSpec, request: GenerationRequest, picture_url: str) -> HttpCall:
    """Return the call that submits a request; every input file is the same picture."""
    inputs = {spec.roles[ref.role]: picture_url for ref in request.inputs}
    call = adapter.submit_call(request, inputs=inputs, deadlines=Deadlines.of(spec))
    assert isinstance(call, HttpCall)
    return call
