"""Artifacts: the files we hold, and the store that keeps each under the digest of its bytes.

A file is in the store only when it is whole: it is written under a temporary name in the store's folder, synced,
renamed, and its folder synced. What a file was bought for is the ledger's knowledge, not the store's; until the ledger
names a file, a note in ``unrecorded/`` does, and no other file is ever taken for garbage.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from media_assets.crash_points import crash_point
from media_assets.durable import sync
from media_assets.errors import ArtifactError


class MediaKind(StrEnum):
    """What a file shows."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a file is, as probed from its bytes (never from its name)."""

    kind: MediaKind
    mime: str
    extension: str
    """Without the dot, from the content: png, mp4, wav."""
    size_bytes: int
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    duration_s: float | None = None
    """Seconds of the longest stream; None for an image."""
    video_duration_s: float | None = None
    audio_duration_s: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    has_alpha: bool = False
    measured: Mapping[str, float] = field(default_factory=dict, compare=False)
    """What was measured when the file was judged, each with its unit in its name; nothing in older ledgers."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None and value != {}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from :meth:`as_dict`'s form; fields of a newer version are ignored."""
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in data.items() if name in names}
        return cls(**{**known, "kind": MediaKind(known["kind"])})


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file in the store."""

    sha256: str
    info: MediaInfo


@dataclass(frozen=True, kw_only=True)
class Unrecorded:
    """A note on a file that the ledger perhaps does not name: not yet, or not any more."""

    name: str
    """The file's: its digest and extension."""
    since_s: float
    """Of ``time.time``: since when nobody has stored it again."""
    wanted_by: tuple[str, ...]
    """Request keys of the purchases that it was stored for; none: it was in the ledger, and is not wanted any more."""

    @property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return self.name.partition(".")[0]


_BLOCK_BYTES = 1 << 20
_UNRECORDED = "unrecorded"
_PART = re.compile(r"^(\..*\.)?(?P<owner>[A-Za-z0-9]+)\.[A-Za-z0-9]+\.part$")


