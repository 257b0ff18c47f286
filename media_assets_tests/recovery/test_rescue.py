"""Rescue: what strangers' scripts have bought is found and pulled; what cannot be had is said, and stops nothing."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.artifact import sha256_of
from media_assets.catalog import Catalog, Recovery, load_catalog
from media_assets.errors import (
    ConfigurationError,
    DefectError,
    KeyRejectedError,
    OutputLostError,
    StorageError,
    UnexpectedResponseError,
)
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim
from media_assets.providers.outputs import every_output_of
from media_assets.providers.transport import TransportOptions, open_transport
from media_assets.recovery.rescue import Looked, Rescue, Rescued, providers_to_ask
from media_assets.recovery.shelf import Record, Shelf
from media_assets_tests.conformance.our_requests import drafted
from media_assets_tests.recovery.strangers import SDXL, submit
from media_assets_tests.simulated import Market, open_market

PROVIDERS = ("elevenlabs", "fal", "replicate")


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20) as one:
        yield one


class Round:
    """One rescue on a home, from its list to its files."""

    def __init__(self, market: Market, provider: str, **how: Any) -> None:
        self.ended: list[Rescued] = []
        self.looked = asyncio.run(self._run(market, provider, **how))

    async def _run(
        self,
        market: Market,
        provider: str,
        *,
        catalog: Catalog | None = None,
        endpoints: Sequence[str] = (),
        since: timedelta = timedelta(hours=1),
        ledger: Ledger | None = None,
        at_once: int = 4,
        **options: Any,
    ) -> Looked:
        keys = market.settings.keys()
        given = TransportOptions(**{"keys": keys, "backoff_first_s": 0.02, "list_budget_s": 0.1, **options})
        transport = open_transport(market.settings.endpoints(), given, outputs_in=every_output_of)
        rescue = Rescue(transport, catalog or load_catalog(), folder_of(market), ledger=ledger, at_once=at_once)
        now = datetime.now(UTC)
        try:
            looked = await rescue.look(provider, since=now - since, until=now, endpoints=endpoints)
            with rescue.at_work():
                await rescue.pull(looked.seen, self.ended.append, lambda _name, _what: None)
        finally:
            transport.close()
        return looked

    def only(self) -> Rescued:
        (one,) = self.ended
        return one


def folder_of(market: Market) -> Path:
    return market.home / "rescued"


def finished(market: Market, http: httpx.Client, *providers: str) -> None:
    """Have strangers' predictions made, and ended."""
    submit(market.simulator, http, providers)
    market.simulator.world.clock.advance(60)


@pytest.mark.parametrize(
    ("provider", "extensions"), [("elevenlabs", [".mp3"]), ("fal", [".jpg"]), ("replicate", [".png"] * 2)]
)
def test_every_file_of_a_model_that_nobody_here_knows_is_pulled(
    market: Market, http: httpx.Client, provider: str, extensions: list[str]
) -> None:
    """With no entry in the catalog, and no ledger: it was another script that bought it."""
    finished(market, http, provider)
    posts = market.posts()

    one = Round(market, provider, catalog=Catalog([]), endpoints=["fal-ai/flux/schnell"]).only()

    assert ([path.suffix for path in one.files], one.why) == (extensions, "")
    assert all(path.is_file() and path.parent == folder_of(market) / provider for path in one.files)
    record = json.loads((folder_of(market) / provider / f"{one.seen.listed.prediction.id}.json").read_text())
    assert record["complete"]
    assert [sha256_of(path) for path in one.files] == [file["sha256"] for file in record["files"]]
    assert "stranger" in json.dumps(record["input"]).lower()
    assert market.posts() == posts
    assert sorted(path.name for path in market.home.iterdir()) == ["rescued"]


def test_what_is_here_is_not_pulled_again(market: Market, http: httpx.Client) -> None:
    finished(market, http, "replicate")
    first = Round(market, "replicate").only()
    downloads = _downloads(market)

    again = Round(market, "replicate").only()

    assert again.files == first.files
    assert _downloads(market) == downloads


def test_only_what_is_missing_is_pulled_again(market: Market, http: httpx.Client) -> None:
    """A disk was full, a process died: what is whole stays."""
    finished(market, http, "replicate")
    first = Round(market, "replicate").only()
    first.files[0].write_bytes(b"cut")
    downloads = _downloads(market)

    again = Round(market, "replicate").only()

    assert again.files == first.files
    assert again.files[0].stat().st_size > 100
    assert _downloads(market) == downloads + 1


def _downloads(market: Market) -> int:
    rows = market.ask("/_sim/requests")["requests"]
    return sum(row["count"] for row in rows if row["call"] == "download")


