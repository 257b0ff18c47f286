"""Alerts: what a webhook is sent, how often, and that nobody learns its address."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from media_assets.alerts import Alert, AlertForm, send_alert, webhook_problem
from media_assets.errors import ConfigurationError, ProviderUnavailableError, Rerun
from media_assets_tests.providers.transport.raw_server import Connection, RawServer

_SECRET = "CANARY-hook-5512"  # noqa: S105 - not one
_ALERT = Alert(
    kind="run_failed",
    title="the run of films has failed",
    text="<b>no</b> & nothing",
    at=datetime(2026, 11, 23, 6, 30, tzinfo=UTC),
    fields={"prompt": "barn"},
)


def _send(server: RawServer, form: AlertForm = AlertForm.JSON) -> dict[str, Any]:
    asyncio.run(send_alert(_ALERT, f"{server.url}/hooks/{_SECRET}", form))
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", f"/hooks/{_SECRET}")
    assert request.headers["content-type"] == "application/json"
    return dict(json.loads(request.body))


def _ok(connection: Connection) -> None:
    connection.read_request()
    connection.reply(b"ok")


def test_the_general_form_is_flat_and_dated() -> None:
    with RawServer(_ok) as server:
        assert _send(server) == {
            "kind": "run_failed",
            "title": "the run of films has failed",
            "text": "<b>no</b> & nothing",
            "fields": {"prompt": "barn"},
            "at": "2026-11-23T06:30:00+00:00",
        }


def test_slack_gets_text_in_which_nothing_is_markup() -> None:
    """A prompt must not call everybody in the channel."""
    with RawServer(_ok) as server:
        assert _send(server, AlertForm.SLACK) == {
            "text": "*the run of films has failed*\n&lt;b&gt;no&lt;/b&gt; &amp; nothing\n• prompt: barn"
        }


def test_what_may_have_arrived_is_not_sent_again() -> None:
    def drop(connection: Connection) -> None:
        connection.read_request()

    with RawServer(drop) as server:
        with pytest.raises(ProviderUnavailableError, match="may have arrived") as caught:
            _send(server)

        assert len(server.requests) == 1
    assert _SECRET not in str(caught.value)
    assert caught.value.rerun is Rerun.ASK


def test_white_space_around_an_address_is_no_part_of_it() -> None:
    """A file ends with a line break."""
    with RawServer(_ok) as server:
        asyncio.run(send_alert(_ALERT, f" {server.url}/hook\n", AlertForm.JSON))

        assert [request.path for request in server.requests] == ["/hook"]


def test_a_webhook_that_cannot_be_reached_is_told_without_its_address() -> None:
    with pytest.raises(ProviderUnavailableError, match="the alert was not sent") as caught:
        asyncio.run(send_alert(_ALERT, f"http://127.0.0.1:9/hooks/{_SECRET}", AlertForm.JSON))

    assert _SECRET not in str(caught.value)


def test_a_webhook_that_refuses_is_a_setting_to_mend() -> None:
    def refuse(connection: Connection) -> None:
        connection.read_request()
        connection.reply(b"no_service", status="404 Not Found")

    with RawServer(refuse) as server:
        with pytest.raises(ConfigurationError, match="status 404; see MEDIA_ASSETS_ALERT_URL") as caught:
            _send(server)

        assert len(server.requests) == 1
    assert _SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://hooks.example/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://hooks.example/x", False),
        ("ftp://hooks.example/x", False),
        ("https://me:secret@hooks.example/x", False),
        ("https:///x", False),
        ("https://[::1/x", False),
        ("https://hooks.example:8443/x", True),
        ("https://h\u00f6ks.example/x", True),
        ("https://[2001:db8::1]/x", True),
        (" https://hooks.example/x\n", True),
        ("nonsense", False),
        ("https://ho st/x", False),
        ("https://hooks.example/a b", False),
        ("https://h/\x00", False),
        ("https://hooks.exa\nmple/x", False),
        ("https://hooks..example/x", False),
        ("https://ho<st/x", False),
        ("https://hooks.example:0/x", False),
        ("https://hooks.example:99999/x", False),
        ("", False),
    ],
)
def test_an_address_must_be_safe(url: str, *, is_good: bool) -> None:
    problem = webhook_problem(url)

    assert (problem is None) == is_good
    if url and not is_good:
        assert url not in str(problem)
        with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_ALERT_URL"):
            asyncio.run(send_alert(_ALERT, url, AlertForm.JSON))
