"""The judge itself, on a small document: what it lets pass, and what it must notice."""

import json
from typing import Any

import httpx
import pytest

from media_assets_tests.conformance.specification import Body, Specification

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/things/{thing_id}": {
            "post": {
                "parameters": [
                    {"$ref": "#/components/parameters/wait"},
                    {"name": "loud", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "format", "in": "query", "required": True, "schema": {"enum": ["mp3", "wav"]}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Wish"}},
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {"content": {"type": "string", "format": "binary"}},
                                "required": ["content"],
                            }
                        },
                    },
                },
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
                            "text/event-stream": {"schema": {"$ref": "#/components/schemas/Thing"}},
                            "audio/*": {"schema": {"type": "string", "format": "binary"}},
                        }
                    },
                    "204": {"description": "nothing"},
                },
            }
        }
    },
    "components": {
        "parameters": {"wait": {"name": "Wait", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
        "schemas": {
            "Wish": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "Thing": {
                "type": "object",
                "properties": {
                    "id": {"oneOf": [{"type": "string"}, {"enum": ["hidden"]}]},
                    "made_at": {"type": "string", "format": "date-time"},
                    "url": {"type": "string", "format": "uri", "nullable": True},
                },
                "required": ["id"],
            },
            "Fault": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
        },
    },
}
THING = {"id": "hidden", "made_at": "2026-11-24T12:00:00.000Z", "url": None}


def as_body(value: Any) -> Body:
    return Body(content=json.dumps(value).encode(), content_type="application/json; charset=utf-8")


def request_faults(query: str = "?format=mp3", wait: str = "5", body: Body | None = None) -> list[str]:
    judge = Specification(DOCUMENT)
    return judge.request_faults("POST", f"/things/7{query}", {"wait": wait}, body or as_body({"text": "x"}))


def reply_faults(body: Body, status: int = 200) -> list[str]:
    return Specification(DOCUMENT, error_schema="Fault").reply_faults("POST", "/things/7", status, body)


def form(name: str) -> Body:
    request = httpx.Request("POST", "http://127.0.0.1", files={name: ("a.txt", b"one\r\ntwo", "text/plain")})
    return Body(content=request.read(), content_type=request.headers["content-type"])


def test_what_fits_passes() -> None:
    assert request_faults() == []
    assert request_faults(query="?format=wav&loud=true") == []
    assert request_faults(body=form("content")) == []
    assert reply_faults(as_body(THING)) == []
    assert reply_faults(as_body({"message": "no"}), 500) == []
    assert reply_faults(Body(content=b"ID3", content_type="audio/mpeg")) == []
    events = b'event: a\ndata: {"id": "1"}\n\ndata: {"id": "2"}\n\n'
    assert reply_faults(Body(content=events, content_type="text/event-stream")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"query": ""}, "format is missing"),
        ({"query": "?format=ogg"}, "'ogg' does not fit"),
        ({"query": "?format=mp3&loud=very"}, "'very' does not fit"),
        ({"query": "?format=mp3&quiet=1"}, "quiet is unknown"),
        ({"wait": "soon"}, "'soon' does not fit"),
        ({"body": as_body({})}, "'text' is a required property"),
        ({"body": as_body({"text": "x", "colour": "red"})}, "'colour' was unexpected"),
        ({"body": Body(content=b"text=x", content_type="application/x-www-form-urlencoded")}, "is none of"),
        ({"body": form("file")}, "'content' is a required property"),
    ],
)
def test_a_request_that_does_not_fit_is_noticed(given: dict[str, Any], said: str) -> None:
    assert said in " ".join(request_faults(**given))


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (as_body({**THING, "id": 7}), 200, "is not valid under any of the given schemas"),
        (as_body({**THING, "made_at": "yesterday"}), 200, "is not a 'date-time'"),
        (as_body({**THING, "made_at": "2026-11-24T12:00:00"}), 200, "is not a 'date-time'"),
        (as_body({**THING, "url": "nowhere"}), 200, "is not valid under any of the given schemas"),
        (as_body({**THING, "size": 1}), 200, "'size' was unexpected"),
        (as_body(THING), 202, "status 202 is not specified"),
        (as_body(THING), 204, "not specified"),
        (as_body({"detail": "no"}), 500, "'message' is a required property"),
        (Body(content=b"", content_type="audio/mpeg"), 200, "the body is empty"),
        (Body(content=b"", content_type="text/event-stream"), 200, "no document"),
        (Body(content=b"<html>", content_type="text/html"), 200, "is none of"),
    ],
)
def test_a_reply_that_does_not_fit_is_noticed(body: Body, status: int, said: str) -> None:
    assert said in " ".join(reply_faults(body, status))


def test_an_unknown_path_is_noticed_and_bodies_are_counted() -> None:
    judge = Specification(DOCUMENT)

    assert judge.request_faults("GET", "/things/7", {}, None) == ["GET /things/7 is not in the document"]
    assert judge.reply_faults("POST", "/things/7/parts", 200, as_body(THING))
    assert judge.request_faults("POST", "/things/7?format=mp3", {}, None) == ["a body is missing"]
    judge.request_faults("POST", "/things/7?format=mp3", {}, as_body({"text": "x"}))
    judge.reply_faults("POST", "/things/7", 200, as_body(THING))
    judge.reply_faults("POST", "/things/7", 404, as_body({}))
    assert (judge.tally.requests, judge.tally.replies, judge.tally.unspecified) == (1, 1, 1)


def test_a_schema_can_be_left_open() -> None:
    judge = Specification(DOCUMENT, open_schemas=frozenset({"Thing"}))

    assert judge.reply_faults("POST", "/things/7", 200, as_body({**THING, "size": 1})) == []
