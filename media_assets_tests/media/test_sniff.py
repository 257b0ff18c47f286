"""Types by first bytes."""

from pathlib import Path

import pytest

from media_assets.media.sniff import describe_unknown, has_index_first, is_no_file, sniff
from media_assets_tests.media.makers import moving_clip


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBP", "image/webp"),
        (b"RIFF\x10\0\0\0WAVE", "audio/wav"),
        (b"RF64\xff\xff\xff\xffWAVE", "audio/wav"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
        (b"ID3\x04\0", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf3\x84\xc4", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
    ],
)
def test_each_type_is_known_by_its_first_bytes(head: bytes, mime: str) -> None:
    """Providers send other types than were asked for, under names of their choice."""
    assert sniff(head) == mime


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "is empty"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "playlist"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "playlist"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "XML"),
        (b'{"detail": "expired"}', "JSON"),
        (b"RIFF\x10\0\0\0AVI ", "no type"),
        (b"GIF89a", "image that is not handled"),
        (b"\0\0\0\x20ftypheic", "image that is not handled"),
        ("Zugriff verweigert: Schlüssel ungültig".encode()[:-4], "plain text"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "no type"),
        (b"\xff\xff\xff\xff", "no type"),
    ],
)
def test_what_is_not_handled_is_named_in_plain_words(head: bytes, reason: str) -> None:
    """A library's "invalid data" helps nobody when the server sent its error page with status 200."""
    assert sniff(head) is None
    assert reason in describe_unknown(head)


@pytest.mark.parametrize(
    ("head", "is_words"),
    [
        (b"", True),
        (b"\n <!DOCTYPE html><html>", True),
        ("<html>Schl\u00fcssel".encode("latin-1"), True),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", True),
        (b'[{"detail": "expired"}]', True),
        (b"no such file", True),
        (b"#EXTM3U\n", True),
        (b"RIFF\x10\0\0\0AVI ", False),
        (b"GIF89a\x01\0\x01\0", False),
        (b"\0\0\0\x20ftypheic", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"ID3", False),
        (bytes(100), False),
    ],
)
def test_words_are_told_from_files(head: bytes, *, is_words: bool) -> None:
    """A paid file is kept however broken it is; a server's excuse is not what was paid for."""
    assert is_no_file(head) == is_words


def test_the_place_of_the_index_is_seen(tmp_path: Path) -> None:
    """A film whose index is at its end does not play in a browser before it is loaded."""
    late = moving_clip(tmp_path / "late.mp4", seconds=0.5)
    first = moving_clip(tmp_path / "first.mp4", seconds=0.5, more="-movflags +faststart")

    assert not has_index_first(late)
    assert has_index_first(first)
