"""``models`` and ``upgrade``: what a route can name, and making again what a stand-in made."""

from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets_tests.cli.running import Cli, write_prompts
from media_assets_tests.simulated import FAST, open_market


def test_every_model_is_listed_with_its_price(cli: Cli) -> None:
    """Routes are typed by hand, and prices decide what to type."""
    told = {one["id"]: one for one in cli("models", "--json").objects()}

    assert set(told) == {spec.id for spec in load_catalog()}
    assert told["replicate:sdxl"]["price"] == "0.0014 USD per second of compute"
    assert told["fal:kling-v2.5-turbo"]["price"] == "0.35 USD per request; 0.07 USD per second made above 5"
    assert "times 1.25 where num_frames is over 81" in told["fal:wan-i2v"]["price"]
    assert told["local:piper"]["price"] == "free"
    assert (told["openai:gpt-4o-mini-tts"]["retires"], told["openai:gpt-4o-mini-tts"]["has_key"]) == (
        "2027-01-06",
        False,
    )
    assert not cli.home.exists()


def test_people_see_which_keys_are_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's value is nobody's business, that it is there is."""
    monkeypatch.setenv("FAL_KEY", "secret:word")

    ended = cli("models")

    assert ended.code == 0
    assert "ELEVENLABS_API_KEY is not set" in ended.out
    assert "FAL_KEY is not set" not in ended.out
    assert "secret" not in ended.out + ended.err


def test_a_key_that_cannot_be_used_is_not_told_as_set(cli: Cli) -> None:
    """Here one looks for what a route can name; a model that no plan would take must not look ready."""
    told = {one["id"]: one for one in cli("models", "--json", FAL_KEY="two words", OPENAI_API_KEY=" x\n").objects()}
    shown = cli("models", FAL_KEY="two words")

    problem = "FAL_KEY holds white space; copy the key into it again"
    assert (told["fal:kokoro"]["has_key"], told["fal:kokoro"]["key_problem"]) == (False, problem)
    assert (told["openai:gpt-4o-mini-tts"]["has_key"], told["openai:gpt-4o-mini-tts"]["key_problem"]) == (True, None)
    assert (told["local:piper"]["has_key"], told["local:piper"]["key_problem"]) == (True, None)
    assert problem in shown.out
    assert "two words" not in shown.out + shown.err


def test_an_own_model_file_with_a_fault_is_bad_input(cli: Cli, tmp_path: Path) -> None:
    """File, line and field: that is what one looks for."""
    (tmp_path / "mine.toml").write_text(
        'provider = "fal"\npricing_url = ""\n\n[[model]]\nid = "fal:x"\nendpont = "y"\n'
    )

    ended = cli("models", MEDIA_ASSETS_CATALOG_FOLDER=str(tmp_path))

    assert ended.code == 2
    assert "mine.toml, line 6" in ended.err
    assert "endpont" in ended.err


def test_upgrade_makes_again_what_a_stand_in_made(cli: Cli, tmp_path: Path) -> None:
    """The film that had to do without its clip gets one later, and pays for nothing else."""
    with open_market(tmp_path / "other", faults=[{"provider": "fal", "fault": "run_failed"}]) as market:
        there = {**market.simulator.environment(), **FAST}
        row = {
            "key": "later",
            "prompt": "a barn",
            "clip_s": 5,
            "params": {},
            "routes": {"image": ["replicate:sdxl"], "video": ["fal:kling-v2.5-turbo", "local:ken-burns"]},
        }
        first = cli("generate", write_prompts(tmp_path / "p.jsonl", row), "--json", **there).only()
        market.set_faults()

        better = cli("upgrade", "later", "--json", **there).only()
        again = cli("upgrade", "later", "--json", **there).only()

        assert (first["degraded"], better["degraded"], again["degraded"]) == (True, False, False)
        assert [step["step"] for step in better["steps"] if not step["cached"]] == ["video", "merged"]
        assert again["spent_usd"] == "0"
        assert [one["provider"] for one in market.accepted()] == ["replicate", "fal", "fal"]


def test_upgrade_of_an_unknown_prompt_is_bad_input(cli: Cli) -> None:
    """A slip in a key must not look like a finished upgrade."""
    ended = cli("upgrade", "nobody", "--json")

    assert ended.code == 2
    assert "no prompt is known under 'nobody'" in ended.only()["error"]["message"]
    assert not cli.home.exists()
