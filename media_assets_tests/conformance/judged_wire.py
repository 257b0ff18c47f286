"""HTTP calls to the simulator of which every body, sent and answered, is judged by an official document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from media_assets.providers.base import HttpCall, HttpReply
from media_assets_tests.conformance.specification import Body, Specification


@dataclass
class JudgedWire:
    """One provider's simulated API."""

    http: httpx.Client
    base_url: str
    """Where the document's paths begin."""
    key: Mapping[str, str]
    """The headers that carry it."""
    specification: Specification

    def send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **body: Any) -> HttpReply:
        """Send a call as ``httpx`` puts it, and fail where a body does not fit."""
        request = self.http.build_request(method, self.base_url + path, headers={**self.key, **(headers or {})}, **body)
        sent = Body(content=request.read(), content_type=request.headers.get("content-type", ""))
        faults = self.specification.request_faults(method, path, headers or {}, sent if sent.content else None)
        assert faults == [], f"request {method} {path}: {faults}"
        reply = self.http.send(request)
        told = Body(content=reply.content, content_type=reply.headers.get("content-type", ""))
        faults = self.specification.reply_faults(method, path, reply.status_code, told)
        assert faults == [], f"reply {reply.status_code} to {method} {path}: {faults}"
        return HttpReply(status=reply.status_code, headers=dict(reply.headers), body=reply.content)

    def call(self, call: HttpCall | None) -> HttpReply:
        """Send one of our adapters' calls."""
        assert call is not None
        assert call.url.startswith(self.base_url)
        body: dict[str, Any] = {}
        if call.json_body is not None:
            body["json"] = call.json_body
        if call.parts:
            body["files"] = {part.name: (part.filename, part.content, part.content_type) for part in call.parts}
        return self.send(call.method, call.url.removeprefix(self.base_url), headers=call.headers, **body)

    def judge_only(self, call: HttpCall) -> None:
        """Judge one of our adapters' calls without sending it."""
        path = call.url.removeprefix(self.base_url)
        content = httpx.Request("POST", call.url, json=call.json_body).content
        faults = self.specification.request_faults(call.method, path, call.headers, Body(content=content))
        assert faults == [], f"request {call.method} {path}: {faults}"
