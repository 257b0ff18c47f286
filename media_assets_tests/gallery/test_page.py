"""The page: what it says, what it can do, and what no prompt can make it do."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media_assets.errors import ConfigurationError
from media_assets.gallery.page import Place, dagster_base, render
from media_assets.gallery.shown import Gallery
from media_assets.ledger import open_ledger
from media_assets_tests.gallery.reading import Page
from media_assets_tests.gallery.showroom import (
    DEFERRED,
    DEGRADED,
    EARLIER,
    FAILED,
    FALLBACK,
    FILM_KEYS,
    HOSTILE,
    HOSTILE_KEY,
    LOOSE,
    PENDING,
    PLAIN,
    SECRET,
    UNFINISHED,
    look,
    write,
)
from media_assets_tests.making import cheap_prompt


@pytest.fixture(scope="module")
def page(showroom: Path) -> Page:
    return Page(write(showroom).page)


def _digests(texts: list[str]) -> str:
    hashed = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{one}'" for one in hashed)


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(page: Page) -> None:
    """The last line of defence: what slipped through as markup would still not run, load or send anything."""
    assert page.policy == {
        "default-src": "'none'",
        "script-src": _digests([page.only("script").text]),
        "style-src": _digests([page.only("style").text]),
        "img-src": "'self' file:",
        "media-src": "'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_policy_stands_before_everything_it_is_for(page: Page) -> None:
    """A policy in the page rules only what comes after it."""
    tags = [one.tag for one in page.elements]

    assert "Content-Security-Policy" in page.elements[tags.index("meta") + 1]["http-equiv"]
    assert tags.index("meta") + 1 < min(tags.index("style"), tags.index("script"))


def test_nothing_in_the_page_needs_a_looser_policy(page: Page) -> None:
    """No style and no handler in an attribute, and nothing from elsewhere."""
    names = {name for one in page.elements for name in one.attributes}
    sources = [one["src"] for one in page.elements if "src" in one.attributes]
    posters = [one["data-poster"] for one in page.elements if "data-poster" in one.attributes]

    assert not [name for name in names if name == "style" or name.startswith("on") or name == "srcdoc"]
    assert all(source.startswith("../films/") for source in sources)
    assert all(re.fullmatch(r"posters/[0-9a-f]{64}\.webp", one) for one in posters)
    assert len(sources) == len(posters) == len(FILM_KEYS)
    assert page.only("link")["href"] in posters
    assert not {"iframe", "object", "embed", "form", "base"} & {one.tag for one in page.elements}


def test_the_script_writes_no_markup(page: Page) -> None:
    """Whoever builds markup from text would have to escape it; whoever does not, cannot forget to."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute|fetch\(|cookie"
    )

    assert re.search(forbidden, page.only("script").text) is None


def test_a_hostile_prompt_is_text(page: Page) -> None:
    """Prompts come from anywhere: whatever one says, the page says it, and does nothing of it."""
    card = page.card(HOSTILE_KEY)
    texts = [one.text for one in page.inside(card, "p") if "text" in one.attributes.get("class", "")]
    as_shown = HOSTILE.replace("\u202e", "\ufffd").replace("\u202c", "\ufffd")

    assert as_shown in texts
    assert as_shown * 5 in texts
    assert not page.all("img")
    assert {one.tag for one in page.inside(card, "svg")} == {"svg"}
    assert all("onload" not in one.attributes for one in page.all("svg"))
    assert len(page.all("script")) == 1


def test_nothing_can_turn_the_page_s_own_words_around(page: Page) -> None:
    """An override of direction in a prompt could make a price read as another one."""
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.source)
    assert all(one["dir"] == "auto" for one in page.elements if one.attributes.get("class", "").startswith("text"))


def test_hostile_words_of_a_provider_are_text_too(page: Page) -> None:
    """Errors quote replies, and replies are strangers' words."""
    error = next(one for one in page.inside(page.card(FAILED, section="unfinished"), "p") if "error" in one["class"])

    assert error.text == "PredictionFailedError: <b>no</b> *** at …/x.png"
    reasons = [one.text for one in page.inside(page.card(FALLBACK), "span") if one.attributes.get("class") == "reason"]
    assert reasons == ["fallback: PredictionFailedError: out of <memory>"]


def test_nothing_of_this_machine_is_in_the_page(page: Page, showroom: Path) -> None:
    """The page may be uploaded as it is."""
    assert SECRET not in page.source
    assert str(showroom) not in page.source
    assert "/srv/machine" not in page.source
    assert not re.search(r"[\"'\s]/(?:home|root|tmp|usr|var|Users|work)/", page.source)


def test_every_film_has_its_player_its_numbers_and_its_flags(page: Page) -> None:
    """What a person wants to know of a film, at one look."""
    for key in FILM_KEYS:
        (video,) = page.inside(page.card(key), "video")
        assert (video["preload"], video["src"], video["aria-label"]) == ("none", f"../films/{key}.mp4", f"Film {key}")
        assert "controls" in video.attributes
    card = page.card(PLAIN)
    assert "0.02 USD" in card.text
    assert "64×64" in card.text
    assert re.search(r"image\s+testing:landscape\s+\d+\.\d+ s · 0\.01 USD", card.text)
    assert page.card(DEGRADED)["data-is"] == "degraded"
    assert "degraded: fallback: ProviderUnavailableError: no route to …/secret.sock" in page.card(DEGRADED).text
    assert page.card(EARLIER)["data-is"] == "degraded earlier"
    assert page.card(LOOSE)["data-is"] == "unrecorded"


