"""The studio: what a run makes, what it takes as it is, what it refuses, and how many prompts go through it."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from media_assets.catalog import LengthRange
from media_assets.errors import (
    BudgetExceededError,
    DefectError,
    MediaAssetsError,
    PlanError,
    RequestRejectedError,
)
from media_assets.film import Film
from media_assets.prompt import Prompt, Step
from media_assets.providers.base import LocalArguments, LocalReply
from media_assets.studio import Studio
from media_assets_tests.making import (
    CHEAP,
    OWN,
    OWN_ROUTES,
    PRICED,
    OwnProvider,
    attempt,
    cheap_prompt,
    failing,
    leftovers,
    made,
    make,
    own_model,
    purchases,
    reserved_micro_usd,
    studio_on,
)

_LONG_SCRIPT = (
    "A much longer script, which takes the voice a good deal more time to say than four seconds, and then some."
)


def _history(home: Path) -> dict[str, Any]:
    """Return all that a purchase could have changed: rows, attempts and files with their times."""
    with studio_on(home) as studio:
        rows = studio.ledger.purchases.search()
        attempts = [studio.ledger.purchases.attempts(row.request_key) for row in rows]
    files = {str(path): path.stat().st_mtime_ns for path in (home / "artifacts").rglob("*") if path.is_file()}
    return {"rows": rows, "attempts": attempts, "files": files}


def test_a_film_is_made_of_four_steps(tmp_path: Path) -> None:
    """What a person gets: a playable film where they look for it, and an account of each step."""
    film = make(tmp_path, cheap_prompt())

    assert made(film) == set(Step)
    assert film.path == tmp_path / "films" / "cheap.mp4"
    merged = film.steps[Step.MERGED].artifact
    assert merged is not None
    assert film.path.stat().st_size == merged.info.size_bytes
    assert (merged.info.video_codec, merged.info.audio_codec) == ("h264", "aac")
    assert all(result.attempts == 1 and result.duration_s > 0 for result in film.steps.values())
    assert leftovers(tmp_path) == []


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Resume is the default: no submit, no purchase, no file, not even a row's time."""
    first = make(tmp_path, cheap_prompt())
    before = _history(tmp_path)

    second = make(tmp_path, cheap_prompt())

    assert made(second) == set()
    assert _history(tmp_path) == before
    assert [result.artifact for result in first.steps.values()] == [result.artifact for result in second.steps.values()]
    assert all(result.duration_s == 0 and result.spent_usd == 0 for result in second.steps.values())


