"""``./dev bench [NAME]``: what the README's figures come from. Times are this machine's: compare ratios of one run."""

import asyncio
import gzip
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from media_assets.film import Film
from media_assets.gallery.folder import write_gallery
from media_assets.media.poster import poster
from media_assets.prompt import Prompt, Step
from media_assets.prompt_file import read_prompts
from media_assets.studio import Studio, open_studio

ROOT = Path(__file__).parent.parent
_CACHED_PROMPTS = 100
_STARTS = 5
_GALLERY_FILMS, _POSTERS = 1000, 20


def film() -> None:
    """Time one demo film, new and found again, by step."""
    (prompt,) = read_prompts(ROOT / "prompts" / "lighthouse.yaml")
    with tempfile.TemporaryDirectory() as folder, open_studio(Path(folder)) as studio:
        seconds, made = _timed(lambda: asyncio.run(studio.make(prompt)))
        again_s, _ = _timed(lambda: asyncio.run(studio.make(prompt)))
    for step in made.steps.values():
        print(f"{step.step!s:8} {step.model:18} {step.duration_s:6.2f} s, begun at {step.started_s:5.2f} s")
    print(f"the film: {seconds:.2f} s; found again: {again_s * 1000:.0f} ms ({seconds / again_s:.0f} times as fast)")


def cached() -> None:
    """Count how many finished prompts are looked through in a second, and the commits a purchase takes."""
    prompts = [
        Prompt(key=f"bench-{number}", prompt="A harbour", size_px=(512, 512), clip_s=1, params={Step.VIDEO: {"fps": 2}})
        for number in range(_CACHED_PROMPTS)
    ]
    with tempfile.TemporaryDirectory() as folder, open_studio(Path(folder)) as studio:
        commits = _count_commits(studio)
        asyncio.run(studio.make(prompts[0]))
        first = len(commits)
        cpu = _cpu_s()
        seconds, _ = _timed(lambda: asyncio.run(_make_all(studio, prompts)))
        print(f"equal requests of {len(prompts)} prompts made from one purchase each: {seconds:.2f} s")
        commits.clear()
        seconds, _ = _timed(lambda: asyncio.run(_make_all(studio, prompts)))
    print(f"unchanged prompts: {len(prompts) / seconds:.0f} a second, {len(commits) / len(prompts):.1f} commits each")
    print(f"CPU of both looks: {(_cpu_s() - cpu) / len(prompts) * 1000:.1f} ms a prompt")
    print(f"a film that is new: {first} commits for 4 purchases")


def start() -> None:
    """Time how long the command line takes to be ready."""
    for arguments in (["--help"], ["ledger", "list"], ["status"]):
        times = []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(_STARTS):
                command = [str(Path(sys.executable).parent / "media-assets"), *arguments]
                environment = {**os.environ, "MEDIA_ASSETS_HOME": folder}
                seconds, _ = _timed(
                    lambda: subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: B023, S603
                )
                times.append(seconds)
        print(f"media-assets {' '.join(arguments):12} {statistics.median(times):.2f} s, median of {_STARTS}")


def gallery() -> None:
    """Time the page of 1,000 films, and the poster of one."""
    (prompt,) = read_prompts(ROOT / "prompts" / "lighthouse.yaml")
    # Equal requests are one purchase: a thousand films with rows of their own cost one film.
    prompts = [prompt.model_copy(update={"key": f"lighthouse-{number}"}) for number in range(_GALLERY_FILMS)]
    with tempfile.TemporaryDirectory() as folder, open_studio(Path(folder)) as studio:
        (film, *_) = asyncio.run(_make_all(studio, prompts))
        assert film.path is not None
        poster_s, _ = _timed(lambda path=film.path: [poster(path) for _ in range(_POSTERS)])
        now = datetime.now(UTC)
        write_gallery(studio.ledger, studio.store, studio.home, now=now)
        seconds, _ = _timed(lambda: write_gallery(studio.ledger, studio.store, studio.home, now=now))
        page = (studio.home / "gallery" / "index.html").read_bytes()
    print(f"a poster of the demo film: {poster_s / _POSTERS * 1000:.0f} ms, once for each film")
    print(f"the page of {_GALLERY_FILMS} films whose posters are there: {seconds:.1f} s")
    print(f"the page: {len(page) / 1e6:.1f} MB, {len(gzip.compress(page)) / 1e6:.2f} MB compressed")


def _timed(function: Callable[[], object]) -> tuple[float, Film]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result  # type: ignore[return-value]


def _cpu_s() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def _count_commits(studio: Studio) -> list[None]:
    commits: list[None] = []
    sa.event.listen(studio.ledger.database.engine, "commit", lambda _connection: commits.append(None))
    return commits


async def _make_all(studio: Studio, prompts: list[Prompt]) -> list[Film]:
    films = [film async for film in studio.stream(prompts)]
    assert all(film.error is None for film in films)
    return films


def ledger() -> None:
    """Count the statements and commits of a purchase by transition, with their CPU, and purchases a second."""
    from benchmarks.ledger import main as measure  # noqa: PLC0415 - imports what the tests share

    measure()


def report() -> None:
    """Time the spend report of a ledger of 100,000 purchases, with its charts."""
    from benchmarks.report import main as measure  # noqa: PLC0415 - fills a ledger in its own way

    measure()


def submissions(*options: str) -> int:
    """Count the submissions that one call sends when its reply goes wrong [--markdown]."""
    from benchmarks.submissions import main as count  # noqa: PLC0415 - imports four vendors' packages

    return count(list(options))


BENCHMARKS = {
    "film": film,
    "cached": cached,
    "start": start,
    "ledger": ledger,
    "gallery": gallery,
    "report": report,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks; list them when there are none."""
    if names[:1] == ["submissions"]:
        return submissions(*names[1:])
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or not names:
        for name, function in {**BENCHMARKS, "submissions": submissions}.items():
            print(f"{name:11} {(function.__doc__ or '').splitlines()[0]}")
        return 2 if unknown else 0
    for name in names:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
