"""ElevenLabs' history: how a voice whose reply was lost is found, asked about and fetched."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    InsufficientCreditError,
    KeyRejectedError,
    OutputLostError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Scalar
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.listing import BillLine, Listed, ListedPage
from media_assets.request import GenerationRequest
from media_assets_tests.providers.sync_replies import HISTORY_ITEM, elevenlabs_error, reply_of, request_to

ADAPTER = ElevenLabsAdapter()
BASE = "https://api.elevenlabs.io"
ITEM_URL = f"{BASE}/v1/history/ja9xsmfGhxYcymxGcOGB"
SINCE = datetime(2026, 1, 1, 0, 0, 0, 900_000, tzinfo=UTC)
UNTIL = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
ENDPOINT = "v1/text-to-speech/{voice_id}?output_format={output_format}"
PARAMS: dict[str, Scalar] = {
    "voice_id": "21m00Tcm4TlvDq8ikWAM",
    "output_format": "mp3_44100_128",
    "text": "Hello, world!",
    "voice_settings.stability": 0.71,
    "voice_settings.style": 0.0,
    "voice_settings.speed": 1.0,
    "seed": 7,
}


def request_for(endpoint: str = ENDPOINT, version: str = "eleven_multilingual_v2", **changes: Any) -> GenerationRequest:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return request_to("elevenlabs", endpoint, version=version, params={**PARAMS, **named})


def page_with(*items: Any, **more: Any) -> ListedPage:
    return ADAPTER.parse_list(reply_of({"history": list(items), "has_more": False, **more}))


def only(**changes: Any) -> Listed:
    page = page_with({**HISTORY_ITEM, **changes})
    assert page.unreadable == ()
    (one,) = page.items
    return one


FOUND = only().to_follow()


def stands(**changes: Any) -> Prediction:
    return ADAPTER.parse(reply_of({**HISTORY_ITEM, **changes}), Asked.STATUS, FOUND)


# The list


def test_the_history_is_asked_for_beyond_the_time_in_question() -> None:
    """An item may bear the date of its end, and its making takes a while."""
    call = ADAPTER.list_call(endpoints=["any"], since=SINCE, until=UNTIL, page=None)

    assert call is not None
    assert (call.method, call.with_key, call.json_body) == ("GET", True, None)
    after, before = int(SINCE.timestamp()), int(UNTIL.timestamp()) + 15 * 60 + 1
    assert call.url == f"{BASE}/v1/history?page_size=100&date_after_unix={after}&date_before_unix={before}"


def test_the_next_page_begins_behind_the_last_item() -> None:
    page = page_with(HISTORY_ITEM, has_more=True, last_history_item_id="ja9xsmfGhxYcymxGcOGB")
    call = ADAPTER.list_call(endpoints=[], since=SINCE, until=UNTIL, page=page.next_page)

    assert call is not None
    assert call.url.endswith("&start_after_history_item_id=ja9xsmfGhxYcymxGcOGB")


@pytest.mark.parametrize("last", [None, "", 7, "a&b", "x" * 101])
def test_a_next_page_that_nobody_can_ask_for_is_told(last: Any) -> None:
    page = page_with(HISTORY_ITEM, has_more=True, last_history_item_id=last)

    assert len(page.items) == 1
    assert (page.next_page, len(page.unreadable)) == (None, 1)


def test_what_the_history_shows_of_a_voice() -> None:
    """Its id is that of the reply's header, by which the ledger knows what it has already."""
    one = only()

    assert (one.prediction.id, one.other_ids) == ("BF0BZg4IwLGBlaVjv9Im", ("ja9xsmfGhxYcymxGcOGB",))
    assert one.prediction.urls == {"history": ITEM_URL}
    assert one.prediction.reported == {"character_cost": Decimal(42)}
    assert (one.prediction.state, one.ended, one.source) == (State.SUCCEEDED, True, "TTS")
    assert one.created_at == datetime(2024, 5, 2, 11, 45, 6, tzinfo=UTC)
    assert (one.endpoint, one.version) == ("v1/text-to-speech", "eleven_multilingual_v2")
    assert one.input == {
        "text": "Hello, world!",
        "voice_id": "21m00Tcm4TlvDq8ikWAM",
        "output_format": "mp3_44100_128",
        "voice_settings": HISTORY_ITEM["settings"],
    }


