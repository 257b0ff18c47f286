"""The simulated Replicate's account, hardware, models and versions: what its clients look up besides predictions."""

import base64
from functools import partial
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator.calls import OTHER, Call, endpoint
from media_assets.simulator.replicate_bodies import FACES, PREFIX, not_found
from media_assets.simulator.replicate_models import BY_NAME, Model, schema_of
from media_assets.simulator.world import World

_MADE_AT: Final = "2024-01-01T00:00:00.000000Z"
_WEBHOOK_KEY: Final = "whsec_" + base64.b64encode(b"simulated webhook signing secret").decode()
_HARDWARE: Final = (
    {"name": "CPU", "sku": "cpu"},
    {"name": "Nvidia T4 GPU", "sku": "gpu-t4"},
    {"name": "Nvidia A100 (80GB) GPU", "sku": "gpu-a100-large"},
    {"name": "Nvidia H100 GPU", "sku": "gpu-h100"},
)


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of what can be looked up."""
    look_up = partial(endpoint, world, FACES, "GET")
    one = f"{PREFIX}/models/{{owner}}/{{name}}"
    return [
        look_up(f"{PREFIX}/account", OTHER, _account),
        look_up(f"{PREFIX}/hardware", OTHER, _hardware),
        look_up(f"{PREFIX}/webhooks/default/secret", OTHER, _webhook_secret),
        look_up(f"{PREFIX}/models", OTHER, _models),
        look_up(one, OTHER, _model),
        look_up(f"{one}/versions", OTHER, _versions),
        look_up(f"{one}/versions/{{version}}", OTHER, _version),
    ]


async def _account(_call: Call) -> Response:
    return JSONResponse({"type": "user", "username": "simulated", "name": "Simulated User"})


async def _hardware(_call: Call) -> Response:
    return JSONResponse(list(_HARDWARE))


async def _webhook_secret(_call: Call) -> Response:
    return JSONResponse({"key": _WEBHOOK_KEY})


async def _models(call: Call) -> Response:
    results = [_model_body(call, model) for model in BY_NAME.values()]
    return JSONResponse({"previous": None, "next": None, "results": results})


async def _model(call: Call) -> Response:
    model = _named(call)
    return JSONResponse(_model_body(call, model)) if model else not_found()


async def _versions(call: Call) -> Response:
    model = _named(call)
    if model is None:
        return not_found()
    results = [_version_body(model)] if model.version else []
    return JSONResponse({"previous": None, "next": None, "results": results})


async def _version(call: Call) -> Response:
    model = _named(call)
    if model is None or model.version is None or model.version != call.request.path_params["version"]:
        return not_found()
    return JSONResponse(_version_body(model))


def _named(call: Call) -> Model | None:
    return BY_NAME.get(f"{call.request.path_params['owner']}/{call.request.path_params['name']}")


def _model_body(call: Call, model: Model) -> dict[str, Any]:
    owner, _, name = model.name.partition("/")
    return {
        "url": f"{call.origin}/replicate/{model.name}",
        "owner": owner,
        "name": name,
        "description": "Simulated.",
        "visibility": "public",
        "is_official": model.is_official,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": _version_body(model),
    }


def _version_body(model: Model) -> dict[str, Any]:
    return {
        "id": model.version or "hidden",
        "created_at": _MADE_AT,
        "cog_version": "0.9.0",
        "openapi_schema": schema_of(model),
    }