def test_an_unchanged_film_is_not_exported_again(tmp_path: Path) -> None:
    """Two hundred unchanged prompts a second leave no time to copy two hundred films."""
    first = make(tmp_path, cheap_prompt()).path
    assert first is not None
    before = first.stat()

    make(tmp_path, cheap_prompt())

    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("change", "remade"),
    [
        ({"script": _LONG_SCRIPT}, {Step.AUDIO, Step.VIDEO, Step.MERGED}),
        ({"caption": "A caption"}, {Step.VIDEO, Step.MERGED}),
        ({"fit": "loop"}, {Step.MERGED}),
        ({"take": {"image": 1}}, {Step.IMAGE, Step.VIDEO, Step.MERGED}),
        ({"take": {"video": 1}}, {Step.VIDEO, Step.MERGED}),
        ({"take": {"audio": 1}}, {Step.AUDIO, Step.MERGED}),
        ({"take": {"merged": 1}}, {Step.MERGED}),
        ({"take": 1}, set(Step)),
        ({"params": {"video": {"fps": 3}}}, {Step.VIDEO, Step.MERGED}),
        ({"prompt": "a blue barn at dusk"}, {Step.IMAGE, Step.VIDEO, Step.MERGED}),
        ({"max_cost_usd": "3"}, set()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_change_makes_again_what_depends_on_it_and_nothing_else(
    tmp_path: Path, change: dict[str, Any], remade: set[Step]
) -> None:
    """Every step that is not made again is money not spent."""
    begin = {"clip_s": None, "script": "Hello there."}
    make(tmp_path, cheap_prompt(**begin))

    changed = make(tmp_path, cheap_prompt(**{**begin, **change}))
    back = make(tmp_path, cheap_prompt(**begin))

    assert made(changed) == remade
    assert made(back) == set()


def test_a_changed_catalog_buys_nothing(tmp_path: Path) -> None:
    """A deploy on Friday must not buy every film of the year again on Saturday."""
    make(tmp_path, cheap_prompt())
    fps = own_model("ken-burns").params["fps"].model_copy(update={"default": 5})
    newer = [
        own_model("landscape", id="local:landscape", version="2"),
        own_model("ken-burns", id="local:ken-burns", version="2", params={"fps": fps, "zoom": OWN[1].params["zoom"]}),
        own_model("silence", id="local:silence", length_s=LengthRange(default=9, min=0.1, max=3600), silent=True),
    ]

    again = make(tmp_path, cheap_prompt(), models=newer)
    other_takes = make(tmp_path, cheap_prompt(take={"image": 1}), models=newer)

    assert made(again) == set()
    assert other_takes.steps[Step.IMAGE].attempts == 1
    assert made(other_takes) == {Step.IMAGE, Step.VIDEO, Step.MERGED}


def test_merged_alone_makes_nothing_for_a_finished_prompt(tmp_path: Path) -> None:
    """Materializing one asset in the UI is a look, not an order for four."""
    make(tmp_path, cheap_prompt())
    before = _history(tmp_path)

    with studio_on(tmp_path) as studio:
        film = asyncio.run(studio.make(cheap_prompt(), wanted={Step.MERGED}))

    assert made(film) == set()
    assert set(film.steps) == set(Step)
    assert film.path is not None
    assert _history(tmp_path) == before


def test_one_wanted_step_makes_only_what_it_needs(tmp_path: Path) -> None:
    """Someone who tries out pictures should not wait for films."""
    with studio_on(tmp_path) as studio:
        film = asyncio.run(studio.make(cheap_prompt(), wanted={Step.VIDEO}))

    assert made(film) == {Step.IMAGE, Step.VIDEO}
    assert film.path is None


@pytest.mark.parametrize("lost", list(Step))
def test_a_deleted_file_is_made_again_and_nothing_after_it(tmp_path: Path, lost: Step) -> None:
    """What was made from it is still there and still valid."""
    first = make(tmp_path, cheap_prompt())
    path = first.steps[lost].path
    assert path is not None
    path.unlink()

    again = make(tmp_path, cheap_prompt())

    assert made(again) == {lost}
    assert path.exists()
    assert {step: row.attempts for step, row in purchases(tmp_path).items()} == {
        step: 2 if step is lost else 1 for step in Step
    }
    assert made(make(tmp_path, cheap_prompt())) == set()


def _saved_larger(endpoint: str, reply: LocalReply) -> None:
    if endpoint == "landscape":
        Image.open(reply.path).save(reply.path, format="PNG", compress_level=0)


def test_a_deleted_file_whose_remake_has_other_bytes_leaves_the_rest_valid(tmp_path: Path) -> None:
    """A newer Pillow compresses differently; that is no reason to buy a video again."""
    prompt = cheap_prompt(routes={**OWN_ROUTES})
    first = make(tmp_path, prompt, models=OWN)
    old = first.steps[Step.IMAGE]
    assert old.path is not None
    old.path.unlink()

    again = make(tmp_path, prompt, models=OWN, provider=OwnProvider(after=_saved_larger))
    third = make(tmp_path, prompt, models=OWN)

    new = again.steps[Step.IMAGE]
    assert (made(again), made(third)) == ({Step.IMAGE}, set())
    assert old.artifact is not None
    assert new.artifact is not None
    assert old.artifact.sha256 != new.artifact.sha256
    assert third.steps[Step.IMAGE].artifact == new.artifact
    assert third.steps[Step.MERGED].artifact == first.steps[Step.MERGED].artifact


def test_a_deleted_film_is_only_exported_again(tmp_path: Path) -> None:
    """The exported file is a copy for people."""
    path = make(tmp_path, cheap_prompt()).path
    assert path is not None
    path.unlink()
    before = _history(tmp_path)

    film = make(tmp_path, cheap_prompt())

    assert made(film) == set()
    assert path.exists()
    assert _history(tmp_path) == before


def test_two_coroutines_that_make_one_prompt_make_each_step_once(tmp_path: Path) -> None:
    """A sensor and a person ask for the same film in one code server."""

    async def both(studio: Studio) -> tuple[Film, Film]:
        return await asyncio.gather(studio.make(cheap_prompt()), studio.make(cheap_prompt()))

    with studio_on(tmp_path) as studio:
        first, second = asyncio.run(both(studio))

    assert {step: row.attempts for step, row in purchases(tmp_path).items()} == dict.fromkeys(Step, 1)
    for step in Step:
        assert sorted([first.steps[step].cached, second.steps[step].cached]) == [False, True]


def test_equal_requests_of_two_prompts_share_their_purchases(tmp_path: Path) -> None:
    """The same picture under two names is one bill."""
    twins = [cheap_prompt(key="one"), cheap_prompt(key="two")]

    films = _streamed(tmp_path, twins)

    assert {key: film.error for key, film in films.items()} == {"one": None, "two": None}
    assert {step: row.attempts for step, row in purchases(tmp_path).items()} == dict.fromkeys(Step, 1)
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["one.mp4", "two.mp4"]


def test_a_cap_below_the_worst_case_refuses_before_anything_is_sent(tmp_path: Path) -> None:
    """Three models at a cent each do not fit under two cents, and the first one alone is no film."""
    provider = OwnProvider()

    film = attempt(tmp_path, cheap_prompt(routes=OWN_ROUTES, max_cost_usd="0.02"), models=PRICED, provider=provider)

    assert isinstance(film.error, BudgetExceededError)
    assert "0 spent + 0 reserved + 0.03 needed" in film.error.message
    assert not provider.submits
    assert purchases(tmp_path) == {}


def test_a_cap_that_fits_is_spent_once(tmp_path: Path) -> None:
    """What the film cost is counted when it is bought, and never again."""
    prompt = cheap_prompt(routes=OWN_ROUTES, max_cost_usd="0.03")

    first, second = (make(tmp_path, prompt, models=PRICED) for _ in range(2))

    assert [str(film.cost_usd) for film in (first, second)] == ["0.03", "0.03"]
    assert [str(film.spent_usd) for film in (first, second)] == ["0.03", "0"]
    assert reserved_micro_usd(tmp_path) == 0


def test_every_problem_of_a_prompt_is_named_at_once(tmp_path: Path) -> None:
    """Fixing one fault a run is how evenings are lost."""
    prompt = cheap_prompt(clip_s=300, size_px=(64, 4096), params={"video": {"fps": 999, "zom": 2}, "image": {"x": 1}})
    settings = CHEAP.model_copy(update={"min_image_side_px": 512})

    film = attempt(tmp_path, prompt, settings=settings)

    assert isinstance(film.error, PlanError)
    named = {(problem.where, problem.field) for problem in film.error.problems}
    assert named >= {("video", "fps"), ("video", "zom"), ("image", "x"), ("image", "size_px")}
    assert purchases(tmp_path) == {}


def _streamed(home: Path, prompts: Iterable[Prompt], **studio: Any) -> dict[str, Film]:
    async def collect(one: Studio) -> dict[str, Film]:
        return {film.key: film async for film in one.stream(prompts)}

    with studio_on(home, **studio) as one:
        return asyncio.run(collect(one))


def test_one_bad_prompt_never_sinks_a_batch(tmp_path: Path) -> None:
    """Whatever is wrong with one, be it a wish, a model or our own code, the others get their films."""
    prompts = [
        cheap_prompt(key="good"),
        cheap_prompt(key="misspelt", routes={"image": ["local:lanscape"]}),
        cheap_prompt(key="refused", prompt="too rude", routes=OWN_ROUTES),
        cheap_prompt(key="defect", prompt="divides by zero", routes=OWN_ROUTES),
        cheap_prompt(key="also-good", take=1),
    ]
    errors = {"too rude": RequestRejectedError("no"), "divides by zero": ZeroDivisionError("division by zero")}

    def before(_which: str, arguments: LocalArguments) -> None:
        if error := errors.get(str(arguments.params.get("prompt"))):
            raise error

    films = _streamed(tmp_path, prompts, models=OWN, provider=OwnProvider(before=before))

    assert {key: type(film.error) for key, film in films.items()} == {
        "good": type(None),
        "misspelt": PlanError,
        "refused": RequestRejectedError,
        "defect": DefectError,
        "also-good": type(None),
    }
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["also-good.mp4", "good.mp4"]
    assert leftovers(tmp_path) == []


def test_a_stream_draws_prompts_only_as_places_free_up(tmp_path: Path) -> None:
    """Ten thousand prompts from a generator are never held in memory, nor worked on all at once."""
    drawn, received, most_ahead = 0, 0, 0

    def endless() -> Iterator[Prompt]:
        nonlocal drawn
        while True:
            drawn += 1
            yield cheap_prompt(key=f"film-{drawn}", take=drawn)

    async def take_ten(studio: Studio) -> None:
        nonlocal received, most_ahead
        stream = studio.stream(endless(), wanted={Step.AUDIO})
        async for film in stream:
            assert film.error is None
            most_ahead = max(most_ahead, drawn - received)
            received += 1
            if received == 10:
                break
        await stream.aclose()

    with studio_on(tmp_path, settings=CHEAP.model_copy(update={"max_in_flight": 3})) as studio:
        asyncio.run(take_ten(studio))

    assert received == 10
    assert 1 < most_ahead <= 3


def test_leaving_a_stream_early_stops_what_is_in_flight(tmp_path: Path) -> None:
    """`break` in the caller's loop is a cancel."""
    prompts = [cheap_prompt(key=f"film-{number}", take=number) for number in range(4)]

    async def take_one(studio: Studio) -> None:
        stream = studio.stream(prompts, wanted={Step.AUDIO})
        async for _ in stream:
            break
        await stream.aclose()
        assert len(asyncio.all_tasks()) == 1

    with studio_on(tmp_path) as studio:
        asyncio.run(take_one(studio))

    assert leftovers(tmp_path) == []
    assert reserved_micro_usd(tmp_path) == 0


def test_a_plan_says_what_is_there_and_writes_nothing(tmp_path: Path) -> None:
    """`plan` is a question, and questions are free."""
    with studio_on(tmp_path, models=PRICED) as studio:
        prompt = cheap_prompt(routes=OWN_ROUTES)
        before = asyncio.run(studio.plan(prompt))
        untouched = (studio.ledger.prompts.keys(), studio.ledger.purchases.search())
        asyncio.run(studio.make(prompt))
        after = asyncio.run(studio.plan(prompt))

    assert untouched == ([], [])
    assert (str(before.estimate_usd), [step.cached for step in before.steps]) == ("0.03", [False] * 4)
    assert (str(after.estimate_usd), [step.cached for step in after.steps]) == ("0", [True] * 4)
    assert [step.request_key for step in before.steps] == [step.request_key for step in after.steps]


def test_the_status_of_a_prompt_follows_its_film(tmp_path: Path) -> None:
    """`status` answers from the ledger, whoever made the film."""
    prompt = cheap_prompt(script=None, routes=OWN_ROUTES)
    refused: MediaAssetsError = RequestRejectedError("too rude")
    statuses = []
    for provider in (OwnProvider(before=failing("landscape", refused)), OwnProvider()):
        with studio_on(tmp_path, models=OWN, provider=provider) as studio:
            asyncio.run(studio.attempt(prompt))
            pinned = studio.ledger.prompts.get("cheap")
            assert pinned is not None
            statuses.append((pinned.status, (pinned.error or {}).get("message")))

    assert statuses == [("failed", "too rude"), ("done", None)]
