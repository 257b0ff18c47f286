"""What may be shown of a provider's words."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.redact import harmless_text, redact_json, redact_text

CANARY = "Canary0123456789abcdefCANARY"
HEX = "0123456789abcdef0123456789abcdef"
FAL_KEY = f"12345678-9abc-def0-1234-56789abcdef0:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"authorization: bearer {CANARY}.",
        f"sent Bearer {CANARY} to us",
        f"Authorization: Key {CANARY}",
        f"Key {CANARY} is locked",
        f"sent Key {CANARY}:{CANARY}",
        f"Authorization: Basic {CANARY}",
        f"Authorization: Token {CANARY}",
        f"Authorization={CANARY}",
        f"xi-api-key: {CANARY}",
        f"xi-api-key {CANARY}",
        f"api_key={CANARY}",
        f"API key: {CANARY}",
        f"token={CANARY}",
        f"access_token: '{CANARY}'",
        f"signature={CANARY}",
        f"X-Amz-Signature={CANARY}&x=1",
        f"Signature%3D{CANARY}",
        f"sig={CANARY}",
        f"password = {CANARY}",
        f"client_secret={CANARY}",
        f"Set-Cookie: {CANARY}",
        f"see https://x.example/a?signature={CANARY}",
        f"see https://x.example/a?unheard_of={CANARY}.",
        f"see https://x.example/a#{CANARY}",
        f"see https://x.example/a;{CANARY}",
        f"see https://user:{CANARY}@x.example/a",
        f"see HTTPS://X.EXAMPLE/a?b={CANARY}",
        f"see s3://bucket/a?b={CANARY}",
        f"see https:\\/\\/x.example\\/a?b={CANARY}",
        f"see https://x.example/a?b=1\\u0026c={CANARY}",
        f"see https://x.example/https%3A%2F%2Fy%3Fb%3D{CANARY}",
        f"see /files/a?b={CANARY}",
        f"see x.example/a?b=1&c={CANARY}",
        f"image was data:image/png;base64,{CANARY}",
        f"r8_{CANARY} is wrong",
        f"wrong: sk-{CANARY}",
        f"wrong: sk-proj-{CANARY}_x-y",
        f"wrong: sk_{CANARY}",
        f"wrong: whsec_{CANARY}",
        f"wrong: eyJhbGciOiJI.{CANARY}.sig",
        f'"token":"{CANARY}"',
        f"'api_key' : '{CANARY}'",
    ],
)
@pytest.mark.parametrize("wrap", [str, json.dumps, lambda text: json.dumps({"a": json.dumps([text])})])
def test_secrets_are_hidden(text: str, wrap: type[str]) -> None:
    shown = redact_text(wrap(text), limit=1000)

    assert CANARY not in shown
    assert "Canary" not in shown


@pytest.mark.parametrize("key", [HEX, HEX.upper(), FAL_KEY, "sk-...abcd1234", "r8_abc***xyz"])
def test_keys_are_known_by_their_form(key: str) -> None:
    assert redact_text(f"wrong: {key}, sorry") == "wrong: ***, sorry"


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided.",
        "The key is missing.",
        "Send the header xi-api-key with it.",
        "You did not pass a valid authentication token",
        "max_tokens: 500 is too much",
        "- input.num_inference_steps: Must be less than or equal to 4",
        "Request was throttled. Your rate limit resets in ~30s.",
        "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.",
        "see https://docs.fal.ai/errors/image_too_small for this",
        "the task-scheduler of risk-management failed",
        "version 39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b",
        "prediction 018f3c1e-9a55-7c11-8f00-1a2b3c4d5e6f",
        "is it sensitive? Please try again (E005)",
        "Größe 1024×576 是 錯",
        "",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://x.example/a/b.png?c=d&e=f, then", "see https://x.example/a/b.png then"),
        ('{"url": "https://u:p@x.example:8443/a?b=c"}', '{"url": "https://x.example:8443/a"}'),
        ("one\ntwo\r\n\tthree\x00four\x1b[31m", "one two three four [31m"),
        ("a\ud800b\u2028c\u202ed\u200be", "a b c d e"),
        ("  spaced   out  ", "spaced out"),
    ],
)
def test_what_is_left(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_a_long_text_is_cut() -> None:
    assert redact_text("x" * 300) == "x" * 300
    assert redact_text("x" * 301) == "x" * 299 + "…"
    assert redact_text("word " * 100, limit=12) == "word word w…"
    assert redact_text("long", limit=0) == ""


def test_hiding_comes_before_cutting() -> None:
    """A cut through the middle of a key would leave its first half without the form that gives it away."""
    shown = redact_text(f"{'x' * 280} Bearer {CANARY}")

    assert "Canary"[:3] not in shown


@given(st.text(max_size=400) | st.text(alphabet="key bearer=:?&/.\\\"'https@a1-_{}[]%3d", max_size=400))
def test_any_text_becomes_one_short_printable_line(text: str) -> None:
    shown = redact_text(text)

    assert len(shown) <= 300
    assert shown.isprintable()
    assert shown == " ".join(shown.split())


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "?",
        "?a",
        "=",
        "key ",
        "key=",
        "token:",
        "https://",
        "a:/",
        "r8_",
        "sk-",
        "\\",
        '"',
        "data:",
        "eyJ",
        "0",
        "-",
    ],
)
def test_long_texts_are_quick(piece: str) -> None:
    """A pattern that reads a text again from each of its characters would make an error body an attack."""
    text = piece * (2_000_000 // len(piece))
    started = time.process_time()
    redact_text(text)
    redact_text(text, limit=1000)

    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "value",
    [
        {"image": f"https://x.example/a.png?sig={CANARY}"},
        {"image": [{"url": f"https://user:{CANARY}@x.example/a"}]},
        {"image": f"data:image/png;base64,{CANARY}"},
        {"hf_token": CANARY},
        {"openai_api_key": {"value": CANARY}},
        {"webhook_secret": [CANARY]},
        {"a": {"b": {"c": f"Authorization: Bearer {CANARY}"}}},
        {f"https://x.example/?sig={CANARY}": 1},
    ],
)
def test_a_json_value_keeps_no_secret(value: object) -> None:
    assert CANARY not in json.dumps(redact_json(value))


def test_a_json_value_is_kept_as_it_is_where_nothing_is_to_be_hidden() -> None:
    """What people wrote is what they look for: lines, spaces, and numbers as numbers."""
    value = {
        "prompt": "a boat\n  on two lines, at a token of its price",
        "seed": 7,
        "scale": 7.5,
        "flags": [True, None, "x"],
        "max_tokens": 5,
        "nested": {"a": {"b": []}},
    }

    assert redact_json(value) == value


def test_a_json_value_has_bounds() -> None:
    """It goes into a file beside others, whatever a stranger sent."""
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(5_000):
        inner["a"] = inner = {}

    assert len(json.dumps(redact_json(deep))) < 1_000
    assert len(redact_json("x " * 100_000, longest=50)) <= 50
    assert redact_json("a\ud800b") == "a b"


_LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@settings(max_examples=30)
@given(st.recursive(_LEAVES, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=10))
def test_any_json_value_is_taken(value: object) -> None:
    json.dumps(redact_json(value)).encode()


def test_text_keeps_its_meaning_and_loses_its_tricks() -> None:
    """A terminal and a page show other people's words: none may move the cursor, or turn its neighbours around."""
    kept = "line\n\ttab, émigré, 漢字, שלום, مرحبا, \u200f, 👩‍🚀"

    assert harmless_text(kept) == kept
    assert harmless_text("a\x1b[2Jb\x00c\x9bd\u202ee\u2066f") == "a�[2Jb�c�d�e�f"
