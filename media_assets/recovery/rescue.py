"""Rescue: what a provider has finished, and no purchase of the ledger has, is pulled before it expires.

For accounts that never used this project as well: any model, any number of files, with or without a ledger. Nothing
here submits, cancels or decides; what it pulls is looked at by its first bytes alone (docs/decisions/0006).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from media_assets.catalog import Catalog, ModelSpec, Recovery, load_catalog
from media_assets.errors import (
    ConfigurationError,
    ContentRejectedError,
    DefectError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    UnexpectedResponseError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets.providers.listing import Listed
from media_assets.providers.outputs import every_output_of
from media_assets.providers.registry import KEY_VARIABLES, require_provider
from media_assets.providers.transport import Transport, open_transport
from media_assets.recovery.shelf import Shelf
from media_assets.studio import StudioOptions
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

RESCUED = "rescued"
"""The folder of the home that files are put into."""

_MARGIN = timedelta(hours=1)
"""By which a provider's clock may be ahead of ours."""
_LONGEST_RUN_S = 3_600.0
_LONGEST_AGO = timedelta(days=7)
"""No provider promises to keep an output for longer; a list that goes further back is long."""

_SHOWN_CHARACTERS = 12
"""Of a request key: enough to name it."""

Tell = Callable[[str, str], None]
"""Called with a prediction's id and what is done about it; from the event loop's thread."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One prediction of a provider's list."""

    provider: str
    listed: Listed
    claimed: bool
    """Whether a purchase of this ledger has it."""
    fits: tuple[PurchaseRow, ...] = ()
    """Purchases of unknown outcome that may have become it."""
    adopt_id: str = ""
    """Its id, as ``ledger adopt`` takes it."""

    @property
    def why_not(self) -> str:
        """Why there is nothing to pull; empty where there is."""
        if self.claimed:
            return "the ledger has it"
        if not self.listed.ended:
            return "has not ended yet"
        if self.listed.prediction.state in {State.FAILED, State.CANCELED}:
            return "ended without an output"
        return ""

    def ways_to_adopt(self) -> list[str]:
        """Return, for people, the command for each purchase that it may be."""
        name = self.listed.prediction.id
        return [
            f"{name} may be what became of purchase {row.request_key[:_SHOWN_CHARACTERS]}, whose outcome is unknown. "
            f"If it is: media-assets ledger adopt {row.request_key[:_SHOWN_CHARACTERS]} {self.adopt_id}"
            for row in self.fits
        ]

    def expires_at(self, kept_s: float | None) -> datetime | None:
        """Return until when its output is there at least, counted from its creation; None where nobody says."""
        created = self.listed.created_at
        return None if created is None or kept_s is None else created + timedelta(seconds=kept_s)


@dataclass(frozen=True, kw_only=True)
class Rescued:
    """What became of one prediction."""

    seen: Seen
    files: tuple[Path, ...] = ()
    why: str = ""
    """Why there is no file, or not every one."""
    error: MediaAssetsError | None = None

    @property
    def may_be_had_later(self) -> bool:
        """Whether something is missing that another rescue may bring."""
        ended = (OutputLostError, PredictionFailedError, ContentRejectedError)
        return self.error is not None and not isinstance(self.error, ended)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One provider's list."""

    provider: str
    seen: tuple[Seen, ...] = ()
    unreadable: tuple[str, ...] = ()
    """What was not read, and why: what is looked for may be there."""
    error: MediaAssetsError | None = None
    """Why there is no list at all."""