class ArtifactStore:
    """The content-addressed store on local disk: ``<root>/ab/ab12….png``.

    Safe for many processes at once: equal bytes get the same name, and a rename replaces a file by its equal.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, artifact: Artifact) -> Path:
        """Return where ``artifact`` is, whether or not it is there."""
        return self._at(f"{artifact.sha256}.{artifact.info.extension}")

    def _at(self, name: str) -> Path:
        return self.root / name[:2] / name

    def _note(self, name: str) -> Path:
        return self.root / _UNRECORDED / name

    def has(self, artifact: Artifact) -> bool:
        """Whether the file is there and has its size. Bytes are hashed by :meth:`verify` only."""
        try:
            return self.path(artifact).stat().st_size == artifact.info.size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False

    def local_path(self, artifact: Artifact) -> Path:
        """Return the path of a file that is there.

        Raises:
            ArtifactError: The file is missing or has another size.
        """
        if not self.has(artifact):
            message = (
                f"artifact {artifact.sha256[:12]} is not in {self.root} (missing or cut short). "
                "Run the prompt again: a free step is made again, a paid one is fetched again if it still exists."
            )
            raise ArtifactError(message)
        return self.path(artifact)

    def verify(self, artifact: Artifact) -> bool:
        """Whether the file is there and its bytes have its digest (reads the whole file)."""
        return self.has(artifact) and sha256_of(self.path(artifact)) == artifact.sha256

    def put(self, source: Path, info: MediaInfo, *, owner: str, token: str, wanted_by: str = "") -> Artifact:
        """Copy ``source`` into the store, durably.

        Args:
            source: A finished file; it is left where it is.
            info: What :func:`media_assets.media.probe.probe` said of it.
            owner: Letters and digits that name the writing process, for :func:`parts_in`.
            token: Letters and digits that name this write.
            wanted_by: The request key of the purchase that it belongs to; noted until :meth:`recorded`.

        Raises:
            ArtifactError: The disk is full or cannot be written; nothing half written is left behind.
        """
        part = self.root / f"{owner}.{token}.part"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            digest = _copy_synced(source, part)
            artifact = Artifact(sha256=digest, info=info)
            target = self.path(artifact)
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True)
                sync(self.root)
            if wanted_by:
                self._write_note(target.name, wanted_by)
            part.replace(target)
            crash_point("dl.after_rename")
            crash_point("dl.before_dirsync")
            sync(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
            message = f"storing {source.name} in {self.root}: {reason}. Free some space and run again: nothing is lost."
            raise ArtifactError(message) from error
        return artifact

    def _write_note(self, name: str, wanted_by: str) -> None:
        note = self._note(name)
        note.parent.mkdir(exist_ok=True)
        with note.open("a", encoding="ascii") as file:
            file.write(f"{wanted_by}\n")

    def recorded(self, artifact: Artifact) -> None:
        """Remove the note on a file that the ledger names now; one that stays says nothing against the ledger."""
        with contextlib.suppress(OSError):
            self._note(self.path(artifact).name).unlink()

    def condemn(self, artifact: Artifact, *, since_s: float) -> None:
        """Note that a file is about to be struck from the ledger; one that was noted before keeps its note."""
        note = self._note(self.path(artifact).name)
        note.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            note.touch(exist_ok=False)
            os.utime(note, (since_s, since_s))

    def unrecorded(self, names: Iterable[str] | None = None) -> list[Unrecorded]:
        """Return the notes on files that the ledger perhaps does not name: on these alone, or all."""
        folder = self.root / _UNRECORDED
        wanted = (path.name for path in folder.glob("*")) if names is None else names
        return [found for name in sorted(wanted) if (found := self._read_note(name)) is not None]

    def _read_note(self, name: str) -> Unrecorded | None:
        try:
            since_s = self._note(name).stat().st_mtime
            lines = self._note(name).read_text(encoding="ascii").split()
        except FileNotFoundError:
            return None
        return Unrecorded(name=name, since_s=since_s, wanted_by=tuple(lines))

    def remove(self, name: str) -> None:
        """Delete a file and the note on it."""
        self._at(name).unlink(missing_ok=True)
        self.drop_note(name)

    def drop_note(self, name: str) -> None:
        """Remove the note on a file."""
        self._note(name).unlink(missing_ok=True)

    def size_bytes(self, name: str) -> int:
        """Return how large a file is; 0 where there is none."""
        try:
            return self._at(name).stat().st_size
        except FileNotFoundError:
            return 0

    def files(self) -> list[Path]:
        """Return every file that is kept, recorded or not."""
        return sorted(path for path in self.root.glob("??/*") if path.is_file())

    def export(self, artifact: Artifact, target: Path, *, owner: str) -> None:
        """Copy ``artifact`` to a path of the user's, whole or not at all.

        Raises:
            ArtifactError: The artifact is not whole, or ``target`` cannot be written.
        """
        source = self.local_path(artifact)
        part = target.with_name(f".{target.name}.{owner}.{secrets.token_hex(8)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if _copy_synced(source, part, mark=False) != artifact.sha256:
                part.unlink()
                message = f"{source} does not have the bytes it was stored with; delete it and run the prompt again."
                raise ArtifactError(message)
            # With its source's time on it, an unchanged copy is known later without reading it.
            times = source.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
            part.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            message = f"writing {target}: {error}. Choose another path with --out."
            raise ArtifactError(message) from error

    def free_bytes(self) -> int:
        """Return how many bytes the store's disk can still take."""
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def parts_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each temporary file of a folder with the name of the process that was writing it."""
    if folder.is_dir():
        for path in folder.iterdir():
            if match := _PART.match(path.name):
                yield path, match["owner"]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy_synced(source: Path, target: Path, *, mark: bool = True) -> str:
    """Copy and fsync; return the digest of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        half = os.fstat(reader.fileno()).st_size / 2
        before = True
        while block := reader.read(min(_BLOCK_BYTES, int(half) + 1)):
            digest.update(block)
            writer.write(block)
            if mark and before and writer.tell() >= half:
                before = False
                writer.flush()
                crash_point("dl.mid")
        writer.flush()
        if mark:
            crash_point("dl.before_fsync")
        os.fsync(writer.fileno())
    if mark:
        crash_point("dl.before_rename")
    return digest.hexdigest()
