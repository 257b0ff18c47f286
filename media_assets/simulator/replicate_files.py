"""The simulated Replicate's Files API: uploads for inputs. They expire after 24 h, as in a recorded reply."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator.calls import OTHER, Call, endpoint
from media_assets.simulator.downloads import StorageFaces
from media_assets.simulator.files import StoredFile
from media_assets.simulator.multipart import read_parts
from media_assets.simulator.replicate_bodies import FACES, PREFIX, problem
from media_assets.simulator.world import World

KEPT_S: Final = 24 * 3600.0
LARGEST_BYTES: Final = 100_000_000
"""Replicate's OpenAPI document: files must be less than 100MB."""

SIGNING_SECRET: Final = "simulated-files-signing-secret"  # noqa: S105 - of nothing but the simulator
"""With it, ``download`` signatures are made: base64 of HMAC-SHA256 over ``owner id expiry``."""


@dataclass(frozen=True)
class _Upload:
    stored: StoredFile
    sha256: str
    md5: str
    size: int
    metadata: dict[str, Any]
    created_s: float


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of the Files API."""
    uploads = _Uploads(world)
    named = partial(endpoint, world, FACES)
    one = f"{PREFIX}/files/{{id}}"
    return [
        named("POST", f"{PREFIX}/files", "upload", uploads.create),
        named("GET", f"{PREFIX}/files", OTHER, uploads.list),
        named("GET", one, OTHER, uploads.show),
        named("DELETE", one, OTHER, uploads.delete),
        endpoint(world, StorageFaces("replicate"), "GET", f"{one}/download", "download", uploads.download),
    ]


class _Uploads:
    def __init__(self, world: World) -> None:
        self._world = world
        self._uploads: dict[str, _Upload] = {}

    async def create(self, call: Call) -> Response:
        try:
            parts = read_parts(call.request.headers.get("content-type", ""), call.body)
            content = parts["content"]
            metadata = json.loads(parts["metadata"].content) if "metadata" in parts else {}
        except (ValueError, KeyError):
            return problem(400, "Missing content", title="Bad request")
        if len(content.content) >= LARGEST_BYTES:
            return JSONResponse(
                {"detail": "Files must be less than 100MB in size"}, 413, media_type="application/problem+json"
            )
        named = parts["filename"].content.decode("utf-8", "replace") if "filename" in parts else content.filename
        mime = parts["type"].content.decode("latin-1") if "type" in parts else content.mime
        now_s = self._world.clock.now_s()
        stored = self._world.files.put(
            content.content,
            provider="replicate",
            name=named or "file",
            mime=mime or "application/octet-stream",
            expires_s=now_s + KEPT_S,
        )
        upload = _Upload(
            stored,
            hashlib.sha256(content.content).hexdigest(),
            hashlib.md5(content.content, usedforsecurity=False).hexdigest(),
            len(content.content),
            metadata,
            now_s,
        )
        self._uploads[stored.id] = upload
        return JSONResponse(self._body(call, upload), 201)

    async def list(self, call: Call) -> Response:
        kept = [upload for upload in self._uploads.values() if not self._is_expired(upload)]
        results = [self._body(call, upload) for upload in reversed(kept)]
        return JSONResponse({"previous": None, "next": None, "results": results})

    async def show(self, call: Call) -> Response:
        upload = self._find(call.request)
        return JSONResponse(self._body(call, upload)) if upload else _no_file()

    async def delete(self, call: Call) -> Response:
        upload = self._find(call.request)
        if upload is None:
            return _no_file()
        self._world.files.remove(upload.stored.id)
        del self._uploads[upload.stored.id]
        return Response(status_code=204)

    async def download(self, call: Call) -> Response:
        upload, query = self._find(call.request), call.request.query_params
        owner, expiry = query.get("owner", ""), query.get("expiry", "")
        signed = sign_download(owner, call.request.path_params["id"], expiry)
        if upload is None or not hmac.compare_digest(signed.encode(), query.get("signature", "").encode()):
            return _no_file()
        if not expiry.isdecimal() or int(expiry) <= self._world.clock.utc().timestamp():
            return _no_file()
        return Response(await self._world.files.read(upload.stored), media_type="application/octet-stream")

    def _find(self, request: Request) -> _Upload | None:
        upload = self._uploads.get(request.path_params["id"])
        return None if upload is None or self._is_expired(upload) else upload

    def _is_expired(self, upload: _Upload) -> bool:
        return upload.stored.expires_s <= self._world.clock.now_s()

    def _body(self, call: Call, upload: _Upload) -> dict[str, Any]:
        return {
            "id": upload.stored.id,
            "name": upload.stored.name,
            "content_type": upload.stored.mime,
            "size": upload.size,
            "etag": upload.md5,
            "checksums": {"sha256": upload.sha256, "md5": upload.md5},
            "metadata": upload.metadata,
            "created_at": self._world.clock.stamp(upload.created_s),
            "expires_at": self._world.clock.stamp(upload.stored.expires_s),
            "urls": {"get": f"{call.origin}{PREFIX}/files/{upload.stored.id}"},
        }


def sign_download(owner: str, file_id: str, expiry: str) -> str:
    """Return the signature under which ``/files/{id}/download`` hands a file out until ``expiry`` (Unix seconds)."""
    digest = hmac.digest(SIGNING_SECRET.encode(), f"{owner} {file_id} {expiry}".encode(), "sha256")
    return base64.b64encode(digest).decode()


def _no_file() -> Response:
    # The specification's body of a download's 404 has nothing else; it describes no other 404 of files.
    return JSONResponse({"detail": "File not found"}, 404, media_type="application/problem+json")
