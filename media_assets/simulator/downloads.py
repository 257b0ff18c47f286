"""Handing out stored files: signed URLs that expire, and everything that can be wrong with a download."""

from typing import Final
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from media_assets.simulator.calls import Call, OpenFaces, Work, endpoint
from media_assets.simulator.files import PREFIX
from media_assets.simulator.options import PROVIDERS
from media_assets.simulator.world import World

_METADATA_ADDRESS: Final = "http://169.254.169.254/latest/meta-data/"
"""Where clouds keep a machine's credentials: what a redirect must never lead a downloader to."""


class StorageFaces(OpenFaces):
    """An object store's replies: XML, in the shape S3 made common. No provider documents its own (2026-11-22)."""

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def server_error(self, status: int) -> Response:
        return _xml(status, "InternalError", "We encountered an internal error. Please try again.")


def routes(world: World) -> list[BaseRoute]:
    """Return the routes of every provider's files."""
    return [
        endpoint(
            world,
            StorageFaces(provider),
            "GET",
            f"{PREFIX}/{provider}/{{id}}/{{name}}",
            "download",
            _hand_out(provider),
            model_of=_model_of,
        )
        for provider in PROVIDERS
    ]


def _model_of(world: World, request: Request, _body: bytes) -> str:
    stored = world.files.get(request.path_params["id"])
    return stored.model if stored else ""


def _hand_out(provider: str) -> Work:
    async def work(call: Call) -> Response:
        query = call.request.query_params
        file_id = call.request.path_params["id"]
        if not call.world.files.allows(provider, file_id, query.get("expires", ""), query.get("signature", "")):
            return _xml(403, "AccessDenied", "Request has expired or its signature does not match.")
        stored = call.world.files.get(file_id)
        if stored is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        if call.met("expired"):
            return _xml(403, "AccessDenied", "Request has expired.")
        if call.fault is not None and call.met("redirect_private"):
            return RedirectResponse(call.fault.value or _METADATA_ADDRESS, 302)
        mime = "text/plain" if call.met("wrong_mime") else stored.mime
        return Response(await call.world.files.read(stored), headers={"Content-Type": mime, "Accept-Ranges": "none"})

    return work


def _xml(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{error}', status, media_type="application/xml")
