"""An official OpenAPI document as a judge of HTTP bodies: requests as they are sent, replies as they come.

Stricter than the documents themselves in one thing: an object that lists its fields may have no others, so that an
invented field is noticed on either side.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_ROOT: Final = "urn:openapi"
_FORMATS: Final = FormatChecker(formats=())


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


_FORMATS.checks("date-time", raises=ValueError)(_is_date_time)
_FORMATS.checks("uri", raises=ValueError)(_is_uri)


def schema_faults(schema: Mapping[str, Any], value: Any, registry: Registry[Any] | None = None) -> list[str]:
    """Return what is wrong with a value; dates and URIs are looked at too."""
    more = {} if registry is None else {"registry": registry}
    validator = Draft202012Validator(schema, format_checker=_FORMATS, **more)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body and what its header says it is."""

    content: bytes
    content_type: str = "application/json"

    @property
    def media_type(self) -> str:
        """The type without its parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    def documents(self) -> list[Any]:
        """Return the JSON documents in it: one, one a line, or one an event."""
        text = self.content.decode()
        if self.media_type == "text/event-stream":
            lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
            return [json.loads(line) for line in lines]
        try:
            return [json.loads(text)]
        except ValueError:
            return [json.loads(line) for line in text.splitlines()]


@dataclass(kw_only=True)
class Tally:
    """How many bodies were judged."""

    requests: int = 0
    replies: int = 0
    unspecified: int = 0
    """Error replies that the document says nothing of."""

    def __str__(self) -> str:
        return f"{self.requests} request bodies, {self.replies} reply bodies, {self.unspecified} errors not specified"


@dataclass
class Specification:
    """One document.

    Args:
        document: As it was parsed.
        error_schema: Name of the schema that any error must have which its operation does not describe.
        open_schemas: Names of schemas whose objects may have further fields.
    """

    document: Mapping[str, Any]
    error_schema: str | None = None
    open_schemas: frozenset[str] = frozenset()
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._strict = _strict(self.document)
        for name in self.open_schemas:
            schemas = self._strict["components"]["schemas"]
            schemas[name] = _opened(schemas[name])
        resource = DRAFT202012.create_resource(self._strict)
        self.registry: Registry[Any] = Registry().with_resource(_ROOT, resource)

    @staticmethod
    def component(name: str) -> Mapping[str, Any]:
        """Return the reference to a named schema, to be looked up in ``registry``."""
        return {"$ref": f"{_ROOT}#/components/schemas/{name}"}

    def request_faults(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> list[str]:
        """Return what is wrong with a request; ``url`` is relative to the document's server."""
        parts = urlsplit(url)
        found = self._operation(method, parts.path)
        if found is None:
            return [f"{method} {parts.path} is not in the document"]
        where, operation = found
        given = {"query": dict(parse_qsl(parts.query)), "header": {name.lower(): one for name, one in headers.items()}}
        faults = list(self._parameter_faults(operation, given))
        if body is None:
            return faults + (["a body is missing"] if operation.get("requestBody", {}).get("required") else [])
        self.tally.requests += 1
        return faults + self._body_faults(f"{where}/requestBody", operation["requestBody"], body)

    def reply_faults(self, method: str, url: str, status: int, body: Body) -> list[str]:
        """Return what is wrong with a reply."""
        found = self._operation(method, urlsplit(url).path)
        if found is None:
            return [f"{method} {url} is not in the document"]
        where, operation = found
        responses = operation["responses"]
        if str(status) in responses:
            response, at = self._resolved(responses[str(status)], f"{where}/responses/{status}")
            if "content" not in response:
                return ["a body that is not specified"] if body.content else []
            self.tally.replies += 1
            return self._body_faults(at, response, body)
        if status < 400:
            return [f"status {status} is not specified"]
        if self.error_schema is None:
            self.tally.unspecified += 1
            return []
        self.tally.replies += 1
        return self._faults(f"/components/schemas/{self.error_schema}", body.documents())

    def _operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        for template, operations in self._strict["paths"].items():
            if method.lower() in operations and re.fullmatch(
                re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path
            ):
                escaped = template.replace("~", "~0").replace("/", "~1")
                return f"/paths/{escaped}/{method.lower()}", operations[method.lower()]
        return None

    def _resolved(self, node: Mapping[str, Any], at: str) -> tuple[Mapping[str, Any], str]:
        while "$ref" in node:
            at = node["$ref"].removeprefix(f"{_ROOT}#")
            node = self._node(at)
        return node, at

    def _node(self, at: str) -> Any:
        node: Any = self._strict
        for step in at.strip("/").split("/"):
            node = node[step.replace("~1", "/").replace("~0", "~")]
        return node

    def _parameter_faults(self, operation: Mapping[str, Any], given: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        known = set()
        for one in operation.get("parameters", []):
            parameter, _ = self._resolved(one, "")
            name, place = parameter["name"], parameter["in"]
            values = given.get(place, {})
            known.add((place, name))
            value = values.get(name.lower() if place == "header" else name)
            if value is None:
                yield from (
                    [f"{place} parameter {name} is missing"] if parameter.get("required") and place in given else []
                )
                continue
            choices = (value, *_typed(value))
            if all(schema_faults(parameter["schema"], choice, self.registry) for choice in choices):
                yield f"{place} parameter {name}: {value!r} does not fit"
        yield from (f"query parameter {name} is unknown" for name in given["query"] if ("query", name) not in known)

    def _body_faults(self, at: str, described: Mapping[str, Any], body: Body) -> list[str]:
        for media_range, content in described["content"].items():
            if not re.fullmatch(re.escape(media_range).replace(r"\*", ".*"), body.media_type):
                continue
            if content["schema"].get("format") == "binary":
                return [] if body.content else ["the body is empty"]
            step = media_range.replace("~", "~0").replace("/", "~1")
            if body.media_type == "multipart/form-data":
                return self._faults(f"{at}/content/{step}/schema", [_form(body)])
            return self._faults(f"{at}/content/{step}/schema", body.documents())
        return [f"{body.media_type} is none of {', '.join(described['content'])}"]

    def _faults(self, at: str, documents: list[Any]) -> list[str]:
        if not documents:
            return ["there is no document in the body"]
        return [fault for one in documents for fault in schema_faults({"$ref": f"{_ROOT}#{at}"}, one, self.registry)]


def _typed(value: str) -> Iterator[Any]:
    """Yield what a text in a query may stand for."""
    if value in {"true", "false"}:
        yield value == "true"
    if re.fullmatch(r"-?\d+", value):
        yield int(value)


def _form(body: Body) -> dict[str, Any]:
    """Return a multipart form's parts by name; files as text, as the documents describe them."""
    (_, _, boundary) = body.content_type.partition("boundary=")
    parts: dict[str, Any] = {}
    for part in body.content.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None, "a part without a name"
        parts[name[1].decode()] = content.removesuffix(b"\r\n").decode("latin-1")
    return parts


def _strict(node: Any) -> Any:
    """Return a document as JSON Schema 2020-12 reads it, references absolute, without unnamed fields."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    made = {name: _strict(one) for name, one in node.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = f"{_ROOT}{made['$ref']}"
    if isinstance(made.get("properties"), Mapping) and "type" in made:
        made.setdefault("additionalProperties", False)
    if isinstance(made.get("oneOf"), list):
        # Replicate's description of `version` fits "hidden" in two ways, so that exactly one can never be right.
        made["anyOf"] = made.pop("oneOf")
    if made.pop("nullable", None) is True:
        made = {"anyOf": [made, {"type": "null"}]}
    return made


def _opened(node: Any) -> Any:
    """Return a schema in which no object is closed."""
    if isinstance(node, list):
        return [_opened(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    return {name: _opened(one) for name, one in node.items() if (name, one) != ("additionalProperties", False)}
