"""The gallery on disk: nothing is drawn twice, nothing of others is touched, and the folder can be moved."""

import errno
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from media_assets.errors import ArtifactError, ConfigurationError
from media_assets.film import FILMS
from media_assets_tests.gallery.reading import Page
from media_assets_tests.gallery.showroom import DEGRADED, FILM_KEYS, HOSTILE_KEY, LOOSE, PLAIN, write


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


def _posters(folder: Path) -> set[str]:
    return {path.name for path in (folder / "posters").iterdir()}


def test_a_second_run_draws_nothing_again(home: Path) -> None:
    """Decoding a thousand films takes a minute; looking whether posters are there does not."""
    first = write(home)
    before = _state(home / "gallery" / "posters")
    films = _state(home / FILMS)
    second = write(home)

    assert (first.drawn, first.kept, first.removed, first.not_drawn) == (6, 0, 0, ())
    assert (second.drawn, second.kept, second.removed) == (0, 6, 0)
    assert _state(home / "gallery" / "posters") == before
    assert _state(home / FILMS) == films


def test_posters_of_films_that_are_gone_go_too(home: Path) -> None:
    """And nothing else does, whatever lies beside them."""
    write(home)
    strangers = [home / "gallery" / "notes.txt", home / "gallery" / "posters" / "cover.webp"]
    for path in strangers:
        path.write_text("mine")
    (home / FILMS / f"{LOOSE}.mp4").unlink()
    time.sleep(0.01)
    written = write(home)

    assert (written.removed, written.kept) == (1, 5)
    assert all(path.read_text() == "mine" for path in strangers)
    assert len(_posters(home / "gallery")) == 6


def test_what_another_gallery_has_just_drawn_stays(home: Path) -> None:
    """Two runs at once look at different moments; the earlier one does not take the later one's poster away."""
    write(home)
    fresh = home / "gallery" / "posters" / f"{'0' * 64}.webp"
    fresh.write_bytes(b"just drawn")

    assert write(home, now=datetime.now(UTC) - timedelta(seconds=60)).removed == 0
    assert fresh.exists()


def test_a_film_made_again_gets_a_poster_of_its_own(home: Path) -> None:
    """Posters go by the film's bytes, not by its name."""
    write(home)
    (home / FILMS / f"{LOOSE}.mp4").write_bytes((home / FILMS / f"{DEGRADED}.mp4").read_bytes() + b"\0\0")
    written = write(home)

    assert (written.drawn, written.kept, written.removed) == (1, 5, 1)


def test_elsewhere_the_folder_holds_all_it_needs(home: Path, tmp_path: Path) -> None:
    """It can be uploaded as it is: no link leads out of it."""
    (home / FILMS / f"{PLAIN}.mp4").unlink()
    out = tmp_path / "site"
    written = write(home, out=out)
    moved = shutil.move(out, tmp_path / "moved")
    page = Page(Path(moved) / "index.html")

    assert (written.page, written.copied) == (out / "index.html", 6)
    sources = {one["src"] for one in page.all("video")} | {one["data-poster"] for one in page.all("video")}
    assert all((Path(moved) / unquote(source)).is_file() for source in sources)
    assert not [source for source in sources if source.startswith(("/", ".."))]
    assert not (home / "gallery").exists()
    assert str(home) not in page.source


def test_films_that_are_beside_the_page_are_not_brought_again(home: Path, tmp_path: Path) -> None:
    """Gigabytes are neither copied nor read for a page that is written every night."""
    out = tmp_path / "site"
    (home / FILMS / f"{PLAIN}.mp4").unlink()
    write(home, out=out)
    before = _state(out / FILMS)
    (home / FILMS / f"{HOSTILE_KEY}.mp4").unlink()
    again = write(home, out=out)

    assert again.copied == 0, "the store's film is what the page shows, and it is there"
    assert _state(out / FILMS) == before