@pytest.mark.parametrize(
    ("fault", "says", "error", "later"),
    [
        ({"call": "poll", "fault": "data_removed"}, "its output was deleted", OutputLostError, False),
        ({"call": "download", "fault": "expired"}, "its address has expired", OutputLostError, False),
        ({"call": "download", "fault": "html"}, "a web page", UnexpectedResponseError, True),
        ({"call": "poll", "fault": "404_after_create"}, "shows no file of it just now", UnexpectedResponseError, True),
        ({"call": "download", "fault": "redirect_private"}, "not followed", UnexpectedResponseError, True),
    ],
)
def test_what_cannot_be_had_is_said(
    market: Market, http: httpx.Client, fault: dict[str, str], says: str, error: type[Exception], *, later: bool
) -> None:
    """Expired or hostile: it is one prediction's trouble, and no file is made of it."""
    finished(market, http, "replicate")
    market.set_faults(fault)

    one = Round(market, "replicate").only()

    assert (one.files, isinstance(one.error, error), one.may_be_had_later) == ((), True, later), one.why
    assert says in one.why
    assert not (folder_of(market) / "replicate").exists()


def test_one_output_of_two_is_kept_and_the_other_had_later(market: Market, http: httpx.Client) -> None:
    finished(market, http, "replicate")
    market.set_faults({"call": "download", "fault": "html", "times": 6})

    first = Round(market, "replicate").only()
    market.set_faults()
    again = Round(market, "replicate").only()

    assert (len(first.files), first.may_be_had_later) == (1, True), first.why
    assert (len(again.files), again.why) == (2, "")
    assert again.files[0].name.endswith("-1.png")


@pytest.mark.parametrize(
    ("fault", "why"), [("run_stuck", "has not ended yet"), ("run_failed", "ended without an output")]
)
def test_what_made_nothing_is_listed_and_not_asked_for(
    market: Market, http: httpx.Client, fault: str, why: str
) -> None:
    """Nothing is waited for, and nothing of a stranger's is canceled."""
    market.set_faults({"call": "submit", "fault": fault})
    finished(market, http, "replicate")

    one = Round(market, "replicate").only()

    assert (one.why, one.files, one.error) == (why, (), None)
    calls = {row["call"] for row in market.ask("/_sim/requests")["requests"] if row["provider"] == "replicate"}
    assert calls == {"submit", "list"}


