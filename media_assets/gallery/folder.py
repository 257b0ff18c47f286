"""The gallery on disk: posters that are drawn once, films beside the page where they have to be, and the page.

Everything is written under another name and renamed, so whoever looks meanwhile sees the old or the new.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from media_assets.artifact import ArtifactStore, parts_in
from media_assets.durable import put_in_place
from media_assets.errors import ArtifactError, ConfigurationError, MediaError
from media_assets.film import FILMS
from media_assets.gallery.page import GENERATOR, Place, render
from media_assets.gallery.shown import Gallery, Shelf, ShownFilm
from media_assets.ledger import Ledger
from media_assets.media.poster import poster

FOLDER, PAGE, POSTERS = "gallery", "index.html", "posters"

_POSTER = re.compile(r"[0-9a-f]{64}\.webp")
_LOOKED_AT_BYTES = 4096
"""Of a page that is there: what made it stands at its beginning."""

Tell = Callable[[float, str], None]
"""Is told what part of the work is done, 0..1, and what is being done."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written."""

    page: Path
    gallery: Gallery
    drawn: int
    """Posters that were drawn."""
    kept: int
    """Posters that were there."""
    removed: int
    """Posters of films that are gone."""
    not_drawn: tuple[str, ...]
    """Keys of films that no poster could be drawn of."""
    copied: int
    """Films that were put beside the page."""


@dataclass(kw_only=True)
class _Counts:
    drawn: int = 0
    kept: int = 0
    copied: int = 0


def write_gallery(
    ledger: Ledger,
    store: ArtifactStore,
    home: Path,
    *,
    now: datetime,
    out: Path | None = None,
    dagster: str | None = None,
    tell: Tell = lambda _fraction, _note: None,
) -> Written:
    """Write the page of all films. Blocking, and free.

    In the home, the page names the films where they are; anywhere else they are put beside it, so that the folder
    can be moved or uploaded as it is.

    Args:
        ledger: What was made, and by what.
        store: Where films are that have no copy in the home.
        home: The folder of all state.
        now: As of when the page says it is; aware.
        out: The page's folder; None: the one in the home.
        dagster: What links to partitions begin with, from :func:`media_assets.gallery.page.dagster_base`.
        tell: Hears of progress.

    Raises:
        ConfigurationError: ``out`` cannot be the gallery's: it is the home's own, or has somebody else's page.
        LedgerError: The ledger cannot be read.
        ArtifactError: Something cannot be written.
    """
    folder = _checked(out, home)
    shelf = Shelf(ledger=ledger, store=store, films=home / FILMS)
    gallery = shelf.look(lambda fraction: tell(fraction, "looking for films"))
    writer = _Writer(ledger=ledger, store=store, home=home, folder=folder, counts=_Counts())
    try:
        return writer.write(gallery, now=now, dagster=dagster, tell=tell)
    except OSError as error:
        message = f"writing the gallery in {folder}: {error.strerror or error}. Choose another folder with --out."
        raise ArtifactError(message) from error


def _checked(out: Path | None, home: Path) -> Path:
    own = home / FOLDER
    if out is None or out.resolve() == own.resolve():
        return own
    if out.resolve().is_relative_to(home.resolve()):
        message = f"--out {out}: of the home only {FOLDER}/ is the gallery's. Leave --out away, or name another folder."
        raise ConfigurationError(message)
    if out.exists() and not out.is_dir():
        message = f"--out {out}: this is a file. Name a folder."
        raise ConfigurationError(message)
    if _is_a_strangers(out / PAGE):
        message = f"--out {out}: its {PAGE} is not of a gallery, and is not written over. Name another folder."
        raise ConfigurationError(message)
    return out


def _is_a_strangers(page: Path) -> bool:
    if not page.exists():
        return False
    with page.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() not in file.read(_LOOKED_AT_BYTES)


