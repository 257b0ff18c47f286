"""The simulated history: how a voice whose reply was lost is found again, and what can go wrong on the way."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets_tests.simulator.asking import Asking, asking
from media_assets_tests.simulator.elevenlabs_asked import BODY, HISTORY, KEY, SPEAK, TEXT, VOICE, detail_of, problems_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("/elevenlabs", KEY) as one:
        yield one


@pytest.fixture
def elevenlabs(shared: Asking) -> Asking:
    shared.begin()
    return shared


@pytest.fixture
def alone() -> Iterator[Asking]:
    """Return a simulator whose history is empty."""
    with asking("/elevenlabs", KEY) as one:
        yield one


@pytest.mark.parametrize("fault", ["exec_and_drop", "reset_before_headers", "exec_and_truncate"])
def test_a_lost_reply_is_billed_and_can_be_had_from_the_history(alone: Asking, tmp_path: Path, fault: str) -> None:
    """The one synchronous provider where money that was lost with a reply can be found again."""
    alone.fault(fault, times=1)
    with pytest.raises(httpx.TransportError):
        alone.client.post(SPEAK, json=BODY)

    (item,) = alone.client.get(HISTORY, params={"voice_id": VOICE, "search": TEXT}).json()["history"]
    sound = alone.client.get(f"{HISTORY}/{item['history_item_id']}/audio")

    assert (item["text"], item["voice_id"], item["model_id"]) == (TEXT, VOICE, "eleven_multilingual_v2")
    assert item["character_count_change_to"] - item["character_count_change_from"] == len(TEXT)
    assert item["request_id"] == alone.submissions()[0]["id"]
    assert sound.headers["content-type"] == "audio/mpeg"
    assert problems_of(tmp_path, sound.content) == ()
    assert len(alone.billed()) == 1


def test_the_history_has_the_bytes_that_were_sent(elevenlabs: Asking) -> None:
    sent = elevenlabs.client.post(SPEAK, json=BODY)

    (item,) = elevenlabs.client.get(HISTORY, params={"page_size": 1}).json()["history"]

    assert item["request_id"] == sent.headers["request-id"]
    assert elevenlabs.client.get(f"{HISTORY}/{item['history_item_id']}").json() == item
    assert elevenlabs.client.get(f"{HISTORY}/{item['history_item_id']}/audio").content == sent.content


def test_the_history_is_paged_from_the_newest(alone: Asking) -> None:
    for number in range(5):
        alone.client.post(SPEAK, json={"text": f"text {number}"})

    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = alone.client.get(HISTORY, params={"page_size": 2, **after}).json()
        pages.append([item["text"] for item in page["history"]])
        if not page["has_more"]:
            break
        after = {"start_after_history_item_id": page["last_history_item_id"]}

    assert pages == [["text 4", "text 3"], ["text 2", "text 1"], ["text 0"]]


def test_the_history_is_filtered(alone: Asking) -> None:
    other = "EXAVITQu4vr4xnSDxMaL"
    alone.client.post(SPEAK, json={"text": "old"})
    alone.advance(1000)
    alone.client.post(SPEAK, json={"text": "flash", "model_id": "eleven_flash_v2_5"})
    alone.client.post(f"/v1/text-to-speech/{other}", json={"text": "other"})

    def texts(**query: Any) -> list[str]:
        return [item["text"] for item in alone.client.get(HISTORY, params=query).json()["history"]]

    began = alone.client.get(HISTORY).json()["history"][-1]["date_unix"]
    assert texts(sort_direction="asc") == ["old", "flash", "other"]
    assert texts(voice_id=other) == ["other"]
    assert texts(model_id="eleven_flash_v2_5") == ["flash"]
    assert texts(search="OTH") == ["other"]
    assert texts(date_after_unix=began + 1) == ["other", "flash"]
    assert texts(date_before_unix=began + 1) == ["old"]
    assert texts(source="STS") == []
    assert texts(start_after_history_item_id="nothing") == []


def test_a_wrong_question_to_the_history_gets_fastapis_list(elevenlabs: Asking) -> None:
    reply = elevenlabs.client.get(HISTORY, params={"page_size": 1001})

    assert (reply.status_code, detail_of(reply)[0]["loc"]) == (422, ["query", "page_size"])


def test_what_is_not_to_be_logged_is_billed_and_in_no_history(alone: Asking) -> None:
    alone.client.post(SPEAK, params={"enable_logging": "false"}, json=BODY)

    assert alone.client.get(HISTORY).json()["history"] == []
    assert len(alone.billed()) == 1


def test_a_lagging_history_shows_new_work_late(alone: Asking) -> None:
    """Looking once after a lost reply proves nothing: what is not listed may have been made."""
    alone.client.post(SPEAK, json=BODY)
    alone.fault("list_lag", seconds=500)

    before = alone.client.get(HISTORY).json()["history"]
    alone.advance(500)
    after = alone.client.get(HISTORY).json()["history"]

    assert (len(before), len(after)) == (0, 1)


def test_what_is_being_made_is_listed_unless_the_list_hides_it() -> None:
    """Without its sound and its cost, both of which come at the end."""
    with (
        asking("/elevenlabs", KEY, time_scale=1.0, latency_s={"elevenlabs": (60, 60)}) as slow,
        ThreadPoolExecutor(1) as speaker,
    ):
        speaking = speaker.submit(slow.client.post, SPEAK, json=BODY)
        while not slow.submissions():
            time.sleep(0.01)
        (running,) = slow.client.get(HISTORY).json()["history"]
        item = f"{HISTORY}/{running['history_item_id']}"
        silent = slow.client.get(f"{item}/audio")
        slow.fault("list_hides_running", provider="elevenlabs")
        hidden = slow.client.get(HISTORY).json()["history"]
        slow.advance(61)
        assert speaking.result().status_code == 200
        shown = slow.client.get(HISTORY).json()["history"]

        assert (running["state"], running["text"], silent.status_code) == ("processing", TEXT, 404)
        assert running["character_count_change_to"] == running["character_count_change_from"]
        assert hidden == []
        assert [one["state"] for one in shown] == ["created"]
        assert shown[0]["history_item_id"] == running["history_item_id"]
        assert shown[0]["character_count_change_to"] - shown[0]["character_count_change_from"] == len(TEXT)


@pytest.mark.parametrize("fault", ["run_failed", "moderation_after_run"])
def test_what_failed_leaves_nothing_in_the_history(alone: Asking, fault: str) -> None:
    alone.fault(fault)
    alone.client.post(SPEAK, json=BODY)

    assert alone.client.get(HISTORY).json()["history"] == []


def test_an_item_can_be_removed(alone: Asking) -> None:
    alone.client.post(SPEAK, json=BODY)
    item = f"{HISTORY}/{alone.client.get(HISTORY).json()['history'][0]['history_item_id']}"

    assert alone.client.delete(item).json() == {"status": "ok"}
    assert alone.client.get(HISTORY).json()["history"] == []
    for reply in (alone.client.get(item), alone.client.get(f"{item}/audio"), alone.client.delete(item)):
        assert (reply.status_code, detail_of(reply)["code"]) == (404, "history_item_not_found")


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        ("expired", 404, None),
        ("wrong_mime", 200, ("content-type", "text/plain")),
        ("redirect_private", 302, ("location", "http://169.254.169.254/latest/meta-data/")),
        ("html", 200, ("content-type", "text/html; charset=utf-8")),
        ("noexec_503", 503, None),
    ],
)
def test_fetching_from_the_history_can_go_wrong(
    elevenlabs: Asking, fault: str, status: int, header: tuple[str, str] | None
) -> None:
    elevenlabs.client.post(SPEAK, json=BODY)
    (item,) = elevenlabs.client.get(HISTORY, params={"page_size": 1}).json()["history"]
    elevenlabs.fault(fault, call="download", model="eleven_multilingual_v2")

    reply = elevenlabs.client.get(f"{HISTORY}/{item['history_item_id']}/audio")

    assert reply.status_code == status
    assert header is None or reply.headers[header[0]] == header[1]
