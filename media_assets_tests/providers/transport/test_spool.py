"""Replies on disk: whole or not at all, for their owner's eyes only, and gone when they are not needed."""

import stat
from pathlib import Path

import pytest

from media_assets.providers.base import HttpReply
from media_assets.providers.transport.spool import Spool

REPLY = HttpReply(status=201, headers={"content-type": "application/json"}, body=b'{"id": "p1"}\n\x00\xff')


def test_a_reply_is_read_as_it_came(tmp_path: Path) -> None:
    """Line breaks and bytes that are no text are part of it."""
    spool = Spool(tmp_path / "spool")

    spool.write("a" * 32, REPLY)

    assert spool.read("a" * 32) == REPLY
    assert spool.tokens() == {"a" * 32}


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """It may hold a signed URL."""
    spool = Spool(tmp_path / "spool")

    spool.write("t", REPLY)

    assert stat.S_IMODE(spool.path("t").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


@pytest.mark.parametrize("kept", [0, 10, 60, -1])
def test_half_a_reply_is_none(tmp_path: Path, kept: int) -> None:
    """A disk that lost its end must not make a prediction of it."""
    spool = Spool(tmp_path)
    spool.write("t", REPLY)
    whole = spool.path("t").read_bytes()
    spool.path("t").write_bytes(whole[:kept])

    assert spool.read("t") is None


def test_what_was_never_there_is_none_and_can_be_dropped(tmp_path: Path) -> None:
    """Most attempts leave nothing behind."""
    spool = Spool(tmp_path / "spool")

    assert spool.read("t") is None
    assert spool.tokens() == set()
    spool.drop("t")


def test_a_dropped_reply_is_gone_with_its_beginnings(tmp_path: Path) -> None:
    """A process that died while it wrote has left half a file."""
    spool = Spool(tmp_path)
    spool.write("t", REPLY)
    (tmp_path / "t.half").write_bytes(b"begun")

    spool.drop("t")

    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reply is in memory all the same: the work goes on, and the log says what is at risk."""
    (tmp_path / "spool").write_bytes(b"a file where a folder should be")
    spool = Spool(tmp_path / "spool")

    spool.write("t", REPLY)

    assert spool.read("t") is None
    assert "could not be kept" in caplog.text
