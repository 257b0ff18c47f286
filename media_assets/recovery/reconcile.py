"""Whether the provider's own bill agrees with the ledger, prediction by prediction.

What a provider tells of its charges differs: fal tells dollars, ElevenLabs the characters it counted, Replicate the
seconds it computed; those two are reckoned with our prices, so that what is compared is the use, and not the price.
OpenAI tells nothing of single predictions. Free; nothing is changed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from media_assets.catalog import Catalog
from media_assets.errors import ConfigurationError
from media_assets.ledger import Ledger
from media_assets.ledger.bills import Bought
from media_assets.ledger.rows import PurchaseRow
from media_assets.prediction import State
from media_assets.pricing import cost, from_micro_usd
from media_assets.providers.listing import BillLine, Listed
from media_assets.providers.transport import Transport
from media_assets.threads import in_thread

TOLERANCE = Decimal("0.01")
"""The part by which the totals may differ."""
_CHARACTERS = "character_cost"
"""What ElevenLabs calls the characters it counts, and we after it."""
_MARGIN = timedelta(hours=1)
"""A provider may date a prediction so much earlier or later than we sent it."""


class Basis(StrEnum):
    """What is compared."""

    MONEY = "money"
    """What the provider charged, in USD."""
    USAGE = "usage"
    """What the provider says was used, at our prices."""
    NOTHING = "nothing"
    """It tells nothing of single predictions."""


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One prediction on a bill."""

    prediction_id: str
    other_ids: tuple[str, ...] = ()
    endpoint: str
    at: datetime | None
    usd: Decimal | None = None
    """None: only its use is told."""
    used: Mapping[str, Decimal] = field(default_factory=dict)
    """In the provider's own units, as in ``Prediction.reported``."""
    state: State = State.SUCCEEDED
    by_hand: bool = False
    """Whether it was made on the provider's own site."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id it may be known by."""
        return (self.prediction_id, *self.other_ids)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A purchase, and what the bill says of it."""

    row: PurchaseRow
    prediction_ids: tuple[str, ...]
    """On the bill; none: it is not there."""
    billed_usd: Decimal | None
    """None: it cannot be compared."""
    why_not: str = ""
    """Why it cannot be compared."""

    @property
    def ledger_usd(self) -> Decimal:
        """What it cost by the ledger."""
        return from_micro_usd(self.row.cost_micro_usd or 0)

    @property
    def difference_usd(self) -> Decimal | None:
        """By how much the bill is above the ledger; None where that is not known."""
        return None if self.billed_usd is None else self.billed_usd - self.ledger_usd


@dataclass(kw_only=True)
class Reconciled:
    """How one provider's bill and the ledger agree."""

    provider: str
    basis: Basis
    shared: bool = False
    """Whether others use the account, so that what no purchase claims says nothing."""
    claimed: list[Claimed] = field(default_factory=list)
    """On the bill and in the ledger."""
    unbilled: list[Claimed] = field(default_factory=list)
    """In the ledger, with a cost, and not on the bill."""
    unclaimed: list[Charge] = field(default_factory=list)
    """On the bill, and of no purchase, though the ledger asks the same models: somebody else's, or lost."""
    others: list[Charge] = field(default_factory=list)
    """On the bill, and of nothing that the ledger ever asked for: surely somebody else's."""
    unreadable: tuple[str, ...] = ()
    """What of the bill could not be read."""

    @property
    def ledger_usd(self) -> Decimal:
        """What everything cost that can be compared, by the ledger."""
        return sum((one.ledger_usd for one in self._compared()), Decimal(0))

    @property
    def billed_usd(self) -> Decimal:
        """What it came to by the bill, with what no purchase claims."""
        ours = sum((one.billed_usd or Decimal(0) for one in self._compared()), Decimal(0))
        unclaimed = () if self.shared else self.unclaimed
        return ours + sum((one.usd or Decimal(0) for one in unclaimed), Decimal(0))

    @property
    def agrees(self) -> bool | None:
        """Whether the totals are as good as equal, and nothing is missing; None where there is no bill."""
        if self.basis is Basis.NOTHING:
            return None
        most = max(self.ledger_usd, self.billed_usd)
        is_near = abs(self.billed_usd - self.ledger_usd) <= most * TOLERANCE
        # Of what a bill tells no money of, nobody knows that it is little.
        is_known = self.shared or all(one.usd is not None for one in self.unclaimed)
        return is_near and is_known and not self.unreadable

    def _compared(self) -> Iterator[Claimed]:
        yield from (one for one in (*self.claimed, *self.unbilled) if one.billed_usd is not None)