def test_a_disk_without_links_gets_copies(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk, or a file system that knows no second names."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "site"
    first, second = write(home, out=out), write(home, out=out)

    assert (first.copied, second.copied) == (len(FILM_KEYS), 0)
    assert (out / FILMS / f"{PLAIN}.mp4").read_bytes() == (home / FILMS / f"{PLAIN}.mp4").read_bytes()
    assert not (out / FILMS / f"{PLAIN}.mp4").samefile(home / FILMS / f"{PLAIN}.mp4")


def test_a_page_that_is_somebody_else_s_is_not_written_over(home: Path, tmp_path: Path) -> None:
    """``--out .`` in the folder of a web site."""
    page = tmp_path / "site" / "index.html"
    page.parent.mkdir()
    page.write_text("<title>Mine</title>")

    with pytest.raises(ConfigurationError, match="is not of a gallery"):
        write(home, out=page.parent)

    assert [one.name for one in page.parent.iterdir()] == ["index.html"]
    assert page.read_text() == "<title>Mine</title>"


@pytest.mark.parametrize("inside", [".", "artifacts", "films", "gallery/posters"])
def test_of_the_home_only_its_own_folder_is_taken(home: Path, inside: str) -> None:
    """The rest of the home is the ledger's and the store's."""
    with pytest.raises(ConfigurationError, match="of the home only gallery/"):
        write(home, out=home / inside)

    assert not (home / "gallery").exists()


def test_its_own_folder_may_be_named(home: Path) -> None:
    """However it is written, it is the same."""
    assert write(home, out=home / "films" / ".." / "gallery").page == home / "gallery" / "index.html"


def test_a_file_is_no_folder(home: Path, tmp_path: Path) -> None:
    """The message names what to do."""
    (tmp_path / "site").write_text("a file")

    with pytest.raises(ConfigurationError, match="this is a file"):
        write(home, out=tmp_path / "site")


def test_what_cannot_be_written_is_said_and_leaves_nothing_half(home: Path) -> None:
    """A page from yesterday is better than half a page."""
    page = write(home).page
    before = page.read_bytes()
    page.unlink()
    (page / "in the way").mkdir(parents=True)

    with pytest.raises(ArtifactError, match=r"writing the gallery in .*--out"):
        write(home)

    assert not list((home / "gallery").rglob("*.part"))
    shutil.rmtree(page)
    assert len(write(home).page.read_bytes()) == len(before)


def test_what_a_killed_gallery_left_is_removed(home: Path) -> None:
    """And nothing of a living one."""
    write(home)
    left = [home / "gallery" / ".index.html.dead.00ff.part", home / "gallery" / "posters" / ".x.webp.dead.00ff.part"]
    for path in left:
        path.write_bytes(b"half")
    write(home)

    assert not [path for path in left if path.exists()]


def test_a_film_that_cannot_be_decoded_is_shown_without_a_poster(home: Path) -> None:
    """One broken file hides no other film."""
    (home / FILMS / f"{LOOSE}.mp4").write_bytes(b"no film at all")
    written = write(home)
    page = Page(written.page)
    (video,) = page.inside(page.card(LOOSE), "video")

    assert "data-poster" not in video.attributes
    assert (written.not_drawn, written.drawn) == ((LOOSE,), 5)


def test_odd_names_of_files_are_no_trouble(home: Path) -> None:
    """Whoever puts a film of his own there names it as he likes."""
    odd = home / FILMS / 'a "b" & <c> #1 %2?.mp4'
    shutil.copy(home / FILMS / f"{PLAIN}.mp4", odd)
    bad = Path(os.fsdecode(os.fsencode(home / FILMS) + b"/\xff.mp4"))
    shutil.copy(odd, bad)
    page = Page(write(home).page)

    (video,) = page.inside(page.card('a "b" & <c> #1 %2?'), "video")
    assert unquote(video["src"]) == f"../films/{odd.name}"
    assert "../films/%FF.mp4" in {one["src"] for one in page.all("video")}