@pytest.mark.parametrize("request_id", [None, "", "a b", 7])
def test_without_a_request_id_an_item_has_its_own(request_id: Any) -> None:
    one = only(request_id=request_id)

    assert (one.prediction.id, one.other_ids) == ("ja9xsmfGhxYcymxGcOGB", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"history_item_id": None},
        {"history_item_id": "../x"},
        {"history_item_id": "x" * 101},
        {"state": None},
        {"state": 7},
    ],
)
def test_an_item_that_cannot_be_read_is_told(changes: Mapping[str, Any]) -> None:
    page = page_with({**HISTORY_ITEM, **changes}, HISTORY_ITEM)

    assert (len(page.items), len(page.unreadable)) == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"date_unix": "today"},
        {"character_count_change_to": None},
        {"character_count_change_from": True},
        {"character_count_change_to": 5},
        {"settings": None},
        {"settings": [1]},
        {"voice_id": None},
        {"output_format": None},
        {"model_id": None},
        {"source": None},
    ],
)
def test_what_the_specification_lets_be_missing_may_be(changes: Mapping[str, Any]) -> None:
    one = only(**changes)

    assert one.prediction.id == "BF0BZg4IwLGBlaVjv9Im"
    assert ADAPTER.is_surely_of(request_for(), one)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"history": {}}', b"<html></html>", b"\xff\xfb\x90"])
def test_what_is_no_page_is_an_error_that_may_be_asked_again(body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError, match="nothing was bought by asking") as caught:
        ADAPTER.parse_list(HttpReply(status=200, headers={}, body=body))

    assert (caught.value.billed, caught.value.rerun) == (Billed.NO, Rerun.RESUME)


# Is it ours?


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Hello,  world!\n"},
        {"seed": 8},
        {"voice_settings__speed": 1.1},
        {"apply_text_normalization": "off"},
    ],
)
def test_what_the_history_does_not_show_tells_nothing_apart(changes: dict[str, Any]) -> None:
    """Two takes of one text look alike: which of them it is, only the ids that the ledger has can tell."""
    assert ADAPTER.is_surely_of(request_for(**changes), only())


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({"text": "Hello, World!"}, {}),
        ({"voice_id": "EXAVITQu4vr4xnSDxMaL"}, {}),
        ({"version": "eleven_flash_v2_5"}, {}),
        ({"endpoint": "v1/sound-generation"}, {}),
        ({}, {"source": "Dubbing"}),
        ({}, {"text": None, "voice_id": None, "dialogue": [{"text": "Hello, world!", "voice_id": "x"}]}),
    ],
)
def test_another_text_voice_or_model_speaks_against_it(changes: dict[str, Any], listed: dict[str, Any]) -> None:
    assert not ADAPTER.is_of(request_for(**changes), only(**listed))
    assert not ADAPTER.is_surely_of(request_for(**changes), only(**listed))


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({"voice_settings__stability": 0.5}, {}),
        ({"output_format": "mp3_22050_32"}, {}),
        ({}, {"text": None}),
    ],
)
def test_what_may_be_shown_otherwise_than_sent_is_no_proof_against_it(
    changes: dict[str, Any], listed: dict[str, Any]
) -> None:
    """Settings may be shown as the model took them: such an item may be ours, and is not taken for ours."""
    assert ADAPTER.is_of(request_for(**changes), only(**listed))
    assert not ADAPTER.is_surely_of(request_for(**changes), only(**listed))


def test_a_format_that_was_left_to_the_provider_tells_nothing_apart() -> None:
    spare = {name: PARAMS[name] for name in ("voice_id", "text")}
    request = request_to("elevenlabs", "v1/text-to-speech/{voice_id}", version="eleven_multilingual_v2", params=spare)

    assert ADAPTER.is_surely_of(request, only())


def test_a_text_is_the_same_in_every_form_of_unicode() -> None:
    assert ADAPTER.is_surely_of(request_for(text="cafe\u0301"), only(text="caf\u00e9"))


@pytest.mark.parametrize(
    ("endpoint", "params", "is_listed"),
    [
        (ENDPOINT, {}, True),
        ("/v1/text-to-speech/{voice_id}/with-timestamps", {}, True),
        ("v1/text-to-speech/{voice_id}?enable_logging=true", {}, True),
        ("v1/text-to-speech/{voice_id}?enable_logging=false", {}, False),
        ("v1/text-to-speech/{voice_id}?enable_logging={log}", {"log": False}, False),
        ("v1/sound-generation", {}, False),
        ("v1/music", {}, False),
        ("v1/text-to-dialogue", {}, False),
    ],
)
def test_only_logged_speech_is_ever_in_the_history(
    endpoint: str,
    params: dict[str, Any],
    is_listed: bool,  # noqa: FBT001
) -> None:
    """For all else its silence proves nothing."""
    assert ADAPTER.lists(request_for(endpoint, **params)) is is_listed


# Going on with what was found


def test_a_found_voice_is_asked_about_and_one_that_was_not_found_is_not() -> None:
    call = ADAPTER.status_call(FOUND)

    assert call is not None
    assert (call.method, call.url, call.with_key) == ("GET", ITEM_URL, True)
    assert ADAPTER.status_call(Prediction(id="req_1", state=State.UNKNOWN)) is None


