"""fal's platform API: the requests of an account and what each cost, apart from the queue.

From fal's OpenAPI document of the platform of 2026-08-21. What it leaves open is read to the side that cannot hide a
request: which of its times the range of the list is of (so no end is asked for: it may be of the end of the run), and
whether requests are listed before they have ended (so none of it is relied on).
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from media_assets.prediction import Prediction, State
from media_assets.providers.base import Asked, HttpCall, HttpReply
from media_assets.providers.fal_errors import FalErrors
from media_assets.providers.list_reading import (
    UnreadableEntryError,
    moment_of,
    page_of,
    second_after,
    second_before,
    stamp_of,
    wanted_text,
)
from media_assets.providers.listing import BillLine, BillPage, Listed, ListedPage
from media_assets.providers.polled import quantities, quantity_of
from media_assets.providers.refusals import text_of

_PAGE = 100
"""The most that the list gives at once."""
_BILL_PAGE = 1_000
"""Of at most 10,000; so a page stays below a megabyte."""
_LONGEST_CURSOR = 1_000
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
ENDPOINT = re.compile(r"(?!\.+/)[\w.-]+(?:/(?!\.+(?:/|$))[\w.-]+)+", re.ASCII)
"""An app's id with its sub-path."""
_SUFFIXES: Mapping[str, str] = {"status": "/status", "result": "", "cancel": "/cancel"}
NAMESPACES = frozenset({"workflows", "comfy"})
"""What may stand before owner and name."""
_NANO = Decimal("1e-9")


def queue_urls(queue_url: str, endpoint: str, request_id: str) -> dict[str, str]:
    """Return where a request is asked about, as fal's Python client 1.0.3 builds it of endpoint and id.

    The reply to a submit says it itself, and is to be followed; this is for a request whose reply was lost.

    Raises:
        UnreadableEntryError: They make no such address.
    """
    steps = endpoint.split("/")
    length = 3 if steps[0] in NAMESPACES else 2
    if not ENDPOINT.fullmatch(endpoint) or len(steps) < length or not REQUEST_ID.fullmatch(request_id):
        message = "its endpoint and id make no address to ask at"
        raise UnreadableEntryError(message)
    root = "/".join((queue_url, *steps[:length], "requests", quote(request_id, safe="")))
    return {name: root + suffix for name, suffix in _SUFFIXES.items()}


class FalPlatform(FalErrors):
    """The half of the adapter that reads lists and bills."""

    # Sorted by the end of the run, in a field that may be null: whether running ones are shown is not said.
    lists_running = False
    # How late a request is listed is not said; 15 minutes after its end is our assumption (2026-11-22).
    list_lag_s = 900.0
    # Inputs and outputs are kept for 30 days (fal's documentation, 2026); the list itself looks 90 days back.
    list_window_s = 30 * 86_400.0
    list_endpoints_max = 50
    bills_money = True

    @abstractmethod
    def platform_urls(self) -> tuple[str, str]:
        """Return where the platform's API is, and where the queue is."""

    def list_call(
        self, *, endpoints: Sequence[str], since: datetime, until: datetime, page: str | None
    ) -> HttpCall | None:
        """Return the call that lists requests of 1 to 50 endpoints with their inputs; free. None without an endpoint.

        Everything since then is asked for: a request that was sent before ``until`` may end long after it.
        """
        del until
        if not endpoints:
            return None
        query = [("endpoint_id", endpoint) for endpoint in endpoints]
        query += [("start", stamp_of(second_before(since))), ("expand", "payloads"), ("limit", str(_PAGE))]
        return self._question("models/requests/by-endpoint", query, page)

    def parse_list(self, reply: HttpReply) -> ListedPage:
        """Read a page. ``created_at`` is when a request was sent to the backend, which may be after its submission."""
        document = self.document(reply, Asked.LIST, None)
        entries = self._entries(document, "items", Asked.LIST)
        return page_of(entries, self._listed, id_field="request_id", next_page=lambda: _next_of(document))

    def bill_call(
        self, *, since: datetime, until: datetime, page: str | None, endpoints: Sequence[str] = ()
    ) -> HttpCall | None:
        """Return the call that reads the charges of a range of at most 90 days; free.

        **It needs an admin key**: with another, fal refuses it (the document of 2026-08-21 says so of this call alone).
        """
        query = [("endpoint_id", endpoint) for endpoint in endpoints]
        query += [("start", stamp_of(second_before(since))), ("end", stamp_of(second_after(until)))]
        return self._question("models/billing-events", [*query, ("limit", str(_BILL_PAGE))], page)

    def parse_bill(self, reply: HttpReply) -> BillPage:
        document = self.document(reply, Asked.BILL, None)
        entries = self._entries(document, "billing_events", Asked.BILL)
        return page_of(entries, _bill_line, id_field="request_id", next_page=lambda: _next_of(document))

    def _question(self, path: str, query: list[tuple[str, str]], page: str | None) -> HttpCall:
        asked = urlencode([*query, *([("cursor", page)] if page else [])])
        return HttpCall(method="GET", url=f"{self.platform_urls()[0]}/{path}?{asked}")

    def _entries(self, document: Mapping[str, Any], name: str, asked: Asked) -> list[Any]:
        entries = document.get(name)
        if isinstance(entries, list):
            return entries
        raise self.unexpected(asked, f"its {name} are {type(entries).__name__}, not a list", None)

    def _listed(self, entry: Mapping[str, Any]) -> Listed:
        found, endpoint = wanted_text(entry, "request_id"), wanted_text(entry, "endpoint_id")
        urls = queue_urls(self.platform_urls()[1], endpoint, found)
        status, given = entry.get("status_code"), entry.get("json_input")
        ended = entry.get("ended_at") is not None or status is not None
        return Listed(
            prediction=Prediction(
                id=found,
                state=_state_of(status) if ended else State.RUNNING,
                remote_state="COMPLETED" if ended else "",
                urls=urls,
                reported=quantities(total_s=entry.get("duration")),
            ),
            created_at=moment_of(entry.get("sent_at")),
            endpoint=endpoint,
            input=given if isinstance(given, Mapping) and given else None,
            ended=ended,
        )


def _next_of(document: Mapping[str, Any]) -> str | None:
    """Return the cursor of the next page; the field beside it says for sure only that there is none."""
    cursor, more = document.get("next_cursor"), document.get("has_more")
    if more is False or (not more and (cursor is None or cursor == "")):
        return None
    if isinstance(cursor, str) and 0 < len(cursor) <= _LONGEST_CURSOR and cursor.isascii() and cursor.isprintable():
        return cursor
    message = "it says that there is more, and not how to ask for it"
    raise UnreadableEntryError(message)


def _state_of(status: Any) -> State:
    if not isinstance(status, int) or isinstance(status, bool):
        return State.UNKNOWN
    return State.SUCCEEDED if 200 <= status < 300 else State.FAILED  # noqa: PLR2004 - what HTTP calls success


def _bill_line(entry: Mapping[str, Any]) -> BillLine:
    nano, total = quantity_of(entry.get("cost_estimate_nano_usd")), quantity_of(entry.get("cost_total"))
    # The same charge twice; the one in nano USD has no fraction that a float could bend.
    usd = nano * _NANO if nano is not None else total
    if usd is None:
        message = "its cost is no amount"
        raise UnreadableEntryError(message)
    return BillLine(
        prediction_id=wanted_text(entry, "request_id"),
        endpoint=text_of(entry.get("endpoint_id")),
        at=moment_of(entry.get("timestamp")),
        usd=usd,
        units=quantity_of(entry.get("output_units")),
        unit="billing unit of the endpoint",
    )
