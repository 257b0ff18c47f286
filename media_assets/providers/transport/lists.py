"""Reading a provider's list or bill to its end, page by page. Free; and no page or entry is lost in silence."""

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from media_assets.errors import Billed, UnexpectedResponseError
from media_assets.providers.base import Adapter, Asked, HttpCall, HttpReply
from media_assets.providers.listing import Bill, Collected, Listing, Page
from media_assets.providers.transport.asking import UnreadableError, ask_until_answered

T = TypeVar("T")

Ask = Callable[[HttpCall, Asked], Awaitable[HttpReply]]
"""Sends a call that costs nothing, again where it is not answered, and returns whatever final answer there is.

Raises ``UnexpectedResponseError`` where a 2xx stays without a JSON object, however often it is asked for.
"""

MOST_PAGES = 50
"""Of one list: 5,000 predictions; whoever has more in the time in question asks for less of it."""


def again(adapter: Adapter, send: Ask, *, budget_s: float, first_wait_s: float) -> Ask:
    """Return what asks until it is answered by the provider, not by a page of something in between.

    Args:
        adapter: The provider's.
        send: Asks once; what may pass it raises.
        budget_s: Seconds for each question after which no other try is begun.
        first_wait_s: Before the second try, at most.
    """

    async def once(call: HttpCall, asked: Asked) -> HttpReply:
        reply = await send(call, asked)
        if reply.is_success and not isinstance(reply.json(), dict):
            message = f"{adapter.name} answered a question for a list with no JSON object; nothing was bought by asking"
            raise UnreadableError(UnexpectedResponseError(message, provider=adapter.name, billed=Billed.NO))
        return reply

    async def ask(call: HttpCall, asked: Asked) -> HttpReply:
        return await ask_until_answered(lambda: once(call, asked), budget_s=budget_s, first_wait_s=first_wait_s)

    return ask


async def read_list(
    adapter: Adapter, ask: Ask, *, endpoints: Sequence[str], since: datetime, until: datetime
) -> Listing:
    """Return what a provider's list shows of what was submitted in a time, and perhaps of other times too. Free.

    Args:
        adapter: The provider's.
        ask: Sends one question.
        endpoints: What was asked, by the catalog's names; a list of the whole account shows others as well.
        since: Aware.
        until: Aware.

    Returns:
        What was read, and whether it is all: ``complete`` is False where the provider keeps no list, an entry or a
        page cannot be read, or there are more than ``MOST_PAGES`` pages. One that is not listed in a complete list
        may still not be listed *yet*: see ``Adapter.list_lag_s`` and ``lists_running``.

    Raises:
        KeyRejectedError: The key may not list.
        ProviderUnavailableError: It was not answered, though asked again for a while.
        RateLimitedError: It was refused for now, though asked again for a while.
        UnexpectedResponseError: It was refused in a way nobody knows.
    """
    reading = _Reading(adapter, ask, Asked.LIST, adapter.parse_list, lambda listed: listed.prediction.id)
    for some in _portions(adapter, endpoints, since, until):
        await reading.read(partial(adapter.list_call, endpoints=some, since=since, until=until))
    return reading.collected()


async def read_bill(
    adapter: Adapter, ask: Ask, *, since: datetime, until: datetime, endpoints: Sequence[str] = ()
) -> Bill:
    """Return what a provider says it charged in a time: fal in USD, ElevenLabs in characters, others nothing. Free.

    Args:
        adapter: The provider's.
        ask: Sends one question.
        since: Aware.
        until: Aware; fal answers for at most 90 days at once.
        endpoints: Only these, where the provider can be asked so; none: all.

    Raises:
        KeyRejectedError: The key may not read it; at fal only an admin's may.
        ProviderUnavailableError: As :func:`read_list`, and the others too.
    """
    reading = _Reading(adapter, ask, Asked.BILL, adapter.parse_bill, lambda line: line)
    for some in _portions(adapter, endpoints, since, until):
        await reading.read(partial(adapter.bill_call, endpoints=some, since=since, until=until))
    return reading.collected()


def _portions(adapter: Adapter, endpoints: Sequence[str], since: datetime, until: datetime) -> Iterator[Sequence[str]]:
    """Yield as many endpoints as one call can name; at least once."""
    if since.tzinfo is None or until.tzinfo is None:
        message = "a list is asked for between two times with a zone"
        raise ValueError(message)
    step = adapter.list_endpoints_max or max(len(endpoints), 1)
    for start in range(0, max(len(endpoints), 1), step):
        yield endpoints[start : start + step]


@dataclass
class _Reading(Generic[T]):
    """What has been read so far."""

    adapter: Adapter
    ask: Ask
    asked: Asked
    parse: Callable[[HttpReply], Page[T]]
    identity: Callable[[T], Hashable]
    items: dict[Hashable, T] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    async def read(self, call_of: Callable[..., HttpCall | None]) -> None:
        """Read one list to its end, or to the page that cannot be read."""
        page: str | None = None
        turned: set[str | None] = set()
        while page not in turned and len(turned) < MOST_PAGES:
            turned.add(page)
            call = call_of(page=page)
            if call is None:
                self.unreadable.append(f"{self.adapter.name} cannot be asked for this: it keeps no such list")
                return
            found = await self._page(call)
            if found is None:
                return
            # A page shifts while another is turned: what has been seen is then seen again, and the later look counts.
            self.items |= {self.identity(one): one for one in found.items}
            self.unreadable += found.unreadable
            page = found.next_page
            if page is None:
                return
        self.unreadable.append(f"{self.adapter.name}'s list goes on after {len(turned)} pages; ask for a shorter time")

    async def _page(self, call: HttpCall) -> Page[T] | None:
        try:
            reply = await self.ask(call, self.asked)
            if reply.is_success:
                return self.parse(reply)
        except UnexpectedResponseError as unreadable:
            self.unreadable.append(unreadable.message)
            return None
        error = self.adapter.parse_error(reply, self.asked)
        error.http_status = reply.status
        raise error

    def collected(self) -> Collected[T]:
        """Return all of it, each thing once."""
        return Collected(
            items=tuple(self.items.values()), complete=not self.unreadable, unreadable=tuple(self.unreadable)
        )