def test_a_timeline_is_drawn_of_every_recorded_film(page: Page) -> None:
    """In numbers of the picture's own width, so that it needs no style."""
    bars = [one for one in page.inside(page.card(PLAIN), "rect") if one.attributes.get("class") == "at-work"]

    assert len(bars) == 4
    assert all(re.fullmatch(r"\d+(\.\d+)?%", bar[name]) for bar in bars for name in ("x", "width"))
    assert not page.inside(page.card(LOOSE), "rect")


def test_what_is_still_to_be_made_has_a_section_of_its_own(page: Page) -> None:
    """With the error, so that nobody needs a log."""
    for key, state in UNFINISHED.items():
        assert page.card(key, section="unfinished")["data-is"] == state
    deferred = page.card(DEFERRED, section="unfinished").text
    assert "BudgetExceededError: the cap of 0.001 USD" in deferred
    assert "made: image" in page.card(FAILED, section="unfinished").text


def test_links_lead_to_the_partition_in_dagster(page: Page) -> None:
    """As Dagster's own pages spell it; none where Dagster knows of no such prompt."""
    (link,) = page.inside(page.card(PLAIN), "a")

    assert link["href"] == "http://127.0.0.1:3000/assets/merged?view=partitions&partition=plain"
    assert not page.inside(page.card(LOOSE), "a")
    assert len(page.inside(page.card(PENDING, section="unfinished"), "a")) == 1


def test_it_can_be_used_by_keyboard_and_by_ear(page: Page) -> None:
    """Landmarks, a way past the search, and a name for everything; axe looks at the rest in a browser."""
    skip = next(one for one in page.all("a"))
    titles = {one.attributes.get("id") for one in page.all("h3")}

    assert (skip["href"], skip.text) == ("#films", "Skip to the films")
    assert {"header", "main", "search"} <= {one.tag for one in page.elements}
    assert page.only("html")["lang"] == "en"
    assert {one["for"] for one in page.all("label")} == {"words", "which"}
    assert all(one["aria-labelledby"] in titles for one in page.all("article"))
    assert next(one for one in page.all("p") if one.attributes.get("role") == "status").text == ""


def test_choices_are_those_that_there_are(page: Page) -> None:
    """A choice that finds nothing is a dead end."""
    assert [one.text for one in page.all("option")] == [
        "everything",
        "degraded (3)",
        "fallback (1)",
        "earlier (1)",
        "unrecorded (1)",
        "failed (1)",
        "deferred (1)",
        "pending (2)",
    ]


def test_a_long_prompt_is_shown_in_part_and_can_be_opened(home: Path) -> None:
    """Four thousand characters would hide all other films."""
    text = "A harbour in the fog. " * 150
    with open_ledger(home) as ledger:
        ledger.prompts.pin([cheap_prompt(key=PENDING, prompt=text)], source="long")
    page = Page(write(home).page)
    card = page.card(PENDING, section="unfinished")

    summary, whole = page.inside(card, "summary")[0], page.inside(card, "p")[1]
    assert summary.text == text[:240] + "…"
    assert whole.text == text.strip()


def test_without_films_the_page_says_so(tmp_path: Path) -> None:
    """An empty page would look like a broken one."""
    target = tmp_path / "index.html"
    target.write_text(render(Gallery(), {}, dagster=None, now=datetime(2026, 11, 30, tzinfo=UTC)), encoding="utf-8")

    page = Page(target)

    assert "There is no film yet." in page.only("main").text
    assert not page.all("article")
    assert page.only("title").text == "Gallery: 0 films"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        (" https://dagster.example/team/ ", "https://dagster.example/team"),
        ("None", None),
    ],
)
def test_dagster_may_be_anywhere_or_nowhere(given: str, taken: str | None) -> None:
    """A page that is uploaded may link to where others reach Dagster, or leave it out."""
    assert dagster_base(given) == taken


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "", "127.0.0.1:3000", "file:///etc/passwd", "http://", "http://[::1", "http://a b/"),
        *("http://me:secret@dagster.example", "http://dagster.example/?token=1", "http://dagster.example/#x"),
        *("http://dagster.example:99999", "http://dagster.example\u202e/"),
    ],
)
def test_what_is_no_address_of_dagster_is_refused(url: str) -> None:
    """Before anything is written, and without telling a password on."""
    with pytest.raises(ConfigurationError, match="--dagster-url") as caught:
        dagster_base(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("duration_s", "said"), [(0.0, "0.00 s"), (59.0, "59.0 s"), (125.0, "2 min 5 s"), (7_380.0, "2 h 3 min")]
)
def test_times_are_written_as_people_say_them(showroom: Path, duration_s: float, said: str) -> None:
    """A model that took two hours is not read from 7380 seconds."""
    (film,) = (one for one in look(showroom).films if one.key == PLAIN)
    slow = replace(film, steps=tuple(replace(step, duration_s=duration_s) for step in film.steps[:1]))
    places = {PLAIN: Place(url="film.mp4", poster=None)}

    html = render(Gallery(films=[slow]), places, dagster=None, now=datetime(2026, 11, 30, tzinfo=UTC))

    assert f"Made in {said}." in html
    assert f'<span class="figures">{said} · 0.01 USD</span>' in html
