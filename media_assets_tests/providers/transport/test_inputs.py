"""Files on their way to a provider: inside the request where they fit, uploaded else."""

import asyncio
import base64
from collections.abc import Generator
from pathlib import Path
from typing import ClassVar

import pytest

from media_assets.errors import RequestRejectedError, StorageError
from media_assets.providers.base import HttpCall, HttpReply, InputFile
from media_assets.providers.local import LocalAdapter
from media_assets.providers.transport.inputs import as_reference
from media_assets.simulator.media import picture

_PNG = picture((64, 64))
_URI = f"data:image/png;base64,{base64.b64encode(_PNG).decode()}"


class _Uploading(LocalAdapter):
    """Takes files in two steps."""

    name: ClassVar[str] = "testing"

    def __init__(self, largest_uri: int) -> None:
        self._largest_uri = largest_uri
        self.files: list[InputFile] = []

    @property
    def data_uri_max_bytes(self) -> int:  # type: ignore[override]
        return self._largest_uri

    def upload(self, file: InputFile) -> Generator[HttpCall, HttpReply, str]:
        self.files.append(file)
        granted = yield HttpCall(method="POST", url="https://up.example.test/token")
        yield HttpCall(method="PUT", url=f"https://up.example.test/{granted.body.decode()}", content=file.content)
        return "https://files.example.test/1"


def _reference(adapter: LocalAdapter, path: Path, sent: list[HttpCall]) -> str:
    async def send(call: HttpCall) -> HttpReply:
        sent.append(call)
        return HttpReply(status=200, headers={}, body=b"ticket")

    return asyncio.run(as_reference(adapter, path, send))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a-user-s-own-name-and-more.png"
    path.write_bytes(_PNG)
    return path


@pytest.mark.parametrize("room", [0, 1])
def test_what_fits_is_sent_inside_the_request(path: Path, room: int) -> None:
    """To the last byte: one more call is one more thing that can fail."""
    sent: list[HttpCall] = []

    assert _reference(_Uploading(len(_URI) + room), path, sent) == _URI
    assert sent == []


@pytest.mark.parametrize("largest", [0, len(_PNG), len(_URI) - 1])
def test_what_does_not_fit_is_uploaded(path: Path, largest: int) -> None:
    adapter, sent = _Uploading(largest), list[HttpCall]()

    assert _reference(adapter, path, sent) == "https://files.example.test/1"
    assert [call.url for call in sent] == ["https://up.example.test/token", "https://up.example.test/ticket"]
    (file,) = adapter.files
    assert (file.content, file.mime, file.filename) == (_PNG, "image/png", "a-user-s-own-nam.png")


def test_a_provider_that_takes_no_files_says_so(path: Path) -> None:
    with pytest.raises(RequestRejectedError, match="takes no files"):
        _reference(LocalAdapter(), path, [])


def test_a_file_that_is_gone_is_no_purchase(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Nothing was bought"):
        _reference(_Uploading(0), tmp_path / "gone.png", [])
