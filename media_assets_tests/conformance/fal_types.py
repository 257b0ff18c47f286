"""fal's TypeScript types of its models as JSON Schema; they say names, types, choices, and what is required."""

import re
from collections.abc import Mapping
from typing import Any, Final

_SIMPLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    # What their JavaScript client uploads by itself is a URL on the wire.
    "string | Blob | File": {"type": "string", "pattern": "^(https?://|data:)"},
}
_CHOICE = re.compile(r'"([^"]*)"')


class FalTypes:
    """The types of one file, by endpoint."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take the part of the file that has most endpoints; the other is older."""
        newest = max(document.values(), key=lambda part: len(part["endpoints"]))
        self._shared = newest["shared"]
        self._endpoints = newest["endpoints"]

    def input_of(self, endpoint: str) -> Mapping[str, Any]:
        """Return the schema of an endpoint's request."""
        return self._object(self._endpoints[endpoint]["input"])

    def output_of(self, endpoint: str) -> Mapping[str, Any]:
        """Return the schema of an endpoint's result."""
        return self._object(self._endpoints[endpoint]["output"])

    def _object(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "type": "object",
            "properties": {name: self._schema(field["type"]) for name, field in fields.items()},
            "required": [name for name, field in fields.items() if field["required"]],
            "additionalProperties": False,
        }

    def _schema(self, written: str) -> Mapping[str, Any]:
        if written in _SIMPLE:
            return _SIMPLE[written]
        if written in self._shared:
            return self._object(self._shared[written])
        if listed := re.fullmatch(r"Array<(.+)>", written):
            return {"type": "array", "items": self._schema(listed[1])}
        choices = _CHOICE.findall(written)
        others = [one for one in _CHOICE.sub("", written).replace("|", " ").split() if one in self._shared]
        if not choices:
            return {}  # a type that the file does not describe
        return {"anyOf": [{"enum": choices}, *(self._object(self._shared[one]) for one in others)]}
