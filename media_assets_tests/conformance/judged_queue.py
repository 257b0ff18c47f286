"""Our fal adapter's calls to the simulator, each reply of the queue checked by ``fal_queue_schema.py``."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from media_assets.prediction import Prediction
from media_assets.providers.base import Asked, HttpCall, HttpReply, InputFile
from media_assets.providers.fal import FalAdapter
from media_assets.simulator.server import Simulator
from media_assets_tests.conformance import fal_queue_schema
from media_assets_tests.conformance.our_requests import adapters_at, call_of, drafted, paid_models

KEY = {"Authorization": "Key simulated:key"}
CALLS = {Asked.SUBMIT: "submit", Asked.STATUS: "status", Asked.RESULT: "result", Asked.CANCEL: "cancel"}
SCHNELL = next(spec for spec in paid_models("fal") if spec.id == "fal:flux-schnell")


@dataclass
class Queue:
    """The adapter's calls on the wire, each reply checked as it comes."""

    simulator: Simulator
    http: httpx.Client
    replies: int = 0

    @property
    def adapter(self) -> FalAdapter:
        adapter = adapters_at(self.simulator)["fal"]
        assert isinstance(adapter, FalAdapter)
        return adapter

    def send(self, call: HttpCall | None, what: str) -> HttpReply:
        assert call is not None
        headers = {**call.headers, **(KEY if call.with_key and "Authorization" not in call.headers else {})}
        content = call.content if call.json_body is None else json.dumps(call.json_body).encode()
        reply = self.http.request(call.method, call.url, content=content, headers=headers)
        if (what, reply.status_code) != ("result", 200):
            assert fal_queue_schema.faults(what, reply.status_code, reply.json()) == [], f"{what}: {reply.text}"
            self.replies += 1
        assert what in {"token", "upload"} or reply.headers["x-fal-request-id"]
        return HttpReply(status=reply.status_code, headers=dict(reply.headers), body=reply.content)

    def submit(self, call: HttpCall | None = None) -> Prediction:
        sent = call or call_of(self.adapter, SCHNELL, drafted(SCHNELL).request, "")
        return self.adapter.parse(self.send(sent, "submit"), Asked.SUBMIT)

    def ask(self, asked: Asked, known: Prediction, query: str = "") -> tuple[int, Any]:
        calls = {Asked.STATUS: self.adapter.status_call, Asked.RESULT: self.adapter.result_call}
        call = calls.get(asked, self.adapter.cancel_call)(known)
        assert call is not None
        reply = self.send(HttpCall(method=call.method, url=call.url + query), CALLS[asked])
        return reply.status, reply.json()

    def upload(self, data: bytes) -> str:
        way = self.adapter.upload(InputFile(content=data, mime="image/png", filename="barn.png"))
        try:
            granted = self.send(next(way), "token")
            way.send(self.send(way.send(granted), "upload"))
        except StopIteration as done:
            return str(done.value)
        message = "the upload wants a third call"
        raise AssertionError(message)
