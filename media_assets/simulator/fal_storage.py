"""The simulated fal's storage: a token, the CDN that takes the upload for it, and the older way over a signed PUT.

Uploads in parts, which fal's clients use from 100 MB, are not simulated.
"""

import json
import secrets
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator.calls import OTHER, Call, endpoint
from media_assets.simulator.fal_bodies import FACES, KEPT_S, FalFaces
from media_assets.simulator.files import StoredFile
from media_assets.simulator.world import World

REST: Final = "/fal-rest"
CDN: Final = "/fal-cdn"

_TOKEN_LIFE_S: Final = 24 * 3600.0


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of fal's storage."""
    storage = _Storage(world)
    rest, cdn = partial(endpoint, world, FACES), partial(endpoint, world, _CdnFaces(storage))
    return [
        rest("POST", f"{REST}/storage/auth/token", OTHER, storage.token),
        rest("POST", f"{REST}/storage/upload/initiate", OTHER, storage.initiate),
        cdn("POST", f"{CDN}/files/upload", "upload", storage.upload),
        endpoint(world, _SignedFaces(), "PUT", f"{CDN}/signed/{{id}}", "upload", storage.put),
    ]


class _Storage:
    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, float] = {}
        self._awaited: dict[str, StoredFile] = {}

    def knows(self, token: str) -> bool:
        """Whether a token was given out and still holds."""
        return self._tokens.get(token, 0.0) > self._world.clock.now_s()

    async def token(self, call: Call) -> Response:
        token, until_s = secrets.token_urlsafe(24), self._world.clock.now_s() + _TOKEN_LIFE_S
        self._tokens[token] = until_s
        return JSONResponse(
            {
                "token": token,
                "token_type": "Bearer",
                "base_url": f"{call.origin}{CDN}",
                "expires_at": self._world.clock.utc(until_s).isoformat(),
            }
        )

    async def upload(self, call: Call) -> Response:
        headers = call.request.headers
        stored = self._put(call.body, headers.get("x-fal-file-name", "upload.bin"), headers.get("content-type"))
        return JSONResponse({"access_url": call.origin + self._world.files.link(stored)})

    async def initiate(self, call: Call) -> Response:
        try:
            given = json.loads(call.body)
            name, mime = str(given["file_name"]), str(given["content_type"])
        except (ValueError, KeyError, TypeError):
            return FACES.bad_request()
        stored, key = self._put(b"", name, mime), secrets.token_urlsafe(24)
        self._awaited[key] = stored
        urls = {
            "upload_url": f"{call.origin}{CDN}/signed/{key}",
            "file_url": call.origin + self._world.files.link(stored),
        }
        return JSONResponse(urls)

    async def put(self, call: Call) -> Response:
        stored = self._awaited.pop(call.request.path_params["id"], None)
        if stored is None:
            return JSONResponse({"detail": "Not found"}, 404)
        self._world.files.refill(stored, call.body)
        return Response(status_code=200)

    def _put(self, content: bytes, name: str, mime: str | None) -> StoredFile:
        return self._world.files.put(
            content,
            provider="fal",
            name=name,
            mime=mime or "application/octet-stream",
            expires_s=self._world.clock.now_s() + KEPT_S,
        )


class _CdnFaces(FalFaces):
    """The CDN wants the token, not the key."""

    def __init__(self, storage: _Storage) -> None:
        self._storage = storage

    def refuse_key(self, request: Request) -> Response | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and self._storage.knows(token):
            return None
        return JSONResponse({"detail": "Invalid or expired token"}, 401)


class _SignedFaces(FalFaces):
    """A signed URL wants nothing more."""

    def refuse_key(self, request: Request) -> Response | None:  # noqa: ARG002 - the URL is the key
        return None
