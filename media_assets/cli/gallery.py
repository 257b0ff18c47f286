"""``gallery``: a page of all films, written from what is on this disk."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media_assets.cli.exit_codes import DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import messages, print_json, print_text, say, with_failure_object
from media_assets.cli.work_progress import work_progress
from media_assets.gallery.folder import Written, write_gallery
from media_assets.gallery.page import dagster_base


@with_failure_object
def run_gallery(*, out: Path | None, dagster_url: str, json: bool) -> int:
    """Write the page, and say where it is; return the exit code."""
    dagster = dagster_base(dagster_url)
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}: there is no ledger, and no page was written.")
        if json:
            print_json({"home": str(place.home), "page": None})
        return DONE
    with ledger_of(place) as ledger, work_progress(messages(), json=json) as progress:
        written = write_gallery(
            ledger,
            place.store,
            place.home,
            now=datetime.now(UTC),
            out=None if out is None else Path.cwd() / out,
            dagster=dagster,
            tell=lambda fraction, note: progress.move("gallery", fraction, note),
        )
    if json:
        print_json(_as_dict(written, place))
    else:
        print_text(*_report(written))
    return DONE


def _as_dict(written: Written, place: Place) -> dict[str, Any]:
    gallery = written.gallery
    return {
        "home": str(place.home),
        "page": str(written.page),
        "films": len(gallery.films),
        "degraded": sum("degraded" in film.flags for film in gallery.films),
        "unfinished": len(gallery.unfinished),
        "cost_usd": usd(gallery.cost_usd),
        "posters": {"drawn": written.drawn, "kept": written.kept, "removed": written.removed},
        "no_poster": list(written.not_drawn),
        "copied": written.copied,
        "size_bytes": written.page.stat().st_size,
    }


def _report(written: Written) -> Iterator[str]:
    gallery = written.gallery
    for key in written.not_drawn:
        yield f"{key}: its file cannot be decoded; it is shown without a poster"
    copied = f"; {written.copied} films put beside it" if written.copied else ""
    yield (
        f"{len(gallery.films)} films, {len(gallery.unfinished)} prompts still to be made; posters: "
        f"{written.drawn} drawn, {written.kept} kept, {written.removed} removed{copied}"
    )
    yield f"gallery: {written.page}"
