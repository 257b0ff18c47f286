"""Reading ``multipart/form-data`` (RFC 7578), as far as an upload needs it."""

import re
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser


@dataclass(frozen=True)
class Part:
    """One field of a form."""

    content: bytes
    filename: str | None
    mime: str | None


def read_parts(content_type: str, body: bytes) -> dict[str, Part]:
    """Return the fields by name.

    Raises:
        ValueError: It is no such form.
    """
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        message = f"{content_type!r} is no form with parts"
        raise ValueError(message)
    # Every delimiter but the first begins with the line break that ends the part before it.
    pieces = re.split(b"(?:^|\r\n)--" + re.escape(boundary.encode()) + b"(?=\r\n|--)", body)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - before, at least one part, after
        message = "the form has no parts, or no end"
        raise ValueError(message)
    return dict(_part(piece) for piece in pieces[1:-1])


def _part(piece: bytes) -> tuple[str, Part]:
    header, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    fields = HeaderParser().parsestr(header.decode("utf-8", "replace"))
    name = fields.get_param("name", header="content-disposition")
    if not name:
        message = "a part has no name"
        raise ValueError(message)
    return str(name), Part(content, fields.get_filename(), fields.get("content-type"))
