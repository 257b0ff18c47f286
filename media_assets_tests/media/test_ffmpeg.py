"""The one door to ffmpeg: its deadline, its stop, its streams, and names that look like commands."""

import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_assets.errors import FfmpegError, StoppedError
from media_assets.media._ffmpeg import ffmpeg_path, graph_arguments, graph_input, run_ffmpeg
from media_assets.media.probe import probe
from media_assets.media.work import Work
from media_assets_tests.media.makers import tone, write_wav


@pytest.fixture
def work(tmp_path: Path) -> Work:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Work(scratch=scratch)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shell script that is run in ffmpeg's place."""
    path = tmp_path / "stub"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(stat.S_IRWXU)
    monkeypatch.setenv("MEDIA_ASSETS_FFMPEG", str(path))
    ffmpeg_path.cache_clear()
    yield path
    ffmpeg_path.cache_clear()


def _is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie whose parent has not looked yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _becomes_dead(pid: int) -> bool:
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        if not _is_alive(pid):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at processes through /proc")
def test_the_deadline_kills_ffmpeg_and_whatever_it_started(stub: Path, tmp_path: Path, work: Work) -> None:
    """A child left behind keeps a core busy, and a file open, for hours."""
    stub.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > '{tmp_path}/child'\nwait\n")
    begun = time.monotonic()

    with pytest.raises(FfmpegError, match=r"deadline of 0\.4 s"):
        run_ffmpeg(["-x"], deadline_s=0.4, work=work)

    assert time.monotonic() - begun < 2
    assert _becomes_dead(int((tmp_path / "child").read_text()))


def test_a_stop_ends_the_call_at_once(stub: Path, work: Work) -> None:
    """Ctrl-C and Terminate must not wait for an encode."""
    stub.write_text("#!/bin/sh\nexec sleep 600\n")
    timer = threading.Timer(0.2, work.stop.set)
    timer.start()
    begun = time.monotonic()

    with pytest.raises(StoppedError):
        run_ffmpeg(["-x"], deadline_s=60, work=work)

    assert time.monotonic() - begun < 1
    timer.join()


def test_a_flood_of_messages_does_not_block(stub: Path, work: Work) -> None:
    """An unread pipe holds 64 kB: programs that forget this hang for ever."""
    stub.write_text("#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' 'x' >&2\necho the reason >&2\nexit 3\n")

    with pytest.raises(FfmpegError, match="the reason") as caught:
        run_ffmpeg(["-x"], deadline_s=20, work=work)

    assert caught.value.exit_code == 3
    assert len(caught.value.stderr_tail) <= 2000
    assert not list(work.scratch.iterdir())


def test_a_program_that_reads_its_input_finds_it_closed(stub: Path, work: Work) -> None:
    """It asks whether to overwrite, and waits for the answer of a terminal nobody sits at."""
    stub.write_text("#!/bin/sh\ncat\necho done >&2\n")

    assert run_ffmpeg(["-x"], deadline_s=20, work=work) == "done\n"


def test_the_deadline_also_ends_a_feed_nobody_reads(stub: Path, work: Work) -> None:
    """A pipe that is full blocks its writer: pictures are piped for minutes."""
    stub.write_text("#!/bin/sh\nexec sleep 600\n")
    begun = time.monotonic()

    with pytest.raises(FfmpegError, match="deadline"):
        run_ffmpeg(["-x"], deadline_s=0.4, work=work, feed=(bytes(1_000_000) for _ in range(100)))

    assert time.monotonic() - begun < 2


def test_a_feed_that_is_not_read_to_its_end_is_no_fault(stub: Path, work: Work) -> None:
    """It closes its input when it has enough pictures; its exit code says whether that was well."""
    stub.write_text("#!/bin/sh\nhead -c 10 > /dev/null\nexit 0\n")

    assert run_ffmpeg(["-x"], deadline_s=20, work=work, feed=(bytes(1_000_000) for _ in range(5))) == ""


def test_a_feed_arrives_whole(stub: Path, tmp_path: Path, work: Work) -> None:
    """The pipe takes a block in pieces."""
    stub.write_text(f"#!/bin/sh\ncat > '{tmp_path}/got'\n")
    blocks = [bytes([n]) * 300_000 for n in range(3)]

    run_ffmpeg(["-x"], deadline_s=20, work=work, feed=blocks)

    assert (tmp_path / "got").read_bytes() == b"".join(blocks)


def test_a_program_that_is_none_is_said_to_be_none(stub: Path, work: Work) -> None:
    """Otherwise the user sees "Exec format error" and no setting's name."""
    stub.write_bytes(b"\x00\x01\x02 no program")

    with pytest.raises(FfmpegError, match="cannot be started"):
        run_ffmpeg(["-x"], deadline_s=5, work=work)


def test_a_named_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Falling back in silence would use another ffmpeg than the one that was asked for."""
    monkeypatch.setenv("MEDIA_ASSETS_FFMPEG", "/nowhere/ffmpeg")
    ffmpeg_path.cache_clear()

    with pytest.raises(FfmpegError, match="/nowhere/ffmpeg"):
        ffmpeg_path()

    ffmpeg_path.cache_clear()


def test_a_program_is_called_by_the_name_it_was_given(
    stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snap's ffmpeg is a link to a program that acts by its name: resolving the link breaks it."""
    link = tmp_path / "ffmpeg"
    link.symlink_to(stub)
    monkeypatch.setenv("MEDIA_ASSETS_FFMPEG", str(link))
    ffmpeg_path.cache_clear()

    assert ffmpeg_path() == str(link)


@pytest.mark.parametrize("name", ["-i evil", "$(touch pwned).wav", "a'b\"c;[d]=e,f:g\\h%d.wav", "-y"])
def test_no_name_is_taken_for_anything_but_a_name(
    tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Names come from users and, by way of downloads, from strangers."""
    folder = tmp_path / 'it\'s "a" folder; rm'
    folder.mkdir()
    monkeypatch.chdir(folder)
    source = write_wav(Path(name), tone(0.2))
    target = Path(f"out {name}")

    sound = graph_input(source, demuxer="wav")["a:0"].filter("aresample", 8000)
    run_ffmpeg(graph_arguments([sound], target, {"format": "wav"}), deadline_s=20, work=work)

    assert probe(folder / target).sample_rate_hz == 8000
    assert {path.name for path in folder.iterdir()} == {name, f"out {name}"}


def test_an_input_can_open_files_only(tmp_path: Path, work: Work) -> None:
    """A playlist in a file's clothes would make ffmpeg ask a server on our side of the wall."""
    playlist = tmp_path / "a.mp4"
    # ffmpeg itself would allow what an encrypted segment needs: only our list of protocols refuses it.
    playlist.write_text('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF:1,\nsegment.ts\n')
    (tmp_path / "key").write_bytes(bytes(16))
    (tmp_path / "segment.ts").write_bytes(bytes(188))
    shown = graph_input(playlist, demuxer="hls", allowed_extensions="ALL")["v:0"]

    with pytest.raises(FfmpegError, match="'crypto' not on whitelist 'file,pipe'"):
        run_ffmpeg(graph_arguments([shown], None, {"format": "null"}), deadline_s=20, work=work)