@dataclass(frozen=True, kw_only=True)
class Reconciling:
    """Compares, with one ledger and one transport."""

    ledger: Ledger
    catalog: Catalog
    transport: Transport
    now: datetime
    """Aware, in UTC."""

    async def reconcile(self, provider: str, *, since: datetime, shared: bool = False) -> Reconciled:
        """Compare a provider's bill from ``since`` on with the ledger. Free.

        Args:
            provider: Which.
            since: Aware.
            shared: Whether others use the account too.

        Raises:
            KeyRejectedError: The key may not read the bill (fal wants an admin's).
            ProviderUnavailableError: It was not answered, though asked again for a while.
            PurchaseError: As ``Transport.read_bill``, for all else.
        """
        basis, charges, unreadable = await self._bill(provider, since - _MARGIN)
        done = Reconciled(provider=provider, basis=basis, shared=shared, unreadable=unreadable)
        await in_thread(self._compare, done, charges, since)
        return done

    async def _bill(self, provider: str, since: datetime) -> tuple[Basis, list[Charge], tuple[str, ...]]:
        until = self.now + _MARGIN
        adapter = self.transport.adapter(provider)
        if adapter.bills_money:
            bill = await self.transport.read_bill(provider, since=since, until=until)
            return Basis.MONEY, list(map(_of_line, bill.items)), bill.unreadable
        if adapter.list_lag_s is None or adapter.list_endpoints_max is not None:
            return Basis.NOTHING, [], ()
        listing = await self.transport.list_predictions(provider, endpoints=[], since=since, until=until)
        return Basis.USAGE, [_of_listed(one) for one in listing.items if _may_cost(one)], listing.unreadable

    def _compare(self, done: Reconciled, charges: list[Charge], since: datetime) -> None:
        bills, provider = self.ledger.bills, done.provider
        claimants = bills.claimants(provider, {one for charge in charges for one in charge.ids})
        of_purchase: dict[str, list[Charge]] = {}
        endpoints = bills.endpoints(provider)
        for charge in charges:
            key = next((claimants[one] for one in charge.ids if one in claimants), None)
            if key is not None:
                of_purchase.setdefault(key, []).append(charge)
            elif charge.at is None or since <= charge.at <= self.now:
                may_be_ours = not charge.by_hand and any(_is_under(one, charge.endpoint) for one in endpoints)
                (done.unclaimed if may_be_ours else done.others).append(charge)
        keys = {*of_purchase, *bills.submitted_between(provider, since, self.now)}
        for key, one in sorted(bills.bought(keys).items()):
            self._place(done, one, of_purchase.get(key, []), since)

    def _place(self, done: Reconciled, one: Bought, charges: list[Charge], since: datetime) -> None:
        why_not = self._why_not(done, one, charges, since)
        billed = None
        if not why_not:
            billed = self._billed_usd(one.row, charges)
            why_not = "" if billed is not None else "the bill does not say how much was used"
        ids = tuple(charge.prediction_id for charge in charges)
        claimed = Claimed(row=one.row, prediction_ids=ids, billed_usd=billed, why_not=why_not)
        if charges:
            done.claimed.append(claimed)
        elif one.row.cost_micro_usd:
            done.unbilled.append(claimed)

    def _why_not(self, done: Reconciled, one: Bought, charges: list[Charge], since: datetime) -> str:
        """Return why a purchase cannot be compared; empty where it can."""
        adapter = self.transport.adapter(done.provider)
        if done.basis is Basis.NOTHING:
            return "the provider tells nothing of single predictions"
        if one.row.cost_micro_usd is None or one.row.state.is_open:
            return "it is not settled yet"
        if one.first_intent_at < since:
            return "it was begun before the time that is compared"
        if not charges and not adapter.lists(one.row.request()):
            return "the provider keeps no list of such work"
        age_s = (self.now - datetime.fromisoformat(one.row.updated_at)).total_seconds()
        if not charges and age_s < (adapter.list_lag_s or 0):
            return "it may not be on the bill yet"
        return ""

    def _billed_usd(self, row: PurchaseRow, charges: list[Charge]) -> Decimal | None:
        amounts = [at_our_price(self.catalog, row, charge, today=self.now.date()) for charge in charges]
        return None if None in amounts else sum((one for one in amounts if one is not None), Decimal(0))


def at_our_price(catalog: Catalog, row: PurchaseRow, charge: Charge, *, today: date) -> Decimal | None:
    """Return what a prediction was charged: the bill's own USD, else what was used, at the price of its purchase.

    None where that cannot be told. ``today`` decides the price where none is recorded.
    """
    if charge.usd is not None:
        return charge.usd
    try:
        spec = catalog.get(row.model)
        day = date.fromisoformat(row.price_from) if row.price_from else today
        usd = cost(spec, row.request(), reported=charge.used, today=day).usd
    except ConfigurationError:  # the catalog does not know the model, or its price, any more
        return None
    if spec.paid_by_time:
        return usd if "compute_s" in charge.used else None
    if charge.state is not State.SUCCEEDED:
        return Decimal(0) if charge.state is State.FAILED and not spec.billed_failed else None
    counted, own = charge.used.get(_CHARACTERS), row.reported.get(_CHARACTERS)
    # What a character counts as is the provider's to say; that it is as many as it told us is what is looked at.
    return usd * counted / Decimal(own) if counted is not None and own and Decimal(own) else usd


def _is_under(asked: str, endpoint: str) -> bool:
    """Whether what the catalog asks can be what a bill calls so; a bill may leave out what comes after a slash."""
    return asked == endpoint or asked.startswith(f"{endpoint}/") or not endpoint


def _of_line(line: BillLine) -> Charge:
    return Charge(prediction_id=line.prediction_id, endpoint=line.endpoint, at=line.at, usd=line.usd)


def _may_cost(one: Listed) -> bool:
    """Whether a listed prediction has ended in a way that may cost money."""
    return one.ended and (one.prediction.state is State.SUCCEEDED or bool(one.prediction.reported.get("compute_s")))


def _of_listed(one: Listed) -> Charge:
    return Charge(
        prediction_id=one.prediction.id,
        other_ids=one.other_ids,
        endpoint=one.endpoint,
        at=one.created_at,
        used=one.prediction.reported,
        state=one.prediction.state,
        by_hand=one.source == "web",
    )
