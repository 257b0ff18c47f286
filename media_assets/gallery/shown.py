"""What the gallery shows: every film that there is, and every prompt that is still to be made.

Read from the ledger, the store and the folder with the films; nothing is changed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from media_assets.artifact import Artifact, ArtifactStore, MediaInfo, sha256_of
from media_assets.errors import LedgerError
from media_assets.ledger import Ledger
from media_assets.ledger.pins import PinnedPrompt
from media_assets.ledger.rows import PurchaseState
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step
from media_assets.redact import redact_text
from media_assets.standing import Standing, Standings
from media_assets.status import is_at_work

SUFFIX = ".mp4"

_LONGEST_MESSAGE = 2000
_PATH = re.compile(r"(?:\bfile:/{0,2}|(?<![\w.:/]))/(?:[^\s/'\"]+/)+")


class Flag(StrEnum):
    """What is to be known of a film at once."""

    DEGRADED = "degraded"
    """A stand-in made a step of it."""
    FALLBACK = "fallback"
    """Another model than the first of its route made a step of it."""
    EARLIER = "earlier"
    """Its prompt has changed since, and has no film yet."""
    UNRECORDED = "unrecorded"
    """The file is there, and this ledger does not know what made it."""


@dataclass(frozen=True, kw_only=True)
class ShownStep:
    """What made one step of a film."""

    step: Step
    model: str
    cost_usd: Decimal
    """With what went to purchases that failed before."""
    failed_usd: Decimal
    """What of it went to those."""
    begun_at: datetime
    duration_s: float
    degraded: bool
    reason: str | None
    """Why it is degraded, or why another model than the first made it."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ShownFilm:
    """A film whose file is there."""

    key: str
    prompt: str | None
    """What it was made from, as far as the ledger still has it."""
    script: str | None
    is_pinned: bool
    """Whether the ledger has a prompt under the key, and so Dagster may have the partition."""
    file: Path
    """One of the folder of films, or the store's where that has none."""
    artifact: Artifact | None
    """As it is in the store; None for a file that the ledger does not know."""
    sha256: str
    size_bytes: int
    made_at: datetime
    flags: tuple[Flag, ...]
    steps: tuple[ShownStep, ...] = ()

    @property
    def info(self) -> MediaInfo | None:
        """Its length and size, where the ledger has them."""
        return None if self.artifact is None else self.artifact.info

    @property
    def cost_usd(self) -> Decimal:
        """What the purchases behind it cost when they were bought, those that failed included."""
        return sum((step.cost_usd for step in self.steps), Decimal(0))


@dataclass(frozen=True, kw_only=True)
class ShownPrompt:
    """A prompt that is still to be made."""

    key: str
    state: str
    """failed, interrupted, lost, deferred, pending, running or unreadable."""
    prompt: str | None = None
    script: str | None = None
    error_class: str | None = None
    error: str | None = None
    updated_at: datetime | None = None
    spent_usd: Decimal = Decimal(0)
    """What was bought for the prompt so far, earlier versions of it included."""
    done: tuple[Step, ...] = ()
    """The steps that are there."""


