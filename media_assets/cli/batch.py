"""``batch``: many prompts at once, where one bad prompt stops nobody else, and a summary at the end."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media_assets.batch import Summary, make_batch, quoted
from media_assets.cli.batch_progress import BatchLines, BatchTable, batch_progress, counts_of, say_quote
from media_assets.cli.exit_codes import exit_code_of
from media_assets.cli.film_report import usd
from media_assets.cli.generate import policy_of, tell_stopping, with_run_cap
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.cli.opening import Place, find_place
from media_assets.cli.opening_studio import studio_of
from media_assets.cli.output import complain, messages, print_json, print_text, say, table, with_failure_object
from media_assets.errors import PromptFileError
from media_assets.film import Film
from media_assets.ledger.pins import readable, unreadable
from media_assets.left_open import left_open
from media_assets.prompt import Prompt
from media_assets.prompt_file import Row, read_rows
from media_assets.studio import MakeOptions, Studio

_COLUMNS = ("prompt", "error", "rerun", "why")
_HEADLINE = "this prompt cannot be used; nothing was sent for it:"


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """What one call of ``batch`` was asked, as it was typed."""

    file: Path | None = None
    max_in_flight: int | None = None
    max_run_usd: str | None = None
    unknown: str | None = None
    upgrade: bool = False
    retry_failed: bool = False
    waits: bool = True


@with_failure_object
def run_batch(job: BatchJob, *, json: bool) -> int:
    """Make a batch; return the exit code. **Costs money**, at most the quote, which is told first."""
    place = with_run_cap(find_place(), job.max_run_usd)
    if job.max_in_flight is not None:
        place = replace(place, settings=place.settings.model_copy(update={"max_in_flight": job.max_in_flight}))
    options = MakeOptions(
        upgrade=job.upgrade,
        retry_failed=job.retry_failed,
        waits=job.waits,
        unknown=None if job.unknown is None else policy_of(job.unknown),
        source="the ledger" if job.file is None else str(job.file.absolute()),
        pinned=job.file is None,
    )
    rows = None if job.file is None else read_rows(job.file)
    with studio_of(place) as studio:
        return _Batch(studio, place, options, json=json).run(rows)


class _Batch:
    def __init__(self, studio: Studio, place: Place, options: MakeOptions, *, json: bool) -> None:
        self._studio = studio
        self._place = place
        self._options = options
        self._json = json
        self._summary: Summary | None = None
        self._progress: BatchLines | BatchTable = BatchLines(lambda: None)

    def run(self, rows: list[Row] | None) -> int:
        prompts, bad = self._prompts(rows)
        with batch_progress(lambda: self._summary, messages(), json=self._json) as self._progress:
            try:
                INTERRUPTS.run(self._make(prompts, bad), on_stop=tell_stopping)
            except Interrupted as interrupted:
                self._tell_interrupted(prompts)
                return interrupted.exit_code
        summary = self._summary
        if summary is None:
            return exit_code_of([])
        self._print(summary)
        return exit_code_of([*summary.failed.values(), *summary.deferred.values()])

    def _prompts(self, rows: list[Row] | None) -> tuple[list[Prompt], list[Film]]:
        """Return what can be made, and as failed films what cannot."""
        if rows is None:
            waiting = self._studio.ledger.prompts.waiting()
            bad = [Film(key=one.key, error=one.error) for one in unreadable(waiting)]
            return [one.prompt for one in readable(waiting)], bad
        bad = [
            Film(key=row.where, error=PromptFileError.of(_HEADLINE, row.problems)) for row in rows if row.prompt is None
        ]
        return [row.prompt for row in rows if row.prompt is not None], bad

    async def _make(self, prompts: list[Prompt], bad: list[Film]) -> None:
        quote = await quoted(self._studio, prompts, upgrade=self._options.upgrade)
        say_quote(quote)
        self._summary = Summary(quote=replace(quote, prompts=quote.prompts + len(bad)))
        for film in bad:
            self._add(film)
        await make_batch(
            self._studio,
            prompts,
            summary=self._summary,
            options=self._options,
            on_event=self._progress.event,
            on_film=self._told,
        )

    def _add(self, film: Film) -> None:
        if self._summary is not None:
            self._summary.add(film)
        self._told(film)

    def _told(self, film: Film) -> None:
        self._progress.film_done(film)
        if film.error is not None:
            complain(film.error, about=film.key)
        if self._json:
            print_json(film.as_dict(home=self._place.home))

    def _tell_interrupted(self, prompts: list[Prompt]) -> None:
        keys = [prompt.key for prompt in prompts]
        studio = self._studio
        for one in left_open(studio.ledger, studio.transport.adapter, keys, now=datetime.now(UTC)):
            say(f"{one.prompt_key}: {one}")
        if self._summary is not None:
            self._print(self._summary, interrupted=True)
        say("interrupted. Run again to go on: what is finished is free.")

    def _print(self, summary: Summary, *, interrupted: bool = False) -> None:
        if self._json:
            told: dict[str, Any] = {"home": str(self._place.home), "interrupted": interrupted}
            print_json({"summary": told | summary.as_dict()})
            return
        errors = {**summary.failed, **summary.deferred}
        lines = [(key, type(error).__name__, str(error.rerun), error.message) for key, error in errors.items()]
        if lines:
            print_text(table(_COLUMNS, lines))
        print_text(f"{counts_of(summary)} of at most {usd(summary.quote.estimate_usd)} USD quoted")