def providers_to_ask(transport: Transport, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the providers that can be asked what they made, and of the others that have a key why they cannot.

    Args:
        transport: Has the keys.
        wanted: Their names; none: all whose key is set.

    Raises:
        ConfigurationError: One that is wanted is unknown, keeps no list or has no usable key; or none has a key.
    """
    for name in wanted:
        require_provider(name)
        if transport.adapter(name).list_lag_s is None:
            message = f"--provider {name}: {_no_list(name)}"
            raise ConfigurationError(message)
    chosen = list(dict.fromkeys(wanted)) or [name for name in KEY_VARIABLES if _has_key(transport, name)]
    for name in chosen:
        if problem := transport.key_problem(name):
            message = f"{name} cannot be asked: {problem}."
            raise ConfigurationError(message)
    if not chosen:
        message = f"no provider can be asked: none of {', '.join(KEY_VARIABLES.values())} is set."
        raise ConfigurationError(message)
    unlisted = [name for name in chosen if transport.adapter(name).list_lag_s is None]
    return [name for name in chosen if name not in unlisted], [_no_list(name) for name in unlisted]


def _no_list(provider: str) -> str:
    return (
        f"{provider} keeps no list of what it made: an output came in the reply to its submission, or it is gone. "
        "Nothing can be rescued there."
    )


def _has_key(transport: Transport, provider: str) -> bool:
    return transport.options.keys.get(provider, "") != ""


class Rescue:
    """Looks through providers' lists and pulls what is there.

    Args:
        transport: Best one that reads every output of a reply (``every_output_of``).
        catalog: Says which endpoints are asked for where a list is by endpoint, and how long a download may take.
        folder: Where files are put; made when the first one comes.
        ledger: None where there is none.
        at_once: Predictions pulled at the same time.
    """

    def __init__(
        self, transport: Transport, catalog: Catalog, folder: Path, *, ledger: Ledger | None, at_once: int = 4
    ) -> None:
        self._transport = transport
        self._catalog = catalog
        self._shelf = Shelf(folder)
        self._ledger = ledger
        self._at_once = asyncio.Semaphore(at_once)

    async def look(self, provider: str, *, since: datetime, until: datetime, endpoints: Sequence[str] = ()) -> Looked:
        """Return what a provider's list shows; its trouble is in the result. Free.

        Args:
            provider: One of :func:`providers_to_ask`.
            since: Aware.
            until: Aware; now.
            endpoints: Further ones than the catalog's, where the list is by endpoint.
        """
        own = [spec.endpoint for spec in self._catalog if spec.provider == provider]
        named = list(dict.fromkeys([*own, *endpoints]))
        try:
            listing = await self._transport.list_predictions(
                provider, endpoints=named, since=since, until=until + _MARGIN
            )
            seen = await in_thread(self._compared, provider, listing.items)
        except Exception as caught:  # noqa: BLE001 - P6: a provider whose list is no good must not end the others
            return Looked(provider=provider, error=_known(caught))
        return Looked(provider=provider, seen=tuple(seen), unreadable=listing.unreadable)

    def _compared(self, provider: str, items: Sequence[Listed]) -> list[Seen]:
        """Compare a list with the ledger; blocking."""
        if self._ledger is None:
            return [Seen(provider=provider, listed=one, claimed=False) for one in items]
        adapter = self._transport.adapter(provider)
        taken = self._ledger.purchases.ids_taken(provider, {name for one in items for name in _names(one)})
        unclear = [row for row in self._unclear(self._ledger) if row.provider == provider]
        found = []
        for one in items:
            claimed = not taken.isdisjoint(_names(one))
            fits = () if claimed else tuple(row for row in unclear if adapter.is_of(row.request(), one))
            known_by = self._adopted_by(fits[0], one) if fits else ""
            found.append(Seen(provider=provider, listed=one, claimed=claimed, fits=fits, adopt_id=known_by))
        return found

    def _unclear(self, ledger: Ledger) -> list[PurchaseRow]:
        """Return the purchases of which nobody knows what they became, and nobody is finding it out; blocking."""
        may_be_sent = {PurchaseState.SUBMITTING, PurchaseState.UNKNOWN}
        rows = (row for row in ledger.purchases.unfinished() if row.state in may_be_sent)
        return [row for row in rows if not ledger.owner.is_alive(row.owner)]

    def _adopted_by(self, row: PurchaseRow, listed: Listed) -> str:
        """Return the id by which a purchase that adopts a prediction asks for it as the list says."""
        adapter, urls = self._transport.adapter(row.provider), dict(listed.prediction.urls)
        known = {name: adapter.known(row.request(), name) for name in _names(listed)}
        own = (name for name, one in known.items() if one is not None and dict(one.urls) == urls)
        return next(own, listed.prediction.id)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Have the folder to ourselves, for :meth:`pull`.

        Raises:
            StorageError: Another rescue is at work there, or it cannot be written.
        """
        with self._shelf.held():
            yield

    async def pull(self, seen: Iterable[Seen], on_end: Callable[[Rescued], None], tell: Tell) -> None:
        """Bring every output of these predictions here, the oldest first; trouble with one stops no other. Free.

        Args:
            seen: What :meth:`look` has found; what says why there is nothing to pull is only told of.
            on_end: Called with each as soon as it is done with.
            tell: Called with what is done.
        """

        async def one(which: Seen) -> None:
            async with self._at_once:
                on_end(await self._pulled(which, tell))

        newest = datetime.max.replace(tzinfo=UTC)
        async with asyncio.TaskGroup() as group:
            for which in sorted(seen, key=lambda which: which.listed.created_at or newest):
                group.create_task(one(which))

    async def pull_candidates(
        self, ledger: Ledger, *, now: datetime, on_end: Callable[[Rescued], None]
    ) -> list[Looked]:
        """Pull what purchases of unknown outcome may have become, before it expires, and nothing else. Free.

        Args:
            ledger: Whose purchases.
            now: Aware.
            on_end: Called with each prediction as soon as it is done with.

        Returns:
            The lists that were looked through: of the providers of those purchases that keep one, and whose key is set.

        Raises:
            StorageError: Another rescue is at work, or the folder cannot be written.
        """
        begun: dict[str, datetime] = {}
        for row in await in_thread(self._unclear, ledger):
            adapter = self._transport.adapter(row.provider)
            if adapter.list_lag_s is None or self._transport.key_problem(row.provider):
                continue
            at = max(datetime.fromisoformat(row.created_at), now - _LONGEST_AGO)
            begun[row.provider] = min(at, begun.get(row.provider, at))
        looks = (self.look(name, since=at - _MARGIN, until=now) for name, at in begun.items())
        looked = await asyncio.gather(*looks)
        if candidates := [seen for one in looked for seen in one.seen if seen.fits]:
            with self.at_work():
                await self.pull(candidates, on_end, _tell_nobody)
        return looked

    async def _pulled(self, seen: Seen, tell: Tell) -> Rescued:
        if seen.why_not:
            return Rescued(seen=seen, why=seen.why_not)
        try:
            return await self._pull(seen, tell)
        except Exception as caught:  # noqa: BLE001 - P6: our own bug with one prediction must not end the others
            error = _known(caught)
            return Rescued(seen=seen, why=error.message, error=error)

    async def _pull(self, seen: Seen, tell: Tell) -> Rescued:
        known = seen.listed.prediction
        there = await in_thread(self._shelf.files_of, seen.provider, known.id)
        if there.complete:
            return Rescued(seen=seen, files=there.paths)
        tell(known.id, "asks for it")
        spec = self._spec(seen)
        prediction = await self._transport.ask_once(seen.listed.to_follow(), spec)
        outputs = len(_with_outputs(prediction, seen.provider).outputs)
        errors = []
        for n in range(outputs):
            if n in there.by_number:
                continue
            tell(known.id, f"fetches {n + 1} of {outputs}")
            try:
                with self._shelf.scratch(known.id) as scratch:
                    path = await self._transport.fetch(prediction, spec, scratch, n=n)
                    await in_thread(self._shelf.put, known.id, path, n=n, of=outputs, record=there)
            except MediaAssetsError as error:
                errors.append(error)
        there.complete = not errors
        await in_thread(self._shelf.write_record, seen.provider, seen.listed, there, reported=prediction.reported)
        worst = next((error for error in errors if not isinstance(error, OutputLostError)), next(iter(errors), None))
        why = "; ".join(dict.fromkeys(error.message for error in errors))
        return Rescued(seen=seen, files=there.paths, why=why, error=worst)

    def _spec(self, seen: Seen) -> ModelSpec:
        """Return the entry of a prediction's model; of one that the catalog has not, one that says how long to wait."""
        endpoint = seen.listed.endpoint
        known = (spec for spec in self._catalog if (spec.provider, spec.endpoint) == (seen.provider, endpoint))
        return next(known, None) or ModelSpec(
            id=f"{seen.provider}:not-in-the-catalog",
            title=endpoint,
            step=Step.IMAGE,
            endpoint=endpoint,
            version=seen.listed.version or "",
            recovery=Recovery.LISTED,
            run_deadline_s=_LONGEST_RUN_S,
            roles={},
            source="the provider's list",
            checked=date.min,
        )


def _tell_nobody(prediction_id: str, what: str) -> None:
    del prediction_id, what


@contextlib.contextmanager
def open_rescue(home: Path, options: StudioOptions, *, ledger: Ledger | None) -> Iterator[Rescue]:
    """Open what pulls files into a home, with what a studio there is opened with.

    Raises:
        ConfigurationError: A model file cannot be used.
    """
    transport = open_transport(options.endpoints, options.transport, outputs_in=every_output_of)
    with contextlib.closing(transport):
        catalog = load_catalog(options.catalog_folder)
        yield Rescue(transport, catalog, home / RESCUED, ledger=ledger, at_once=options.max_in_flight)


def _known(caught: Exception) -> MediaAssetsError:
    if isinstance(caught, MediaAssetsError):
        return caught
    _log.error("a rescue met a defect", exc_info=caught)
    return DefectError.of(caught)


def _names(listed: Listed) -> tuple[str, ...]:
    return (listed.prediction.id, *listed.other_ids)


def _with_outputs(prediction: Prediction, provider: str) -> Prediction:
    """Return a prediction that says where its outputs are, or raise why it does not."""
    if prediction.failure is not None:
        raise prediction.failure
    if not prediction.outputs:
        message = f"{provider} shows no file of it just now, though its list says that it has succeeded. Run again."
        raise UnexpectedResponseError(message, provider=provider, prediction_id=prediction.id)
    return prediction