def test_a_prediction_without_a_file_has_none_later_either(market: Market, http: httpx.Client) -> None:
    """A model of words makes words."""
    finished(market, http, "replicate")
    market.set_faults({"call": "submit", "fault": "output_url", "value": "hello"})
    submit(market.simulator, http, ["replicate"])
    market.simulator.world.clock.advance(60)
    market.set_faults()

    words = [one for one in Round(market, "replicate").ended if not one.files]

    assert [(one.may_be_had_later, "without an output" in one.why) for one in words] == [(False, True)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_list_that_cannot_be_read_is_said(market: Market, http: httpx.Client, provider: str) -> None:
    finished(market, http, provider)
    market.set_faults({"call": "list", "fault": "2xx_garbage"})

    round_ = Round(market, provider)

    assert (round_.looked.seen, round_.ended) == ((), [])
    assert "no JSON object" in round_.looked.unreadable[0]


def test_a_list_by_endpoint_shows_the_endpoints_that_are_named(market: Market, http: httpx.Client) -> None:
    finished(market, http, "fal", "fal")

    looked = Round(market, "fal", endpoints=["fal-ai/flux/schnell"], catalog=Catalog([])).looked
    nothing_named = Round(market, "fal", catalog=Catalog([])).looked

    assert (len(looked.seen), looked.unreadable) == (2, ())
    assert nothing_named.seen == ()
    assert "cannot be asked for this" in nothing_named.unreadable[0]


def test_a_key_that_is_refused_is_the_lists_trouble(market: Market, http: httpx.Client) -> None:
    finished(market, http, "replicate")

    looked = Round(market, "replicate", keys={"replicate": "invalid"}).looked

    assert isinstance(looked.error, KeyRejectedError)


def test_our_own_defect_with_one_list_is_told_and_ends_nothing(market: Market) -> None:
    """As when it is asked between times that nobody can compare."""
    transport = open_transport(market.settings.endpoints(), TransportOptions(keys=market.settings.keys()))
    rescue = Rescue(transport, load_catalog(), folder_of(market), ledger=None)
    naive = datetime(2026, 11, 30)  # noqa: DTZ001 - that is the point

    looked = asyncio.run(rescue.look("replicate", since=naive, until=naive))

    assert isinstance(looked.error, DefectError)


def test_what_a_dead_run_may_have_submitted_is_named_too(market: Market, http: httpx.Client) -> None:
    """It died between its intent and the reply; nobody has called it unknown yet."""
    request = drafted(load_catalog().get("replicate:sdxl")).request
    with open_ledger(market.home) as ledger:
        claim = ledger.purchases.claim(
            request, recovery=Recovery.LISTED, prompt_key="a", plan_id="a", estimate_micro_usd=0
        )
        assert isinstance(claim, Claim)
        ledger.purchases.write_intent(claim)
    key = {"Authorization": "Bearer r8_simulated"}
    body = {"version": SDXL, "input": dict(request.params)}
    http.post(f"{market.simulator.url}/replicate/v1/predictions", headers=key, json=body).raise_for_status()

    with open_ledger(market.home) as ledger:
        (one,) = Round(market, "replicate", ledger=ledger).looked.seen

    assert [row.request_key for row in one.fits] == [request.key]
    assert one.adopt_id == one.listed.prediction.id


def test_how_far_to_look_back_is_the_providers_to_heed(market: Market, http: httpx.Client) -> None:
    finished(market, http, "replicate")

    looked = Round(market, "replicate", since=timedelta(seconds=-120)).looked

    assert looked.seen == ()


def test_what_expires_first_is_pulled_first(market: Market, http: httpx.Client) -> None:
    """Lists begin with the newest; the oldest has the least time left."""
    for _ in range(3):
        finished(market, http, "replicate")

    round_ = Round(market, "replicate", at_once=1)

    listed = [one.listed.created_at for one in round_.looked.seen]
    assert [one.seen.listed.created_at for one in round_.ended] == listed[::-1] == sorted(map(_known, listed))


def test_until_when_an_output_is_there_is_counted_from_its_creation(market: Market, http: httpx.Client) -> None:
    """When it was finished, a list does not say; and of some providers nobody knows."""
    finished(market, http, "replicate")
    seen = Round(market, "replicate").only().seen

    assert seen.expires_at(3600.0) == _known(seen.listed.created_at) + timedelta(hours=1)
    assert seen.expires_at(None) is None


def _known(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment


def test_one_rescue_at_a_time_has_the_folder_and_leftovers_of_the_dead_go(tmp_path: Path) -> None:
    """The kernel gives the folder back when a process dies; what it was writing is nobody's then."""
    shelf = Shelf(tmp_path / "rescued")
    left = tmp_path / "rescued" / ".scratch" / "p.x" / "output"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")

    with shelf.held():
        assert not left.exists()
        with pytest.raises(StorageError, match="another rescue is at work"), Shelf(tmp_path / "rescued").held():
            pass
    with shelf.held():
        pass


@pytest.mark.parametrize("name", ["../../away", "a/b", "..", ".", "ab\x00c", "x" * 90, "ein Bild: é"])
def test_no_id_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    shelf = Shelf(tmp_path / "rescued")
    record = Record(folder=tmp_path / "rescued" / "fal")
    with shelf.held(), shelf.scratch(name) as scratch:
        (scratch / "output").write_bytes(b"GIF89a" + b"\0" * 100)

        shelf.put(name, scratch / "output", n=0, of=1, record=record)

    assert [path.parent for path in record.paths] == [tmp_path / "rescued" / "fal"]
    assert record.paths[0].suffix == ".bin"
    inside = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert inside == {"rescued"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "rescued").write_text("a file")

    with pytest.raises(StorageError, match="Make it a folder"), Shelf(tmp_path / "rescued").held():
        pass


@pytest.mark.parametrize(
    "told", ["", "[]", "{}", '{"files": 3, "complete": true}', '{"files": [{"n": "x"}], "complete": true}']
)
def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, told: str) -> None:
    shelf = Shelf(tmp_path / "rescued")
    (tmp_path / "rescued" / "fal").mkdir(parents=True)
    (tmp_path / "rescued" / "fal" / "p.json").write_text(told)

    found = shelf.files_of("fal", "p")

    assert (found.by_number, found.complete) == ({}, False)


@pytest.mark.parametrize(
    ("keys", "wanted", "chosen", "notes"),
    [
        ({"fal": "k", "openai": "k"}, (), ["fal"], 1),
        ({"fal": "k", "replicate": "k"}, ("replicate", "replicate"), ["replicate"], 0),
    ],
)
def test_who_is_asked(
    market: Market, keys: dict[str, str], wanted: tuple[str, ...], chosen: list[str], notes: int
) -> None:
    """All whose key is set; of who keeps no list, that is said."""
    transport = open_transport(market.settings.endpoints(), TransportOptions(keys=keys))

    names, told = providers_to_ask(transport, wanted)

    assert (names, len(told)) == (chosen, notes)
    assert all("keeps no list" in note for note in told)


@pytest.mark.parametrize(
    ("keys", "wanted", "says"),
    [
        ({}, (), "none of ELEVENLABS_API_KEY, FAL_KEY, OPENAI_API_KEY, REPLICATE_API_TOKEN is set"),
        ({"fal": "k"}, ("replicate",), "REPLICATE_API_TOKEN is not set"),
        ({"fal": "a\nb"}, (), "FAL_KEY holds a line break"),
        ({"fal": "k"}, ("midjourney",), "there is no such provider. There are: elevenlabs, fal"),
        ({"openai": "k"}, ("openai",), "keeps no list"),
    ],
)
def test_who_cannot_be_asked_is_refused(
    market: Market, keys: dict[str, str], wanted: tuple[str, ...], says: str
) -> None:
    transport = open_transport(market.settings.endpoints(), TransportOptions(keys=keys))

    with pytest.raises(ConfigurationError, match=says):
        providers_to_ask(transport, wanted)
