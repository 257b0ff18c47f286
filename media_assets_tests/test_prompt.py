"""The prompt itself: what is accepted, what its key is, and which change of it touches which step."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from media_assets.prompt import KEY_PATTERN, Fit, Prompt, Step, derive_key

FULL: dict[str, Any] = {
    "key": "dusk",
    "prompt": "A lighthouse at dusk",
    "script": "The keeper climbs.",
    "motion": "slow zoom",
    "caption": "The keeper",
    "seed": 7,
    "size_px": [768, 512],
    "clip_s": 5,
    "voice": "joe",
    "fit": "loop",
    "take": {"video": 2},
    "params": {"video": {"fps": 30}},
    "routes": {"image": ["local:landscape"]},
    "max_cost_usd": "1.50",
}
IMAGE, VIDEO, AUDIO, MERGED = Step
EVERY = set(Step)


def a_prompt(**changes: Any) -> Prompt:
    """Return the full prompt with some fields changed."""
    return Prompt.model_validate(FULL | changes)


def changed_steps(changes: dict[str, Any], *, stand_in_fields: bool) -> set[Step]:
    """Return the steps whose digest is another one after the changes."""
    before, after = a_prompt(), a_prompt(**changes)
    return {
        step
        for step in Step
        if before.step_digest(step, stand_in_fields=stand_in_fields)
        != after.step_digest(step, stand_in_fields=stand_in_fields)
    }


class TestFields:
    """What a prompt is."""

    def test_only_the_prompt_itself_is_needed(self) -> None:
        """Everything else has a default that makes a film."""
        prompt = Prompt.model_validate({"prompt": "A lighthouse at dusk"})

        assert (prompt.script, prompt.size_px, prompt.fit, prompt.take) == (None, (1024, 576), Fit.HOLD, 0)

    def test_prompt_is_frozen(self) -> None:
        """A key that was computed once must stay true."""
        with pytest.raises(ValidationError):
            a_prompt().prompt = "another"

    @pytest.mark.parametrize(
        ("given", "expected"),
        [("1024x576", (1024, 576)), ("640 X 480", (640, 480)), ("640×480", (640, 480)), ([640, 480], (640, 480))],
    )
    def test_sizes_are_read_as_people_write_them(self, given: Any, expected: tuple[int, int]) -> None:
        """``--size`` and a CSV cell bring a text, YAML a list."""
        assert a_prompt(size_px=given).size_px == expected

    @pytest.mark.parametrize("given", ["1.5", 1.5, Decimal("1.50")])
    def test_money_is_exact(self, given: Any) -> None:
        """1.1 from a YAML file is one dollar ten, not 1.100000000000000088."""
        assert a_prompt(max_cost_usd=given).max_cost_usd == Decimal("1.5")
        assert a_prompt(max_cost_usd=1.1).max_cost_usd == Decimal("1.1")

    def test_line_ends_and_outer_blanks_are_one_spelling(self) -> None:
        """The same file saved on Windows must not buy a second film."""
        assert a_prompt(script="  one\r\ntwo\rthree\n") == a_prompt(script="one\ntwo\nthree")

    @pytest.mark.parametrize("step", Step)
    def test_a_take_for_all_is_every_steps_take(self, step: Step) -> None:
        """``take: 3`` is short for four lines."""
        assert a_prompt(take=3).take_of(step) == 3

    def test_takes_by_step_are_their_own(self) -> None:
        """A new voice must not buy a new picture."""
        prompt = a_prompt(take={"video": 2})

        assert [prompt.take_of(step) for step in Step] == [0, 2, 0, 0]

    def test_a_raised_take_keeps_the_others(self) -> None:
        """``generate --take audio=4`` changes one number."""
        assert [a_prompt(take=2).with_take({AUDIO: 4}).take_of(step) for step in Step] == [2, 2, 4, 2]


class TestKey:
    """The partition key: given, or derived from the row."""

    @pytest.mark.parametrize(
        ("prompt", "slug"),
        [
            ("A lighthouse at dusk", "a-lighthouse-at-dusk"),
            ("Élan, naïve café — ﬁne", "elan-naive-cafe-fine"),
            ('  100% "off" %{n}  ', "100-off-n"),
            ("../../etc/passwd", "etc-passwd"),
            ("маяк в сумерках", "film"),
            ("灯台", "film"),
            ("🎬", "film"),
            ("2026 12", "film"),
            ("one two three four five six seven eight nine ten", "one-two-three-four-five-six-seven-eight"),
        ],
    )
    def test_derived_key_is_a_slug_and_the_rows_digest(self, prompt: str, slug: str) -> None:
        """People find their film by it; text without Latin letters still gets a name."""
        key = Prompt.model_validate({"prompt": prompt}).key

        assert re.fullmatch(rf"{slug}-[0-9a-f]{{8}}", key)
        assert len(key) <= 80

    def test_derived_key_is_what_it_always_was(self) -> None:
        """A golden key: another derivation would make every film of a key-less file again, under a new name."""
        assert Prompt.model_validate({"prompt": "A lighthouse at dusk"}).key == "a-lighthouse-at-dusk-305fb35e"
        assert Prompt.model_validate({"prompt": "маяк в сумерках"}).key == "film-de8e0edc"

    @pytest.mark.parametrize("name", [name for name in FULL if name not in {"key", "prompt"}])
    def test_every_field_counts_in_the_derived_key(self, name: str) -> None:
        """Two rows that differ anywhere are two films."""
        with_it = Prompt.model_validate({"prompt": "x", name: FULL[name]})

        assert with_it.key != Prompt.model_validate({"prompt": "x"}).key

    def test_order_of_fields_does_not_count(self) -> None:
        """Sorting the columns of a spreadsheet is not a new film."""
        row = {name: value for name, value in FULL.items() if name != "key"}

        assert Prompt.model_validate(dict(reversed(row.items()))).key == Prompt.model_validate(row).key

    def test_an_empty_key_field_is_derived(self) -> None:
        """``key:`` with nothing behind it is YAML for null."""
        assert Prompt.model_validate({"key": None, "prompt": "x"}).key == Prompt.model_validate({"prompt": "x"}).key

    @pytest.mark.parametrize("key", ["a", "0", "lighthouse", "a_b-c", "x" * 80, 7])
    def test_keys_that_are_taken(self, key: Any) -> None:
        """A number is a name too: YAML reads ``key: 7`` as one."""
        assert a_prompt(key=key).key == str(key)

    @pytest.mark.parametrize(
        "key",
        ["", "-a", "_a", "A", "a b", "a.b", "a/b", "..", "é", "x" * 81, "a\n", "a\0", " a", True, 1.5, [], "ａ", "٣"],
    )
    def test_keys_that_are_refused(self, key: Any) -> None:
        """It becomes a file name, a partition and a URL."""
        with pytest.raises(ValidationError):
            a_prompt(key=key)

    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_every_text_derives_a_key_that_is_allowed(self, text: str) -> None:
        """A derived key that its own rule refuses would make a prompt impossible to name."""
        assert re.fullmatch(KEY_PATTERN, derive_key(text, {"prompt": text}))


class TestStepDigest:
    """Which change of a prompt touches which finished step: everything else is reused."""

    @pytest.mark.parametrize(
        ("changes", "steps"),
        [
            ({"prompt": "A lighthouse at dawn"}, {IMAGE, VIDEO, MERGED}),
            ({"size_px": [1024, 576]}, {IMAGE, VIDEO, MERGED}),
            ({"motion": "fast zoom"}, {VIDEO, MERGED}),
            ({"clip_s": 6}, {VIDEO, MERGED}),
            ({"script": "The keeper sleeps."}, {AUDIO, MERGED}),
            ({"script": None}, {AUDIO, MERGED}),
            ({"voice": "jane"}, {AUDIO, MERGED}),
            ({"caption": "The light"}, {MERGED}),
            ({"fit": "trim"}, {MERGED}),
            ({"seed": 8}, EVERY),
            ({"take": 3}, EVERY),
            ({"take": {"video": 2, "image": 1}}, {IMAGE, VIDEO, MERGED}),
            ({"take": {"video": 3}}, {VIDEO, MERGED}),
            ({"take": {"video": 2, "audio": 1}}, {AUDIO, MERGED}),
            ({"take": {"video": 2, "merged": 1}}, {MERGED}),
            ({"take": {"video": 2, "image": 0}}, set()),
            ({"params": {"video": {"fps": 24}}}, {VIDEO, MERGED}),
            ({"params": {"video": {"fps": 30.0}}}, set()),
            ({"params": {"video": {"fps": 30}, "audio": {"speed": 1.1}}}, {AUDIO, MERGED}),
            ({"params": {"video": {"fps": 30}, "image": {"steps": 4}}}, {IMAGE, VIDEO, MERGED}),
            ({"routes": {"image": ["local:landscape"], "audio": ["local:silence"]}}, {AUDIO, MERGED}),
            ({"routes": {}}, {IMAGE, VIDEO, MERGED}),
            ({"params": {"video": {"fps": 30}, "merged": {"crf": 20}}}, {MERGED}),
            ({"routes": {"image": ["local:landscape"], "merged": ["local:merge"]}}, {MERGED}),
            ({"key": "another"}, set()),
            ({"max_cost_usd": 99}, set()),
        ],
        ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else str(value),
    )
    def test_a_change_touches_what_depends_on_it_and_nothing_else(
        self, changes: dict[str, Any], steps: set[Step]
    ) -> None:
        """Too few steps hand out an old result for a new wish; too many buy what is there already."""
        assert changed_steps(changes, stand_in_fields=False) == steps

    @pytest.mark.parametrize("changes", [{"script": "The keeper sleeps."}, {"caption": "The light"}], ids=str)
    def test_script_and_caption_touch_only_a_clip_that_reads_them(self, changes: dict[str, Any]) -> None:
        """The stand-in draws the caption and lasts as long as the voice; a paid clip does neither."""
        assert VIDEO in changed_steps(changes, stand_in_fields=True)
        assert VIDEO not in changed_steps(changes, stand_in_fields=False)
        assert IMAGE not in changed_steps(changes, stand_in_fields=True)

    def test_a_caption_never_touches_the_voice(self) -> None:
        """Words that are drawn are not words that are said."""
        assert changed_steps({"caption": None}, stand_in_fields=True) == {VIDEO, MERGED}

    @pytest.mark.parametrize("step", [IMAGE, AUDIO, MERGED])
    def test_the_stand_in_fields_matter_for_the_clip_only(self, step: Step) -> None:
        """A step with two digests would be looked up under both, and found under the wrong one."""
        digests = {a_prompt().step_digest(step, stand_in_fields=both) for both in (False, True)}

        assert len(digests) == 1

    def test_each_step_has_a_digest_of_its_own(self) -> None:
        """Equal digests would let one step's result stand for another's."""
        assert len({a_prompt().step_digest(step, stand_in_fields=False) for step in Step}) == 4

    def test_digests_are_what_they_always_were(self) -> None:
        """Golden digests: finished steps are found by them, so another form makes every film again."""
        found = {str(step): a_prompt().step_digest(step, stand_in_fields=False)[:16] for step in Step}

        assert found == {
            "image": "20dfd283db3a38d9",
            "video": "f77c06ed860a3c32",
            "audio": "16c3f239197e76ef",
            "merged": "e2e3aaa212e6a2cf",
        }

    def test_the_whole_digest_leaves_out_the_key_and_the_cap(self) -> None:
        """It decides whether the wish that is pinned under a key has changed; a cap is a limit, not a wish."""
        assert a_prompt(key="another", max_cost_usd=99).digest == a_prompt().digest
        for name in FULL.keys() - {"key", "prompt", "take", "fit", "max_cost_usd"}:
            assert a_prompt(**{name: Prompt.model_fields[name].get_default(call_default_factory=True)}).digest != (
                a_prompt().digest
            ), name

    @pytest.mark.parametrize(
        "changes",
        [
            {"params": {"video": {"note": "\ud800"}}},
            {"params": {"video": {"\ud800": 1}}},
            {"routes": {"image": ["\ud800"]}},
        ],
        ids=["parameter", "its name", "route"],
    )
    def test_half_a_character_is_refused_wherever_it_stands(self, changes: dict[str, Any]) -> None:
        """It has no digest: accepted here, it would end the run with a traceback later."""
        with pytest.raises(ValidationError):
            a_prompt(**changes)

    @pytest.mark.parametrize(
        "changes",
        [{"params": {"image": {"negative_prompt": "a\0b"}}}, {"routes": {"image": ["a\0b"]}}],
        ids=["parameter", "route"],
    )
    def test_nul_is_refused_wherever_it_stands(self, changes: dict[str, Any]) -> None:
        """Postgres cannot store it, and no model can read it."""
        with pytest.raises(ValidationError):
            a_prompt(**changes)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, -(2**64), None, [1], b"x"], ids=ascii)
    def test_a_parameter_that_cannot_be_written_down_is_refused(self, value: Any) -> None:
        """It has no digest, or one that no provider could be sent the value of."""
        with pytest.raises(ValidationError):
            a_prompt(params={"video": {"fps": value}})
