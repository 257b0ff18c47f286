"""Forms with files: any bytes come through as they were."""

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.simulator.multipart import Part, read_parts


def _form(**parts: bytes) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x", files={name: ("a.bin", content) for name, content in parts.items()})
    return request.headers["content-type"], request.read()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary() | st.sampled_from([b"\r\n", b"\r\n--", b"--", b"\r\n\r\n", b"\n"]), max_size=4))
def test_any_bytes_come_through(pieces: list[bytes]) -> None:
    """A PNG is full of line breaks."""
    content = b"".join(pieces)

    parts = read_parts(*_form(content=content, other=b"x"))

    assert parts["content"].content == content
    assert parts["other"].content == b"x"


def test_names_and_types_are_read() -> None:
    request = httpx.Request(
        "POST", "http://x", files={"content": ("ä b.png", b"1", "image/png")}, data={"metadata": '{"a": 1}'}
    )

    parts = read_parts(request.headers["content-type"], request.read())

    assert parts["content"] == Part(b"1", "ä b.png", "image/png")
    assert parts["metadata"] == Part(b'{"a": 1}', None, None)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\ncut'),
        ("multipart/form-data; boundary=x", b"--x\r\nNo: name\r\n\r\ny\r\n--x--\r\n"),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"form|parts|name"):
        read_parts(content_type, body)
