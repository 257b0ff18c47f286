"""Outputs inside replies: as large as a paid model can make them, and what becomes of one that is larger still."""

import base64
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import Billed, OutputLostError, Rerun
from media_assets.ledger.rows import PurchaseState
from media_assets.providers import outputs
from media_assets.providers.base import MOST_REPLY_BYTES
from media_assets.simulator.media import picture, speech
from media_assets_tests.conformance.our_requests import PICTURE_PX, SCRIPT
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.scripted import ID, Answer, fal_queue, scripted
from media_assets_tests.providers.transport.raw_server import Connection, Received
from media_assets_tests.simulated import hurried

_CATALOG = load_catalog()
_ANOTHER = 70_000_000
"""Characters of base64: another picture of 52 MB in the same reply."""


def _at_once(connection: Connection, _request: Received) -> None:
    """Answer as gpt-image-2 does to ``n`` = 2."""
    first = base64.b64encode(picture(PICTURE_PX, seed=1))
    connection.reply(b'{"data":[{"b64_json":"%b"},{"b64_json":"%b"}]}' % (first, b"A" * _ANOTHER))


def _in_hex(connection: Connection, _request: Received) -> None:
    sound = speech(SCRIPT, 4.0, "flac").hex().encode()
    connection.reply(b'{"audio":"%b","padding":"%b"}' % (sound, b"0" * _ANOTHER))


def _too_large(connection: Connection, _request: Received) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: req_7\r\nContent-Length: %d\r\n\r\n{" % (MOST_REPLY_BYTES + 1))
    connection.wait_for_end()


@pytest.mark.parametrize(
    ("model", "answer"),
    [("openai:gpt-image-2", _at_once), ("fal:minimax-speech-2.6", fal_queue(_in_hex))],
)
def test_a_large_output_in_a_reply_is_taken(tmp_path: Path, model: str, answer: Answer) -> None:
    """Six pictures of 4K, or minutes of sound without loss, are more than a page of text, and they are paid for."""
    with scripted(tmp_path, answer) as provider:
        one = provider.buy(_CATALOG.get(model))

    assert one.error is None
    assert one.row.state is PurchaseState.SUCCEEDED


def test_a_paid_reply_that_has_begun_to_come_has_a_download_s_time(tmp_path: Path) -> None:
    """It would be given up in the middle of its bytes, on a line that is slower than the model."""

    def slowly(connection: Connection, _request: Received) -> None:
        body = b'{"data":[{"b64_json":"%b"}]}' % base64.b64encode(picture(PICTURE_PX, seed=1))
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.wait(0.6)
        connection.send(body)

    with scripted(tmp_path, slowly) as provider:
        impatient = hurried("openai:gpt-image-2", post_deadline_s=0.3)
        one = provider.buy(impatient)
        late = provider.buy(impatient.model_copy(update={"download_deadline_s": 0.3}), take=1)

    assert one.row.state is PurchaseState.SUCCEEDED
    assert late.row.state is PurchaseState.UNKNOWN
    assert "its body did not come within 0.3 s" in str(late.error)


@pytest.mark.parametrize(
    ("model", "answer", "named"),
    [
        ("openai:gpt-image-2", _too_large, "req_7"),
        ("fal:minimax-speech-2.6", fal_queue(_too_large), ID),
    ],
)
def test_an_output_that_is_too_large_is_paid_and_lost(tmp_path: Path, model: str, answer: Answer, named: str) -> None:
    """Nothing is unknown of it: a person must hear that it is paid for, and under which name to ask for it."""
    spec = _CATALOG.get(model)
    with scripted(tmp_path, answer) as provider:
        one = provider.buy(spec)
        again = provider.buy(spec)

    assert isinstance(one.error, OutputLostError)
    assert str(MOST_REPLY_BYTES) in str(one.error)
    assert (one.error.billed, one.error.rerun, one.error.prediction_id) == (Billed.YES, Rerun.ASK, named)
    assert (one.row.state, one.row.prediction_id) == (PurchaseState.LOST_OUTPUT, named)
    assert one.row.cost_micro_usd == one.row.estimate_micro_usd > 0, "its worst case: what was used is in the reply"
    assert (one.posts, one.outcomes, one.attempts[0]["http_status"] or 200) == (1, ["accepted"], 200)
    assert reserved_micro_usd(tmp_path) == 0
    assert isinstance(again.error, OutputLostError)
    assert again.posts == 0


def test_no_output_is_refused_that_came_with_a_reply() -> None:
    """Two limits that disagree would throw away what is in our hands."""
    assert outputs.MAX_INLINE_BYTES >= MOST_REPLY_BYTES >= 512_000_000