def test_a_found_voice_is_downloaded_from_the_history_with_the_key() -> None:
    stood = stands()

    assert stood == replace(
        FOUND,
        state=State.SUCCEEDED,
        remote_state="created",
        outputs=(Output(url=f"{ITEM_URL}/audio"),),
        reported={"character_cost": Decimal(42)},
    )
    assert ADAPTER.sends_key_with_downloads


@pytest.mark.parametrize(
    ("base", "hosts"),
    [
        (BASE, ("api.elevenlabs.io",)),
        ("https://api.us.elevenlabs.io/", ("api.us.elevenlabs.io",)),
        ("https://gateway.example:8443/eleven", ("gateway.example",)),
        ("http://127.0.0.1:9/elevenlabs", ()),
        ("https://127.0.0.1:9/elevenlabs", ()),
        ("https://[::1]/elevenlabs", ()),
    ],
)
def test_a_voice_is_downloaded_where_elevenlabs_is_asked(base: str, hosts: tuple[str, ...]) -> None:
    """Loopback is allowed by itself."""
    assert ElevenLabsAdapter(base).download_hosts == hosts


@pytest.mark.parametrize(
    ("word", "state"), [("processing", State.RUNNING), ("hibernating", State.UNKNOWN), ("created", State.SUCCEEDED)]
)
def test_how_an_item_stands(word: str, state: State) -> None:
    stood = stands(state=word)

    assert (stood.state, bool(stood.outputs), stood.failure) == (state, state is State.SUCCEEDED, None)
    assert stood.urls == FOUND.urls


def test_a_deleted_item_is_paid_and_lost() -> None:
    stood = stands(state="deleted")

    assert isinstance(stood.failure, OutputLostError)
    assert (stood.state, stood.failure.billed, stood.failure.prediction_id) == (State.FAILED, Billed.YES, FOUND.id)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff\xfb", b"{}", b'{"history_item_id": "a"}', b'{"history_item_id": "a", "state": "x"}']
)
def test_an_item_that_cannot_be_read_is_asked_about_again(body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        ADAPTER.parse(HttpReply(status=200, headers={}, body=body), Asked.STATUS, FOUND)

    assert (caught.value.prediction_id, caught.value.billed, caught.value.rerun) == (
        FOUND.id,
        Billed.UNKNOWN,
        Rerun.RESUME,
    )


@pytest.mark.parametrize("known", [FOUND, None], ids=["status", "list"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, elevenlabs_error("invalid_api_key"), KeyRejectedError),
        (401, {"detail": {"status": "quota_exceeded", "message": "no"}}, InsufficientCreditError),
        (404, elevenlabs_error("history_item_not_found"), UnexpectedResponseError),
        (422, {"detail": [{"loc": ["query", "page_size"], "msg": "no", "type": "x"}]}, UnexpectedResponseError),
        (429, elevenlabs_error("rate_limit_exceeded"), RateLimitedError),
        (500, b"", ProviderUnavailableError),
        (503, b"<html>", ProviderUnavailableError),
    ],
)
def test_a_refused_question_says_nothing_of_what_was_bought(
    known: Prediction | None, status: int, body: Any, kind: type[PurchaseError]
) -> None:
    error = ADAPTER.parse_error(reply_of(body, status), Asked.STATUS if known else Asked.LIST, known)

    assert type(error) is kind
    assert error.billed is (Billed.UNKNOWN if known else Billed.NO)
    assert error.prediction_id == (known.id if known else None)
    is_key = issubclass(kind, KeyRejectedError | InsufficientCreditError)
    assert error.rerun is (Rerun.NEVER if is_key and known is None else Rerun.RESUME)
    assert error.message.isprintable()


def test_a_rate_limit_says_how_long_to_wait() -> None:
    error = ADAPTER.parse_error(reply_of({}, 429, retry_after="7"), Asked.LIST)

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 7


# The bill


def test_the_history_counts_characters_and_no_money() -> None:
    call = ADAPTER.bill_call(since=SINCE, until=UNTIL, page=None)
    page = ADAPTER.parse_bill(
        reply_of({"history": [HISTORY_ITEM, {**HISTORY_ITEM, "character_count_change_to": None}], "has_more": False})
    )

    assert call is not None
    assert call.url.startswith(f"{BASE}/v1/history?")
    assert page.items == (
        BillLine(
            prediction_id="BF0BZg4IwLGBlaVjv9Im",
            endpoint="v1/text-to-speech",
            at=datetime(2024, 5, 2, 11, 45, 6, tzinfo=UTC),
            units=Decimal(42),
            unit="character",
        ),
    )
    assert page.unreadable == ("ja9xsmfGhxYcymxGcOGB: its counts of characters are no numbers",)
