"""The store: a file is there whole or not at all, whatever happens to the process, the disk or the file."""

import hashlib
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

from media_assets.artifact import Artifact, ArtifactStore, MediaInfo, MediaKind, parts_in
from media_assets.errors import ArtifactError
from media_assets_tests.children import Child, race, run_children

_BYTES = bytes(range(256)) * 4096
_WRITER = {"owner": "me", "token": "1"}


def _info(size_bytes: int = len(_BYTES)) -> MediaInfo:
    return MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=size_bytes)


def put_one(root: str, source: str, token: str) -> str:
    """In a child: put one file into a store; return its digest."""
    path = Path(source)
    return ArtifactStore(Path(root)).put(path, _info(path.stat().st_size), owner="me", token=token).sha256


def put_on_a_full_disk(root: str, source: str, limit_bytes: int) -> str:
    """In a child: put a file where files cannot grow beyond a limit; return what the error says."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        put_one(root, source, "1")
    except ArtifactError as error:
        return error.message
    return "stored"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.png"
    path.write_bytes(_BYTES)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def stored(store: ArtifactStore, source: Path) -> Artifact:
    return store.put(source, _info(), **_WRITER)


def _files(store: ArtifactStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_a_file_is_found_under_the_digest_of_its_bytes(store: ArtifactStore, stored: Artifact) -> None:
    """The name is the proof: what is stored under it can be checked by anybody, without a database."""
    digest = hashlib.sha256(_BYTES).hexdigest()

    assert stored.sha256 == digest
    assert _files(store) == [f"{digest[:2]}/{digest}.png"]
    assert store.local_path(stored).read_bytes() == _BYTES
    assert store.verify(stored)


def _traced_calls(root: Path, source: Path, log: Path) -> list[str]:
    """Return the calls of one put that touch the store or come after the first that does, with paths shortened."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed, so system calls cannot be recorded")
    code = f"from media_assets_tests.test_artifact import put_one; put_one({str(root)!r}, {str(source)!r}, 'one')"
    calls = "openat,write,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,close"
    traced = run(
        [strace, "-f", "-y", "-o", str(log), "-e", f"trace={calls}", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if traced.returncode != 0 and "ptrace" in traced.stderr.lower():
        pytest.skip(f"this machine does not let strace trace: {traced.stderr.strip()[-200:]}")
    assert traced.returncode == 0, traced.stderr
    lines = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]
    return [line.replace(str(root), "STORE") for line in lines if str(root) in line]


def test_a_put_is_durable_before_it_is_visible(tmp_path: Path, source: Path) -> None:
    """Written, synced, renamed, folder synced: any other order can show an empty file after a power cut."""
    root = tmp_path / "store"
    digest = hashlib.sha256(_BYTES).hexdigest()
    folder, part = f"STORE/{digest[:2]}", "STORE/me.one.part"

    calls = _traced_calls(root, source, tmp_path / "trace")

    wanted = [
        ("make the store", r"mkdir\w*\(.*\"STORE\""),
        ("open the temporary file in the store", rf'openat\(.*"{part}", O_WRONLY\|O_CREAT\|O_TRUNC'),
        ("write", rf"write\(\d+<{part}>"),
        ("sync the file", rf"fsync\(\d+<{part}>\) += 0"),
        ("close the file", rf"close\(\d+<{part}>\) += 0"),
        ("make the folder", rf'mkdir\w*\(.*"{folder}"'),
        ("sync the store, which has a new folder", r"fsync\(\d+<STORE>\) += 0"),
        ("rename", rf'rename\w*\(.*"{part}".*"{folder}/{digest}\.png".*\) += 0'),
        ("sync the folder", rf"fsync\(\d+<{folder}>\) += 0"),
    ]
    position = 0
    for what, pattern in wanted:
        rest = [index for index in range(position, len(calls)) if re.match(pattern, calls[index])]
        assert rest, f"{what}: not among {calls[position:]}"
        position = rest[0] + 1
    writes = [index for index, call in enumerate(calls) if call.startswith("write(")]
    synced = next(index for index, call in enumerate(calls) if call.startswith("fsync("))
    assert max(writes) < synced, "something was written after the sync"
    assert [call for call in calls[position:] if not call.startswith("close(")] == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, source: Path) -> None:
    """A disk fills up at night; in the morning some space and a rerun must be all it takes."""
    root = tmp_path / "artifacts"
    arguments = {"root": str(root), "source": str(source), "limit_bytes": len(_BYTES) // 3}

    ((ended,),) = run_children([[Child(f"{__name__}:put_on_a_full_disk", arguments)]], at_once=1)

    assert "nothing is lost" in ended.value
    assert _files(ArtifactStore(root)) == []
    assert ArtifactStore(root).verify(ArtifactStore(root).put(source, _info(), **_WRITER))


def test_a_store_that_cannot_be_made_is_our_error(tmp_path: Path, source: Path) -> None:
    """Callers turn our errors into advice and record them in the ledger; they know nothing of others."""
    (tmp_path / "artifacts").write_bytes(b"in the way")

    with pytest.raises(ArtifactError):
        ArtifactStore(tmp_path / "artifacts").put(source, _info(), **_WRITER)


def test_a_source_that_is_gone_leaves_nothing_behind(store: ArtifactStore, tmp_path: Path) -> None:
    """The error path must not itself leave temporary files."""
    with pytest.raises(ArtifactError):
        store.put(tmp_path / "gone.png", _info(), **_WRITER)

    assert _files(store) == []


@pytest.mark.parametrize(
    ("damage", "has_and_verifies"),
    [
        (lambda _path: None, (True, True)),
        (lambda path: path.write_bytes(_BYTES[:-1]), (False, False)),
        (lambda path: path.write_bytes(b"\xff" + _BYTES[1:]), (True, False)),
        (lambda path: path.unlink(), (False, False)),
        (lambda path: path.write_bytes(b""), (False, False)),
    ],
    ids=["whole", "cut", "flipped", "missing", "empty"],
)
def test_damage_is_noticed(
    store: ArtifactStore, stored: Artifact, damage: Callable[[Path], object], has_and_verifies: tuple[bool, bool]
) -> None:
    """A hit must be cheap (size only), a verification must be certain (bytes)."""
    damage(store.path(stored))

    assert (store.has(stored), store.verify(stored)) == has_and_verifies


def test_a_missing_file_is_named_with_what_to_do(store: ArtifactStore, stored: Artifact) -> None:
    """Whoever deleted the file has to learn which one and that a rerun mends it."""
    store.path(stored).unlink()

    with pytest.raises(ArtifactError, match=f"{stored.sha256[:12]}.*Run the prompt again"):
        store.local_path(stored)


def test_an_export_replaces_the_target_whole(store: ArtifactStore, stored: Artifact, tmp_path: Path) -> None:
    """People watch the exported file while the next one is written."""
    target = tmp_path / "films" / "film.mp4"
    target.parent.mkdir()
    target.write_bytes(b"an older film")
    with target.open("rb") as watching:
        store.export(stored, target, owner="me")
        seen = watching.read()

    assert seen == b"an older film"
    assert target.read_bytes() == _BYTES
    assert [path.name for path in target.parent.iterdir()] == ["film.mp4"]


def test_an_export_of_damaged_bytes_leaves_the_target_alone(
    store: ArtifactStore, stored: Artifact, tmp_path: Path
) -> None:
    """Bytes that leave the store are hashed: a flipped bit must not reach a customer."""
    target = tmp_path / "film.mp4"
    target.write_bytes(b"an older film")
    store.path(stored).write_bytes(b"\xff" + _BYTES[1:])

    with pytest.raises(ArtifactError, match="does not have the bytes"):
        store.export(stored, target, owner="me")

    assert target.read_bytes() == b"an older film"
    assert list(tmp_path.glob(".*.part")) == []


def test_an_export_that_cannot_be_written_names_the_target(
    store: ArtifactStore, stored: Artifact, tmp_path: Path
) -> None:
    """A wrong --out must say so, and not cost the film."""
    blocked = tmp_path / "a-file"
    blocked.write_bytes(b"")

    with pytest.raises(ArtifactError, match=r"a-file/film\.mp4.*--out"):
        store.export(stored, blocked / "film.mp4", owner="me")


def test_equal_bytes_put_by_eight_processes_are_one_file(tmp_path: Path, source: Path) -> None:
    """Equal outputs of two chains meet in one name; neither may see the other's half."""
    root = tmp_path / "artifacts"
    each = [{"root": str(root), "source": str(source), "token": str(number)} for number in range(8)]

    digests = race(f"{__name__}:put_one", each)

    assert set(digests) == {hashlib.sha256(_BYTES).hexdigest()}
    assert _files(ArtifactStore(root)) == [f"{digests[0][:2]}/{digests[0]}.png"]


def test_parts_are_attributed_to_their_writers(store: ArtifactStore) -> None:
    """Only the temporary files of the dead may be swept, so each has to name its writer, those of exports too."""
    store.root.mkdir()
    (store.root / "abc.def.part").write_bytes(b"half")
    (store.root / ".film.mp4.xyz.123.part").write_bytes(b"half")
    (store.root / "not a part").write_bytes(b"")

    assert {(path.name, owner) for path, owner in parts_in(store.root)} == {
        ("abc.def.part", "abc"),
        (".film.mp4.xyz.123.part", "xyz"),
    }
