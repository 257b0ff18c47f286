"""The child process that looks at a stranger's file: what it may use of the machine, and how it always ends."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.errors import MediaAssetsError, ProbeError, Rerun, StoppedError
from media_assets.media.examine import COMMAND, MEMORY_BYTES, examine, job_for, run_limited, understand
from media_assets.media.questions import AskAudio, AskImage
from media_assets_tests.conftest import PROVIDER_KEYS
from media_assets_tests.media.watching import HAS_PROC, children, is_alive

ANY_IMAGE = AskImage(requested_size_px=None, min_side_px=64)
ANY_SOUND = AskAudio(text=None)

needs_proc = pytest.mark.skipif(not HAS_PROC, reason="looks at processes through /proc")


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file whose reader waits for ever, using no processor time."""
    path = tmp_path / "endless"
    os.mkfifo(path)
    return path


def _become_true(is_so: Callable[[], object], within_s: float = 10) -> bool:
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        if is_so():
            return True
        time.sleep(0.01)
    return False


class _Waiting:
    """An examination of an endless file, in a thread; ``pid`` is its child, which waits for the file's first byte."""

    def __init__(self, path: Path, **more: float) -> None:
        self.stop = threading.Event()
        self.error: MediaAssetsError | None = None
        self._path, self._writer = path, -1
        before = children()
        self._thread = threading.Thread(target=self._examine, args=(path, more))
        self._thread.start()
        assert _become_true(self._is_opened), self.error
        (self.pid,) = children() - before
        assert _become_true(lambda: str(path) in self.files())

    def files(self) -> list[str]:
        """Return what the child has open."""
        return [os.readlink(link) for link in Path(f"/proc/{self.pid}/fd").iterdir()]  # noqa: PTH115 - pipes are no paths

    def _is_opened(self) -> bool:
        try:
            # Succeeds once the child has opened the other end; held open, so that the child reads on.
            self._writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    def _examine(self, path: Path, more: dict[str, float]) -> None:
        try:
            examine(path, ANY_IMAGE, stop=self.stop, **more)  # type: ignore[arg-type]
        except MediaAssetsError as error:
            self.error = error

    def both_limits(self, name: str) -> tuple[str, str]:
        lines = Path(f"/proc/{self.pid}/limits").read_text().splitlines()
        soft, hard = next(line.removeprefix(name).split()[:2] for line in lines if line.startswith(name))
        return soft, hard

    def limit(self, name: str) -> str:
        """Return a limit that is both soft and hard, as the kernel tells it."""
        soft, hard = self.both_limits(name)
        assert soft == hard
        return soft

    def end(self) -> MediaAssetsError:
        """Wait for the end and return what was raised; the child is gone then."""
        self._thread.join(timeout=20)
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        assert not self._thread.is_alive()
        assert not is_alive(self.pid)
        assert self.error is not None
        return self.error


@pytest.fixture
def waiting(endless: Path) -> Iterator[_Waiting]:
    one = _Waiting(endless)
    yield one
    one.stop.set()
    one.end()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce RLIMIT_AS")
def test_a_file_that_needs_too_much_memory_is_said_to(tmp_path: Path) -> None:
    """A paid picture that only a larger machine can open is not damaged."""
    path = tmp_path / "large.png"
    Image.new("RGBA", (4000, 4000), (90, 20, 30, 255)).save(path, compress_level=1)

    examined = examine(path, ANY_IMAGE, memory_bytes=140 << 20, deadline_s=60)

    assert examined.info.width_px == 4000
    assert examined.verdict.problems == ("large.png needed more memory than 140 MB to be decoded: it is not built on",)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce RLIMIT_AS")
def test_a_large_picture_is_held_in_memory_only_once(tmp_path: Path) -> None:
    """Upscalers make 8192 x 8192, 268 MB: converted at once it would not fit into what is allowed."""
    path = tmp_path / "large.png"
    Image.new("RGBA", (5000, 5000), (90, 20, 30, 255)).save(path, compress_level=1)

    examined = examine(path, ANY_IMAGE, memory_bytes=290 << 20, deadline_s=60)

    assert examined.verdict.problems == ("it is one flat colour",)


def test_a_file_that_needs_too_much_time_is_ended_by_the_kernel(tmp_path: Path) -> None:
    """If this process is stopped or gone, nobody else would end it; here, a gigabyte of chunks that hold nothing."""
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF\xff\xff\xff\x7fWAVE")
    os.truncate(path, 2**30)

    job = job_for(path, ANY_SOUND, memory_bytes=MEMORY_BYTES, cpu_s=1, wall_s=60)
    ended = run_limited(COMMAND, job, deadline_s=60)

    assert ended.exit_code == -signal.SIGXCPU
    assert 0.5 < ended.usage.cpu_s < 2.5
    with pytest.raises(ProbeError, match=r"chunks\.wav needed more than 1 s to be decoded") as raised:
        understand(ended, path, deadline_s=1)
    assert raised.value.rerun is Rerun.NEVER


@needs_proc
def test_a_deadline_ends_a_child_that_waits_and_says_nothing_of_its_file(endless: Path) -> None:
    """A stuck disk or a crowded machine must not make a paid file bad."""
    begun = time.monotonic()
    waiting = _Waiting(endless, deadline_s=3)

    error = waiting.end()

    assert 2.9 < time.monotonic() - begun < 8
    assert isinstance(error, ProbeError)
    assert "the machine or its disk is too busy" in error.message
    assert error.rerun is Rerun.RESUME