@dataclass(frozen=True, kw_only=True)
class _Writer:
    ledger: Ledger
    store: ArtifactStore
    home: Path
    folder: Path
    counts: _Counts

    @property
    def _is_in_home(self) -> bool:
        return self.folder == self.home / FOLDER

    @property
    def _posters(self) -> Path:
        return self.folder / POSTERS

    def write(self, gallery: Gallery, *, now: datetime, dagster: str | None, tell: Tell) -> Written:
        self._posters.mkdir(parents=True, exist_ok=True)
        self._sweep()
        places: dict[str, Place] = {}
        not_drawn: list[str] = []
        for count, film in enumerate(gallery.films, start=1):
            name = self._poster(film)
            if name is None:
                not_drawn.append(film.key)
            places[film.key] = Place(url=self._url(film), poster=name and f"{POSTERS}/{name}")
            tell(count / len(gallery.films), "posters")
        page = self.folder / PAGE
        self._put(page, render(gallery, places, dagster=dagster, now=now).encode())
        return Written(
            page=page,
            gallery=gallery,
            drawn=self.counts.drawn,
            kept=self.counts.kept,
            removed=self._remove_posters({film.sha256 for film in gallery.films}, before=now),
            not_drawn=tuple(not_drawn),
            copied=self.counts.copied,
        )

    def _sweep(self) -> None:
        """Remove what galleries that were killed have left half written."""
        for folder in (self.folder, self._posters, self.folder / FILMS):
            for part, owner in parts_in(folder):
                if not self.ledger.owner.is_alive(owner):
                    part.unlink(missing_ok=True)

    def _poster(self, film: ShownFilm) -> str | None:
        """Return the name of a film's poster, which is drawn if it is not there."""
        name = f"{film.sha256}.webp"
        target = self._posters / name
        if target.is_file():
            self.counts.kept += 1
            return name
        try:
            drawn = poster(film.file)
        except MediaError:
            return None
        self._put(target, drawn)
        self.counts.drawn += 1
        return name

    def _url(self, film: ShownFilm) -> str:
        if self._is_in_home:
            return quote(os.fsencode(Path("..") / film.file.relative_to(self.home)))
        target = self.folder / FILMS / (film.file.name if film.artifact is None else f"{film.key}.mp4")
        if not _is_same(film.file, target):
            self._bring(film, target)
            self.counts.copied += 1
        return quote(os.fsencode(target.relative_to(self.folder)))

    def _bring(self, film: ShownFilm, target: Path) -> None:
        """Put a film beside the page: a second name for the copy for people, or a copy of its own of the store's."""
        target.parent.mkdir(exist_ok=True)
        if film.artifact is not None and film.file.parent != self.home / FILMS:
            self.store.export(film.artifact, target, owner=self.ledger.owner.id)
            return
        part = self._part(target)
        try:
            try:
                os.link(film.file, part)
            except OSError:  # another disk, or one without links
                shutil.copy2(film.file, part)
            put_in_place(part, target)
        finally:
            part.unlink(missing_ok=True)

    def _put(self, target: Path, content: bytes) -> None:
        part = self._part(target)
        try:
            part.write_bytes(content)
            put_in_place(part, target)
        finally:
            part.unlink(missing_ok=True)

    def _part(self, target: Path) -> Path:
        return target.with_name(f".{target.name}.{self.ledger.owner.id}.{secrets.token_hex(8)}.part")

    def _remove_posters(self, wanted: set[str], *, before: datetime) -> int:
        """Remove posters of films that are gone; not one that another gallery has drawn since this one looked."""
        removed = 0
        for path in self._posters.iterdir():
            if _POSTER.fullmatch(path.name) and path.stem not in wanted and path.stat().st_mtime < before.timestamp():
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _is_same(film: Path, copy: Path) -> bool:
    """Whether a film is beside the page already: a copy has its time, so that it is known without being read."""
    try:
        there, wanted = copy.stat(), film.stat()
    except FileNotFoundError:
        return False
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
