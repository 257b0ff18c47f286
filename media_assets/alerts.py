"""Alerts: a short message to a webhook of the user's, in a general form or Slack's. Costs nothing.

The address of a webhook is a secret: whoever has it can write to the channel. It is in no message and no log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from media_assets.errors import ConfigurationError, ProviderUnavailableError, Rerun
from media_assets.providers.base import HttpCall
from media_assets.providers.transport.wire import ExchangeLimits, NotSentError, ReplyLostError, exchange

_TRIES = 3
_LIMITS = ExchangeLimits(deadline_s=15.0, max_bytes=100_000)
_LONGEST_TEXT = 2_000
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class AlertForm(StrEnum):
    """What a webhook is sent."""

    JSON = "json"
    """``{"kind", "title", "text", "fields", "at"}``."""
    SLACK = "slack"
    """``{"text"}`` in Slack's markup, which Mattermost and Rocket.Chat read too."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that somebody should look at."""

    kind: str
    """run_failed or budget."""
    title: str
    text: str
    at: datetime
    """Aware UTC."""
    fields: Mapping[str, str] = field(default_factory=dict)

    def body(self, form: AlertForm) -> dict[str, Any]:
        """Return what is sent."""
        text = self.text if len(self.text) <= _LONGEST_TEXT else f"{self.text[: _LONGEST_TEXT - 1]}…"
        if form is AlertForm.JSON:
            at = self.at.isoformat(timespec="seconds")
            return {"kind": self.kind, "title": self.title, "text": text, "fields": dict(self.fields), "at": at}
        lines = [f"*{_for_slack(self.title)}*", _for_slack(text)]
        lines += [f"• {_for_slack(name)}: {_for_slack(value)}" for name, value in self.fields.items()]
        return {"text": "\n".join(lines)}


def _for_slack(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text (2026-11): these three, and nothing else.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def webhook_problem(url: str) -> str | None:
    """Return why an address cannot be a webhook's, if so; it is not in the answer."""
    url = url.strip()
    if not url.isprintable() or " " in url:  # urlsplit drops some of these without a word
        return "it holds a space or a control character"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        is_host = ":" in host or _HOST.fullmatch(host.encode("idna").decode()) is not None
    except ValueError:
        return "it is no address"
    if not is_host or port == 0:
        return "it names no host that there can be, or port 0"
    if parts.username or parts.password:
        return "it names a user"
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK):
        return None
    return "it must begin with https:// (http:// on this machine only)"


def require_webhook(url: str) -> None:
    """Raise where an address cannot be a webhook's.

    Raises:
        ConfigurationError: With the name of the setting, and without the address.
    """
    if problem := webhook_problem(url):
        message = f"MEDIA_ASSETS_ALERT_URL cannot be used: {problem}. No alert is sent."
        raise ConfigurationError(message)


async def send_alert(alert: Alert, url: str, form: AlertForm) -> None:
    """Post an alert. What never left is tried again; what may have arrived is not, so that nobody is told twice.

    Raises:
        ConfigurationError: The address cannot be a webhook's, or it refuses.
        ProviderUnavailableError: It cannot be reached; or, with :attr:`Rerun.ASK`, it does not answer, and to send the
            alert again may tell it twice.
    """
    require_webhook(url)
    url = url.strip()
    host = urlsplit(url).hostname
    call = HttpCall(method="POST", url=url, json_body=alert.body(form), with_key=False)
    for nth in range(1, _TRIES + 1):
        try:
            reply = await exchange(call, headers={}, limits=_LIMITS)
        except NotSentError as error:
            if nth < _TRIES:
                continue
            message = f"the webhook at {host} cannot be reached; the alert was not sent: {alert.title}"
            raise ProviderUnavailableError(message, provider="webhook") from error
        except ReplyLostError as error:
            message = f"the webhook at {host} did not answer; the alert may have arrived: {alert.title}"
            raise ProviderUnavailableError(message, provider="webhook", rerun=Rerun.ASK) from error
        if not reply.is_success:
            message = f"the webhook at {host} answered with status {reply.status}; see MEDIA_ASSETS_ALERT_URL, _FORM."
            raise ConfigurationError(message)
        return
