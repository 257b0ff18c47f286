"""``gallery`` as it is typed: where the page is, what it says of its work, and what is refused first."""

from pathlib import Path

import pytest

from media_assets.errors import PredictionFailedError
from media_assets.prompt import Prompt
from media_assets_tests.cli.running import Cli, call, call_on_terminal
from media_assets_tests.making import OWN, OWN_ROUTES, OwnProvider, attempt, cheap_prompt, failing, make


@pytest.fixture
def film(cli: Cli) -> Prompt:
    """Make one film in the home of the command line."""
    prompt = cheap_prompt(script=None)
    make(cli.home, prompt)
    return prompt


def test_it_writes_the_page_and_says_where(cli: Cli, film: Prompt) -> None:
    """The path is the last line, to be opened."""
    ended = cli("gallery")

    page = cli.home / "gallery" / "index.html"
    assert (ended.code, page.is_file()) == (0, True)
    assert ended.out.splitlines() == [
        "1 films, 0 prompts still to be made; posters: 1 drawn, 0 kept, 0 removed",
        f"gallery: {page}",
    ]


def test_as_json_it_is_one_object_for_programs(cli: Cli, film: Prompt) -> None:
    """Counts, so that nobody has to read the page to know whether it is whole."""
    (cli.home / "films" / "loose.mp4").write_bytes(b"no film")
    cli("gallery")
    page = cli.home / "gallery" / "index.html"

    assert cli("gallery", "--json").only() == {
        "home": str(cli.home),
        "page": str(page),
        "films": 2,
        "degraded": 0,
        "unfinished": 0,
        "cost_usd": "0",
        "posters": {"drawn": 0, "kept": 1, "removed": 0},
        "no_poster": ["loose"],
        "copied": 0,
        "size_bytes": page.stat().st_size,
    }
    assert "loose: its file cannot be decoded; it is shown without a poster" in cli("gallery").out


def test_a_folder_may_be_named(cli: Cli, film: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the command is typed."""
    monkeypatch.chdir(tmp_path)
    ended = cli("gallery", "--out", "site", "--dagster-url", "https://dagster.example")

    assert ended.code == 0, ended.err
    assert "1 films put beside it" in ended.out
    assert (tmp_path / "site" / "films" / f"{film.key}.mp4").is_file()
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert f"https://dagster.example/assets/merged?view=partitions&amp;partition={film.key}" in page


def test_where_nothing_was_made_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    """A question leaves no trace."""
    told, object_ = cli("gallery", "--out", tmp_path / "site"), cli("gallery", "--json")

    assert (told.code, told.out) == (0, "")
    assert f"nothing made yet in {cli.home}" in told.err
    assert object_.only() == {"home": str(cli.home), "page": None}
    assert not cli.home.exists()
    assert not (tmp_path / "site").exists()


def test_a_ledger_without_films_makes_a_page_that_says_what_failed(cli: Cli) -> None:
    """What is not there is what a person looks for."""
    broken = OwnProvider(before=failing("landscape", PredictionFailedError("no")))
    attempt(cli.home, cheap_prompt(routes=OWN_ROUTES), provider=broken, models=OWN)
    told = cli("gallery", "--json").only()

    assert (told["films"], told["unfinished"]) == (0, 1)
    assert "PredictionFailedError" in Path(told["page"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dagster-url", "javascript:alert(1)"), "write the address Dagster is at"),
        (("--dagster-url", "http://me:secret@host"), "leave out user, password"),
        (("--out", "{home}/artifacts"), "of the home only gallery/ is the gallery's"),
        (("--out", "{home}/../mine"), "is not of a gallery, and is not written over"),
    ],
)
def test_what_cannot_be_done_is_refused_first(cli: Cli, film: Prompt, arguments: tuple[str, ...], says: str) -> None:
    """With exit code 2, in words and as an object."""
    stranger = cli.home.parent / "mine" / "index.html"
    stranger.parent.mkdir()
    stranger.write_text("<title>Mine</title>")
    typed = [one.format(home=cli.home) for one in arguments]
    told, object_ = cli("gallery", *typed), cli("gallery", *typed, "--json")

    assert (told.code, object_.code) == (2, 2)
    assert says in told.err
    assert says in object_.only()["error"]["message"]
    assert "secret" not in told.err + object_.out
    assert not (cli.home / "gallery").exists()
    assert stranger.read_text() == "<title>Mine</title>"


def test_progress_is_seen_and_not_mixed_with_results(cli: Cli, film: Prompt) -> None:
    """Long work that says nothing looks like work that hangs."""
    lines = call("gallery", "--json", MEDIA_ASSETS_HOME=cli.home)
    bars, shown = call_on_terminal("gallery", streams=("stderr",), MEDIA_ASSETS_HOME=cli.home)

    assert lines.err.splitlines() == ["gallery: looking for films", "gallery: posters"]
    assert len(lines.objects()) == 1
    assert "posters" in shown
    assert bars.out.splitlines()[-1] == f"gallery: {cli.home}/gallery/index.html"
