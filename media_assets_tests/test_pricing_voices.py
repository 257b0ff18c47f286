"""What a voice may cost at most, held against the simulator's own bill for the voice it would make."""

from datetime import date
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import ModelSpec, Recovery, load_catalog
from media_assets.pricing import Estimate, estimate
from media_assets.prompt import Prompt, Step
from media_assets.providers.base import Deadlines, HttpCall
from media_assets.providers.registry import build_adapters
from media_assets.request import GenerationRequest
from media_assets.simulator.bill import bill_line
from media_assets.simulator.media import speech_s
from media_assets.simulator.openai_inputs import audio_tokens, text_tokens
from media_assets.simulator.submissions import Submission
from media_assets.steps import draft_audio
from media_assets_tests.conftest import LONG

EXAMPLES = 1_000 if LONG else 60
TODAY = date(2026, 11, 24)
VOICES = [spec for spec in load_catalog() if spec.step is Step.AUDIO and spec.recovery is not Recovery.FREE]
OPENAI = load_catalog().get("openai:gpt-4o-mini-tts")
ADAPTERS = build_adapters()


def bounds_of_speed(spec: ModelSpec) -> tuple[float, float]:
    """Return the slowest and the fastest a model can be asked to speak."""
    limits = spec.params[spec.roles["speed"]]
    assert limits.min is not None
    assert limits.max is not None
    return limits.min, limits.max


AT_BOUNDS = [(spec, speed) for spec in VOICES for speed in bounds_of_speed(spec)]


def asked(spec: ModelSpec, script: str, speed: float) -> GenerationRequest:
    """Return what a prompt with this script asks of a voice."""
    row = {"key": "k", "prompt": "a lamp", "script": script, "params": {"audio": {spec.roles["speed"]: speed}}}
    draft = draft_audio(Prompt.model_validate(row), spec, clip_s=5)
    assert draft.request.params[spec.roles["speed"]] == speed
    return draft.request


def expected(spec: ModelSpec, script: str, speed: float) -> Estimate:
    """Return what the voice may cost."""
    return estimate(spec, asked(spec, script, speed), today=TODAY)


def billed_usd(spec: ModelSpec, script: str, speed: float) -> Decimal:
    """Return what the simulator charges for the voice it would make: by its own count, speed and prices."""
    request = asked(spec, script, speed)
    call = ADAPTERS[spec.provider].submit_call(request, inputs={}, deadlines=Deadlines.of(spec))
    assert isinstance(call, HttpCall)
    assert isinstance(call.json_body, dict)
    text = str(request.params[spec.roles["script"]])
    seconds = speech_s(text, speed)
    one = Submission(
        n=1,
        at="",
        at_s=0.0,
        provider=spec.provider,
        model=spec.endpoint if spec.provider == "fal" else spec.version,
        endpoint="",
        id="1",
        input=dict(call.json_body),
        state="succeeded",
        outcome={
            "tokens": {"text_in": text_tokens(text), "audio_out": audio_tokens(seconds)},
            "outputs": [{"kind": "audio", "duration_s": seconds}],
        },
    )
    line = bill_line(one)
    assert line.quantity > 0
    return line.usd


def scripts() -> st.SearchStrategy[str]:
    """Return scripts of one writing system, of several, and of anything that is a character at all."""
    kinds = {
        "digits": st.sampled_from("0123456789٣४９"),
        "ideograms": st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
        "kana and hangul": st.sampled_from("あいうアイウｱｲｳ가나다ㅎ"),
        "emoji": st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF),
        "latin": st.characters(min_codepoint=0x41, max_codepoint=0x24F, exclude_categories=("Cs", "Cc")),
        "cyrillic": st.characters(min_codepoint=0x400, max_codepoint=0x4FF),
        "spaces and signs": st.sampled_from(" \n.,!?%$€—"),
        "anything": st.characters(exclude_categories=("Cs", "Cc")),
    }
    drawn = st.lists(st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.text(kinds[kind], min_size=1)), min_size=1)
    # As long as can be asked as often as not: in a short script the fixed part of an estimate hides a wrong rate.
    return st.tuples(drawn.map("".join), st.sampled_from([1, 4096])).map(lambda one: (one[0] * one[1])[:4096])


def _is_a_script(text: str) -> bool:
    return bool(text.strip())


def test_every_voice_that_is_paid_for_is_here() -> None:
    """A new one is held to the same by itself."""
    assert {spec.provider for spec in VOICES} == {"elevenlabs", "fal", "openai"}
    assert all("speed" in spec.roles for spec in VOICES)


@pytest.mark.sample(f"{EXAMPLES:,} of 1,000 random scripts")
@given(script=scripts().filter(_is_a_script))
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_voice_is_billed_above_its_worst_case(script: str) -> None:
    """Whatever is said, in whatever script, as slow and as fast as can be asked: what was reserved is enough."""
    for spec, speed in AT_BOUNDS:
        found = expected(spec, script, speed)

        assert found.max_usd > 0
        assert billed_usd(spec, script, speed) <= found.max_usd, f"{spec.id} at {speed:g}"


@pytest.mark.parametrize(
    ("which", "script"),
    list(product(AT_BOUNDS, ["9" * 4096, "猫" * 4096, "ｶ" * 4096, "a " * 2048, "😀9" * 2048, "ы" * 4096, "1 " * 2048])),
    ids=lambda value: f"{value[0].id} at {value[1]:g}" if isinstance(value, tuple) else f"{value[:2]}...",
)
def test_the_longest_scripts_of_one_kind_are_covered(which: tuple[ModelSpec, float], script: str) -> None:
    """4096 digits were billed at half as much again as their worst case."""
    spec, speed = which

    assert billed_usd(spec, script, speed) <= expected(spec, script, speed).max_usd


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        # 4096 English characters lasted 268 s and took about 5300 audio tokens (measured by others, 2025-11-02).
        ("The lamp burns low tonight. ", 28 * 5300 / 4096),
        # A Chinese book took 6.3 audio tokens for each token of its text, a character or more (the same, 2025-03-31).
        ("灯塔今夜很暗淡。", 8 * 6.3),
        # "Seven hundred seventy-seven million, seven ...": 101 characters, spoken as the English ones above.
        ("777,777,777 ", 101 * 5300 / 4096),
    ],
)
def test_tokens_are_bounded_by_more_than_was_measured(said: str, tokens: float) -> None:
    """The simulator is not the provider: the bound is held against what others were billed, and a third more."""
    often = 300

    most = expected(OPENAI, said * often, 1.0).max_usd / Decimal("0.000012")

    assert most >= Decimal(str(tokens)) * often * Decimal("1.33")


def test_a_fast_voice_is_not_expected_to_save_tokens() -> None:
    """Whether the tempo changes before or after its tokens are counted, nobody says."""
    usual, fast, slow = (expected(OPENAI, "Look up. " * 100, speed).max_usd for speed in (1.0, 4.0, 0.25))

    assert fast == usual
    assert slow > 3 * usual
