"""What the gallery shows of a ledger, a store and a folder of films."""

import shutil
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from media_assets.film import FILMS
from media_assets.gallery.shown import Flag, Shelf, ShownFilm, ShownPrompt, told
from media_assets.ledger import open_ledger
from media_assets.ledger.schema import plan, prompt
from media_assets.prompt import Step
from media_assets_tests.gallery.showroom import (
    DEGRADED,
    EARLIER,
    FAILED,
    FALLBACK,
    FILM_KEYS,
    LOOSE,
    PENDING,
    PLAIN,
    SECRET,
    UNFINISHED,
    ledger_and_store,
    look,
)
from media_assets_tests.making import OWN_ROUTES, cheap_prompt


def _films(home: Path) -> dict[str, ShownFilm]:
    return {film.key: film for film in look(home).films}


def _unfinished(home: Path) -> dict[str, ShownPrompt]:
    return {one.key: one for one in look(home).unfinished}


def test_every_film_and_every_prompt_without_one_is_shown(showroom: Path) -> None:
    """A film that is in no list is as good as lost, and so is a prompt that failed."""
    gallery = look(showroom)

    assert {film.key for film in gallery.films} == FILM_KEYS
    assert {one.key: one.state for one in gallery.unfinished} == UNFINISHED
    assert [film.made_at for film in gallery.films] == sorted((f.made_at for f in gallery.films), reverse=True)
    assert [one.state for one in gallery.unfinished] == ["failed", "deferred", "pending", "pending"]


def test_a_film_tells_what_made_it_and_for_how_much(showroom: Path) -> None:
    """The numbers are the ledger's, not those of the run that happened to be last."""
    film = _films(showroom)[PLAIN]

    assert [(step.step, step.model) for step in film.steps] == [
        (Step.IMAGE, "testing:landscape"),
        (Step.VIDEO, "testing:ken-burns"),
        (Step.AUDIO, "local:silence"),
        (Step.MERGED, "local:merge"),
    ]
    assert film.cost_usd == Decimal("0.02")
    assert all(step.duration_s > 0 for step in film.steps)
    begun = {step.step: step.begun_at for step in film.steps}
    assert begun[Step.IMAGE] < begun[Step.VIDEO] < begun[Step.MERGED]
    assert film.info is not None
    assert film.info.duration_s is not None
    assert film.flags == ()


def test_a_stand_in_and_another_model_are_told_apart(showroom: Path) -> None:
    """One is not what was ordered, the other is."""
    films = _films(showroom)
    video = films[DEGRADED].steps[1]
    image = films[FALLBACK].steps[0]

    assert films[DEGRADED].flags == (Flag.DEGRADED,)
    assert (video.model, video.degraded) == ("local:ken-burns", True)
    assert video.reason == "fallback: ProviderUnavailableError: no route to …/secret.sock"
    assert films[FALLBACK].flags == (Flag.FALLBACK,)
    assert (image.model, image.degraded, image.cost_usd) == ("testing:second", False, Decimal("0.02"))


def test_the_film_of_a_changed_prompt_stays_and_says_so(showroom: Path) -> None:
    """It was paid for; and its prompt is another one now, which is shown where it belongs."""
    film = _films(showroom)[EARLIER]

    assert Flag.EARLIER in film.flags
    assert (film.prompt, len(film.steps)) == (None, 4)
    assert _unfinished(showroom)[EARLIER].prompt == "another barn"


def test_a_film_that_no_ledger_knows_is_shown_all_the_same(showroom: Path) -> None:
    """A ledger may have been lost; the films are still the user's."""
    film = _films(showroom)[LOOSE]

    assert (film.flags, film.steps, film.is_pinned) == ((Flag.UNRECORDED,), (), False)


def test_a_failed_prompt_tells_why_and_nothing_secret(showroom: Path) -> None:
    """The page may be uploaded: no key, no path of this machine."""
    failed = _unfinished(showroom)[FAILED]

    assert failed.error_class == "PredictionFailedError"
    assert failed.error == "<b>no</b> *** at …/x.png"
    assert SECRET not in repr(look(showroom).unfinished)
    assert Step.IMAGE in failed.done
    assert failed.spent_usd > 0
    assert _unfinished(showroom)[PENDING].done == ()