@needs_proc
def test_a_stop_ends_the_child_at_once(waiting: _Waiting) -> None:
    """Ctrl-C is answered within a moment, whatever is being decoded."""
    begun = time.monotonic()
    waiting.stop.set()

    error = waiting.end()

    assert time.monotonic() - begun < 2
    assert isinstance(error, StoppedError)


@needs_proc
@pytest.mark.parametrize(
    ("number", "words", "rerun"),
    [
        (signal.SIGSEGV, "makes its decoder crash (SIGSEGV)", Rerun.NEVER),
        (signal.SIGABRT, "makes its decoder crash (SIGABRT)", Rerun.NEVER),
        (signal.SIGKILL, "was ended from outside (SIGKILL)", Rerun.RESUME),
        (signal.SIGTERM, "was ended from outside (SIGTERM)", Rerun.RESUME),
    ],
)
def test_a_child_that_dies_is_told_apart(waiting: _Waiting, number: int, words: str, rerun: Rerun) -> None:
    """A crash is the file's fault; the kernel's out-of-memory killer and an operator are not."""
    os.kill(waiting.pid, number)

    error = waiting.end()

    assert isinstance(error, ProbeError)
    assert words in error.message
    assert error.rerun is rerun


@needs_proc
def test_a_child_has_nothing_of_ours_and_little_of_the_machine(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a taken-over decoder could reach: no key, no folder of ours, no other file that we have open."""
    for name in PROVIDER_KEYS:
        monkeypatch.setenv(name, "CANARY-4711")
    with (endless.parent / "open").open("wb") as ours:
        os.set_inheritable(ours.fileno(), True)  # noqa: FBT003 - its signature
        waiting = _Waiting(endless)
        folder = Path(f"/proc/{waiting.pid}")
        files = waiting.files()
        environment = (folder / "environ").read_bytes().split(b"\0")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        limits = {
            name: waiting.limit(name)
            for name in ("Max address space", "Max core file size", "Max file size", "Max open files")
        }
        cwd = os.readlink(folder / "cwd")  # noqa: PTH115
        soft, hard = waiting.both_limits("Max cpu time")
        waiting.stop.set()
        waiting.end()

    assert not [value for value in environment if b"CANARY" in value]
    assert {value.partition(b"=")[0] for value in environment if value} <= {
        b"OPENBLAS_NUM_THREADS",
        b"OMP_NUM_THREADS",
        b"MALLOC_ARENA_MAX",
        b"LD_LIBRARY_PATH",
        b"LC_CTYPE",
    }
    assert [name for name in files if not name.startswith("pipe:")] == [str(endless)]
    session, group = stat[3], stat[2]
    assert session == group == str(waiting.pid)
    assert cwd == "/"
    assert limits == {
        "Max address space": str(MEMORY_BYTES),
        "Max core file size": "0",
        "Max file size": "0",
        "Max open files": "32",
    }
    assert (soft, hard) == ("10", "11")


def _python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


@pytest.mark.parametrize("number", [1, 2])
def test_a_flood_is_bounded_and_does_not_block(number: int) -> None:
    """A library that complains of every packet must neither fill our memory nor wait for a reader."""
    code = f"import os\nfor _ in range(300): os.write({number}, b'x' * 10_000)"

    ended = run_limited(_python(code), b"", deadline_s=20)

    assert ended.exit_code == 0
    assert len(ended.reply if number == 1 else ended.messages) in {1 << 16, 1 << 14}


def test_a_child_that_reads_nothing_is_no_obstacle() -> None:
    """A long script is more than a pipe holds."""
    ended = run_limited(_python("import time; time.sleep(60)"), bytes(1 << 20), deadline_s=0.5)

    assert ended.was_late
    assert ended.exit_code == -signal.SIGKILL


@needs_proc
@pytest.mark.parametrize(("ending", "deadline_s"), [("os._exit(0)", 30), ("time.sleep(60)", 3)])
def test_what_a_child_has_started_ends_with_it(ending: str, deadline_s: float) -> None:
    """A decoder that was taken over could start something to stay."""
    code = (
        "import os, time\n"
        "if (pid := os.fork()) == 0:\n"
        "    for number in (0, 1, 2): os.close(number)\n"
        "    time.sleep(60)\n"
        "os.write(1, str(pid).encode())\n" + ending
    )

    ended = run_limited(_python(code), b"", deadline_s=deadline_s)

    assert _become_true(lambda: not is_alive(int(ended.reply)))


def test_a_python_that_is_gone_is_no_fault_of_the_file(tmp_path: Path) -> None:
    """An upgrade under a running process takes its interpreter away."""
    with pytest.raises(ProbeError, match="cannot be started") as raised:
        run_limited((str(tmp_path / "python"),), b"", deadline_s=1)

    assert raised.value.rerun is Rerun.RESUME


@needs_proc
def test_many_at_once_are_kept_apart(tmp_path: Path) -> None:
    """Each thread of a batch has its own child; none waits for, reaps or reads another's."""
    paths = []
    for number in range(1, 7):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((80, 80 + number, 3), 127, np.uint8)).save(path)
        paths.append(path)
    before, widths = children(), {}

    def look(path: Path) -> None:
        widths[path.stem] = examine(path, ANY_IMAGE, deadline_s=60).info.width_px

    threads = [threading.Thread(target=look, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert widths == {str(number): 80 + number for number in range(1, 7)}
    assert children() == before