STATES = ("failed", "unreadable", "lost", "interrupted", "deferred", "running", "pending")
"""Of prompts without a film, what wants a person first."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """All there is to show."""

    films: list[ShownFilm] = field(default_factory=list)
    """The newest first."""
    unfinished: list[ShownPrompt] = field(default_factory=list)
    """In the order of :data:`STATES`."""

    @property
    def cost_usd(self) -> Decimal:
        """What all the films cost."""
        return sum((film.cost_usd for film in self.films), Decimal(0))


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where films are looked for. Blocking, and free."""

    ledger: Ledger
    store: ArtifactStore
    films: Path
    """The folder with the copies for people."""

    def look(self, tell: Callable[[float], None] = lambda _fraction: None) -> Gallery:
        """Return everything that is to be shown.

        Args:
            tell: Called with the part of the prompts that was looked at, 0..1.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        gallery = Gallery()
        standings = Standings(self.ledger, self.store)
        keys = self.ledger.prompts.keys()
        for count, key in enumerate(keys, start=1):
            try:
                pinned = self.ledger.prompts.get(key)
            except LedgerError as error:  # pinned by another version: one bad row hides no other prompt
                gallery.unfinished.append(ShownPrompt(key=key, state="unreadable", error=told(error.message)))
                continue
            if pinned is not None:
                self._place(gallery, pinned, standings)
            tell(count / len(keys))
        known = {film.key for film in gallery.films}
        gallery.films.extend(self._unrecorded(path, None) for path in self._files() if path.stem not in known)
        gallery.films.sort(key=lambda film: (film.made_at, film.key), reverse=True)
        gallery.unfinished.sort(key=lambda one: (STATES.index(one.state), one.key))
        return gallery

    def _files(self) -> Iterator[Path]:
        if self.films.is_dir():
            yield from (path for path in sorted(self.films.glob(f"[!.]*{SUFFIX}")) if path.is_file())

    def _place(self, gallery: Gallery, pinned: PinnedPrompt, standings: Standings) -> None:
        current = standings.of(pinned.prompt)
        film = self._film(pinned, current, is_current=True)
        is_done = film is not None and (pinned.status in {"done", "degraded"} or _wants_nothing(pinned))
        if film is None:
            film = self._film(pinned, standings.of_last_film(pinned.prompt.key), is_current=False)
        if film is None and (copy := self._copy(pinned.prompt.key)).is_file():
            film = self._unrecorded(copy, pinned)
        if film is not None:
            gallery.films.append(film)
        if not is_done:
            gallery.unfinished.append(self._unfinished(pinned, current))

    def _copy(self, key: str) -> Path:
        return self.films / f"{key}{SUFFIX}"

    def _film(self, pinned: PinnedPrompt, chain: Mapping[Step, Standing], *, is_current: bool) -> ShownFilm | None:
        merged = chain.get(Step.MERGED)
        row = merged.row if merged is not None else None
        if row is None or row.artifact is None or row.state is not PurchaseState.SUCCEEDED:
            return None
        file = self._file(pinned.prompt.key, row.artifact)
        if file is None:
            return None
        steps = self._steps(chain)
        return ShownFilm(
            key=pinned.prompt.key,
            prompt=pinned.prompt.prompt if is_current else None,
            script=pinned.prompt.script if is_current else None,
            is_pinned=True,
            file=file,
            artifact=row.artifact,
            sha256=row.artifact.sha256,
            size_bytes=row.artifact.info.size_bytes,
            made_at=_moment(row.updated_at),
            flags=_flags(steps, is_current=is_current),
            steps=steps,
        )

    def _file(self, key: str, artifact: Artifact) -> Path | None:
        """Return where the bytes of a film are: the copy for people, or else the store's."""
        copy = self._copy(key)
        if copy.is_file() and copy.stat().st_size == artifact.info.size_bytes:
            return copy
        return self.store.path(artifact) if self.store.has(artifact) else None

    def _steps(self, chain: Mapping[Step, Standing]) -> tuple[ShownStep, ...]:
        made = [(one.finished, one.row, one) for one in chain.values()]
        begun = self.ledger.purchases.last_sent([row.request_key for _, row, _ in made if row is not None])
        return tuple(
            ShownStep(
                step=finished.step,
                model=row.model,
                cost_usd=from_micro_usd((row.cost_micro_usd or 0) + standing.failed_micro_usd),
                failed_usd=from_micro_usd(standing.failed_micro_usd),
                begun_at=_moment(begun.get(row.request_key, row.created_at)),
                duration_s=row.duration_s or 0.0,
                degraded=finished.degraded,
                reason=told(finished.reason) if finished.reason else None,
                notes=tuple(map(told, (*row.notes, *finished.notes))),
            )
            for finished, row, standing in made
            if finished is not None and row is not None
        )

    def _unrecorded(self, path: Path, pinned: PinnedPrompt | None) -> ShownFilm:
        stat = path.stat()
        return ShownFilm(
            key=path.stem.encode(errors="backslashreplace").decode(),
            prompt=pinned.prompt.prompt if pinned is not None else None,
            script=pinned.prompt.script if pinned is not None else None,
            is_pinned=pinned is not None,
            file=path,
            artifact=None,
            sha256=sha256_of(path),
            size_bytes=stat.st_size,
            made_at=datetime.fromtimestamp(stat.st_mtime, UTC),
            flags=(Flag.UNRECORDED,),
        )

    def _unfinished(self, pinned: PinnedPrompt, current: Mapping[Step, Standing]) -> ShownPrompt:
        key, error = pinned.prompt.key, pinned.error or {}
        bought = self.ledger.purchases.search(prompt_key=key)
        return ShownPrompt(
            key=key,
            state=self._state(pinned),
            prompt=pinned.prompt.prompt,
            script=pinned.prompt.script,
            error_class=error.get("class"),
            error=told(error["message"]) if "message" in error else None,
            updated_at=_moment(pinned.updated_at),
            spent_usd=from_micro_usd(sum(row.cost_micro_usd or 0 for row in bought)),
            done=tuple(step for step, standing in current.items() if standing.artifact is not None),
        )

    def _state(self, pinned: PinnedPrompt) -> str:
        if pinned.status == "running":
            return "running" if is_at_work(self.ledger, pinned.prompt.key) else "interrupted"
        if pinned.status == "pending":
            return "pending" if pinned.error is None else "deferred"
        return "failed" if pinned.status == "failed" else "lost"


def _wants_nothing(pinned: PinnedPrompt) -> bool:
    """Whether a prompt with a film was only pinned once more: a run would find the film and make nothing."""
    return pinned.status == "pending" and pinned.error is None


def _flags(steps: tuple[ShownStep, ...], *, is_current: bool) -> tuple[Flag, ...]:
    is_there = {
        Flag.DEGRADED: any(step.degraded for step in steps),
        Flag.FALLBACK: any(step.reason is not None and not step.degraded for step in steps),
        Flag.EARLIER: not is_current,
    }
    return tuple(flag for flag, there in is_there.items() if there)


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


def told(text: str) -> str:
    """Return what may be shown of our own or a provider's words: no secret, and of a path its last part."""
    return redact_text(_PATH.sub("…/", text), limit=_LONGEST_MESSAGE)