def test_the_store_has_what_the_folder_has_not(home: Path) -> None:
    """The copy for people is a courtesy, and may be gone or be another film."""
    (home / FILMS / f"{PLAIN}.mp4").unlink()
    (home / FILMS / f"{FALLBACK}.mp4").write_bytes(b"somebody's own")

    films = _films(home)

    assert films[PLAIN].file.is_relative_to(home / "artifacts")
    assert films[FALLBACK].file.is_relative_to(home / "artifacts")


def test_a_copy_is_enough(home: Path) -> None:
    """A store that was lost takes no film with it that has a copy; one without is to be made again."""
    shutil.rmtree(home / "artifacts")
    (home / FILMS / f"{PLAIN}.mp4").unlink()

    assert set(_films(home)) == FILM_KEYS - {PLAIN}
    assert _unfinished(home)[PLAIN].state == "lost"


def test_without_records_the_files_are_left(home: Path) -> None:
    """A prompt that was pinned in a new ledger, beside films of the old one."""
    (home / "ledger.db").unlink()
    with open_ledger(home) as ledger:
        ledger.prompts.pin([cheap_prompt(key=PLAIN)], source="again")

    films = _films(home)

    assert set(films) == FILM_KEYS
    assert {film.flags for film in films.values()} == {(Flag.UNRECORDED,)}
    assert (films[PLAIN].is_pinned, films[PLAIN].prompt) == (True, "a red barn at dawn")
    assert _unfinished(home)[PLAIN].state == "pending"


def test_a_prompt_that_was_only_pinned_again_is_finished(home: Path) -> None:
    """A changed and then changed back: its film is there, and nothing is to be made."""
    before = cheap_prompt(key=EARLIER, seed=5, routes=OWN_ROUTES)
    with open_ledger(home) as ledger:
        ledger.prompts.pin([before], source="and back")

    assert _films(home)[EARLIER].flags == (Flag.DEGRADED,)
    assert EARLIER not in _unfinished(home)


def test_who_is_at_work_is_told_from_who_is_gone(home: Path) -> None:
    """A running prompt whose process is dead would be waited for for ever."""
    with open_ledger(home) as ledger:
        ledger.prompts.open_plan("one", PENDING, amounts={}, caps=(), digest=cheap_prompt(key=PENDING, seed=6).digest)
        running = _unfinished(home)[PENDING].state
        with ledger.database.write() as connection:
            connection.execute(sa.delete(plan))
        interrupted = _unfinished(home)[PENDING].state

    assert (running, interrupted) == ("running", "interrupted")


def test_one_prompt_that_cannot_be_read_hides_no_other(home: Path) -> None:
    """Another version may have pinned it, with fields that this one does not know."""
    with open_ledger(home) as ledger, ledger.database.write() as connection:
        connection.execute(sa.update(prompt).where(prompt.c.key == PLAIN).values(body='{"key": "plain", "new": 1}'))

    unreadable = _unfinished(home)[PLAIN]

    assert (unreadable.state, unreadable.prompt) == ("unreadable", None)
    assert "pinned by another version" in str(unreadable.error)
    assert _films(home)[PLAIN].flags == (Flag.UNRECORDED,)
    assert set(_films(home)) == FILM_KEYS


def test_a_chain_with_a_hole_is_shown_as_far_as_it_goes(home: Path) -> None:
    """Records may be damaged; the film is still there to be seen."""
    with open_ledger(home) as ledger, ledger.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM step WHERE prompt_key = 'earlier' AND step = 'video'")

    assert [step.step for step in _films(home)[EARLIER].steps] == [Step.AUDIO, Step.MERGED]


def test_progress_is_told(showroom: Path) -> None:
    """A thousand prompts take a moment."""
    fractions: list[float] = []
    with ledger_and_store(showroom) as (ledger, store):
        Shelf(ledger=ledger, store=store, films=showroom / FILMS).look(fractions.append)

    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_words_lose_paths_and_secrets_and_nothing_else() -> None:
    """What a path ends in is needed to understand an error."""
    assert told("open /home/me/films/x.mp4: no") == "open …/x.mp4: no"
    assert told("at 'file:///srv/a b/c.png'") == "at '…/a b/c.png'"
    assert told("see https://fal.ai/models/x/api and 3/4 of it") == "see https://fal.ai/models/x/api and 3/4 of it"
    assert told("key=abc") == "key=***"
