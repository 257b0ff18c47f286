"""``rescue`` as it is typed: what it lists, what it pulls, what it refuses, and its exit codes."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.recovery.shelf import Shelf
from media_assets_tests.canaries import KEYS, MARK, find_in_folder, find_in_texts, lines, marked_simulators
from media_assets_tests.cli.running import Cli, Ended, start
from media_assets_tests.recovery.strangers import SDXL, submit
from media_assets_tests.simulated import FAST, Market, open_market


class Account:
    """Accounts at every provider, a home, and the command line on it."""

    def __init__(self, market: Market, cli: Cli) -> None:
        self.market = market
        self.environment = {**market.simulator.environment(), **FAST}
        self._cli = cli

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        return self._cli(*arguments, **{**self.environment, **environment})

    def strangers(self, *providers: str) -> None:
        """Have others' predictions made, and ended."""
        with httpx.Client() as http:
            submit(self.market.simulator, http, providers or ("replicate", "fal", "elevenlabs"))
        self.market.simulator.world.clock.advance(60)

    def files(self) -> list[str]:
        """Return what is in the folder of rescued files, by extension."""
        folder = self.market.home / "rescued"
        return sorted(path.suffix for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.fixture
def account(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Account]:
    with open_market(home) as market:
        yield Account(market, Cli(home, capsys))


def test_an_account_that_never_used_this_project_is_rescued(account: Account) -> None:
    """No ledger is made for it; and of who keeps no list, that is said."""
    account.strangers()
    posts = account.market.posts()

    ended = account("rescue")

    assert ended.code == 0, ended.err
    assert account.files() == [".jpg", ".json", ".json", ".json", ".mp3", ".png", ".png"]
    assert "openai keeps no list" in ended.err
    assert "3 listed, 4 files of them are in" in ended.err
    assert [word in ended.out for word in ("stability-ai/sdxl", "succeeded", "59 min", "6 d", "not said")] == [True] * 5
    assert not (account.market.home / "ledger.db").exists()
    assert account.market.posts() == posts


def test_a_dry_run_lists_and_writes_nothing(account: Account) -> None:
    account.strangers("replicate")

    ended = account("rescue", "--dry-run")

    assert (ended.code, "would be pulled" in ended.out) == (0, True)
    assert not account.market.home.exists()
    assert not any(row["call"] == "download" for row in account.market.ask("/_sim/requests")["requests"])


def test_json_is_one_object_for_each_prediction(account: Account) -> None:
    account.strangers()

    told = {one["provider"]: one for one in account("rescue", "--json").objects()}

    assert set(told) == {"replicate", "fal", "elevenlabs"}
    assert all(Path(name).is_file() for one in told.values() for name in one["files"])
    assert (told["replicate"]["in_ledger"], told["replicate"]["why"], told["replicate"]["may_be"]) == (False, "", [])
    assert told["replicate"]["expires_at"] > told["replicate"]["created_at"]
    assert told["elevenlabs"]["expires_at"] is None


def test_where_nothing_is_listed_that_is_said(account: Account) -> None:
    ended = account("rescue", "--provider", "replicate")

    assert (ended.code, ended.out) == (0, "")
    assert "nothing is listed in that time" in ended.err


def test_what_the_ledger_has_is_left_to_it(account: Account) -> None:
    picture = ("--prompt", "a barn", "--key", "barn", "--only", "image", "--route", "image=replicate:sdxl")
    assert account("generate", *picture).code == 0
    account.strangers("replicate")

    told = account("rescue", "--provider", "replicate", "--json").objects()

    assert sorted((one["in_ledger"], one["why"], len(one["files"])) for one in told) == [
        (False, "", 2),
        (True, "the ledger has it", 0),
    ]


@pytest.mark.parametrize(
    ("step", "model"),
    [("image", "replicate:sdxl"), ("image", "fal:flux-schnell"), ("audio", "elevenlabs:flash-v2.5")],
)
def test_what_may_be_of_an_unknown_purchase_is_named_and_can_be_adopted(
    account: Account, step: str, model: str
) -> None:
    """As it is typed there: the id that the ledger takes is not always the one that the list shows."""
    film = ("--prompt", "a barn", "--script", "A barn.", "--key", "barn", "--only", step, "--route", f"{step}={model}")
    account.market.set_faults({"call": "submit", "fault": "exec_and_drop"})
    assert account("generate", *film, "--no-wait", MEDIA_ASSETS_SETTLE_LAG_S="60").code == 5
    account.market.set_faults()
    account.market.simulator.world.clock.advance(60)

    ended = account("rescue", "--provider", model.partition(":")[0])

    assert (ended.code, "the ledger has it" in ended.out) == (0, False)
    (told,) = [line for line in ended.err.splitlines() if "media-assets ledger adopt" in line]
    command = told.partition("media-assets ")[2].split()
    assert account(*command).code == 0
    assert account("generate", *film).code == 0
    assert account.market.posts() == 1


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("--since", "soon"), "must be a time such as 30m, 1h or 2d"),
        (("--since", "0h"), "must be a time"),
        (("--since", "-1h"), "must be a time"),
        (("--since", "91d"), "at most 90 days"),
        (("--since", "1h30m"), "must be a time"),
        (("--provider", "midjourney"), "there is no such provider"),
        (("--provider", "local"), "there is no such provider"),
        (("--provider", "openai"), "openai keeps no list"),
        (("--endpoint", "no endpoint"), "must be an endpoint of fal"),
        (("--endpoint", "../x"), "must be an endpoint of fal"),
        (("--endpoint", "fal-ai/any", "--provider", "replicate"), "only fal is asked endpoint by endpoint"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(account: Account, typed: tuple[str, ...], says: str) -> None:
    ended = account("rescue", *typed, "--json")

    assert (ended.code, says in ended.err) == (2, True), ended.err
    assert ended.only()["error"]["class"] == "ConfigurationError"
    assert account.market.requests() == 0
    assert not account.market.home.exists()


@pytest.mark.parametrize("since", ["30m", "1h", "2d", "90d", "2H"])
def test_a_time_is_minutes_hours_or_days(account: Account, since: str) -> None:
    account.strangers("replicate")

    assert account("rescue", "--since", since, "--provider", "replicate", "--dry-run").code == 0


def test_a_missing_key_is_named(account: Account) -> None:
    ended = account("rescue", "--provider", "fal", FAL_KEY="")
    none = account("rescue", **dict.fromkeys(KEYS, ""))

    assert (ended.code, "FAL_KEY is not set" in ended.err) == (2, True)
    assert (none.code, "none of ELEVENLABS_API_KEY, FAL_KEY" in none.err) == (2, True)
    assert account.market.requests() == 0


def test_one_providers_trouble_stops_no_other(account: Account) -> None:
    account.strangers("replicate", "elevenlabs")

    keys = {"REPLICATE_API_TOKEN": "invalid", "FAL_KEY": ""}

    ended = account("rescue", "--json", **keys)

    told = {one["provider"]: one for one in ended.objects()}
    assert ended.code == 4
    assert told["replicate"]["error"]["class"] == "KeyRejectedError"
    assert len(told["elevenlabs"]["files"]) == 1


def test_what_has_expired_is_said_and_no_failure(account: Account) -> None:
    account.strangers("replicate", "fal")
    account.market.set_faults({"call": "poll", "fault": "data_removed"})

    ended = account("rescue")

    assert ended.code == 0
    assert [word in ended.out for word in ("gone", "its output was deleted")] == [True, True]
    assert account.files() == [".jpg", ".json"]


def test_what_can_be_had_later_has_a_code_of_its_own(account: Account) -> None:
    account.strangers("fal")
    account.market.set_faults({"call": "download", "fault": "noexec_503"})

    ended = account("rescue")

    assert (ended.code, "1 could not be had just now" in ended.err) == (4, True)
    account.market.set_faults()
    assert account("rescue").code == 0


def test_two_rescues_at_once_are_not(account: Account) -> None:
    """The second would write what the first writes."""
    with Shelf(account.market.home / "rescued").held():
        ended = account("rescue", "--json")

    assert (ended.code, "another rescue is at work" in ended.err) == (4, True)
    assert account.market.requests() == 0


def test_an_interrupt_leaves_only_whole_files(account: Account) -> None:
    account.strangers("replicate")
    account.market.set_faults({"call": "download", "fault": "slow_1Bps"})

    surroundings: dict[str, Any] = {**account.environment, "MEDIA_ASSETS_HOME": account.market.home}
    with start("rescue", "--provider", "replicate", **surroundings) as one:
        give_up = time.monotonic() + 60
        while not _downloads(account) and time.monotonic() < give_up:
            time.sleep(0.02)
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=60)

    assert (one.returncode, "what was pulled is whole" in err) == (130, True), err + out
    assert account.files() == []
    account.market.set_faults()
    assert account("rescue", "--provider", "replicate").code == 0
    assert account.files() == [".json", ".png", ".png"]


def _downloads(account: Account) -> int:
    rows = account.market.ask("/_sim/requests")["requests"]
    return sum(row["count"] for row in rows if row["call"] == "download")


def test_no_secret_is_shown_or_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses of outputs are signed, questions carry keys, and a stranger's input may hold anything."""
    with marked_simulators(), open_market(home) as market:
        account = Account(market, Cli(home, capsys))
        with httpx.Client() as http:
            secrets = {"prompt": f"see https://h.test/a.png?sig={MARK}", "negative_prompt": f"api_key={MARK}"}
            http.post(
                f"{market.simulator.url}/replicate/v1/predictions",
                headers={"Authorization": "Bearer r8_simulated"},
                json={"version": SDXL, "input": secrets},
            ).raise_for_status()
        account.strangers()
        plain = account("rescue", **KEYS)
        told = account("rescue", "--json", **KEYS)

    assert plain.code == told.code == 0, plain.err
    kept = [json.loads(path.read_text()) for path in (home / "rescued").rglob("*.json")]
    assert {"prompt": "see https://h.test/a.png", "negative_prompt": "api_key=***"} in [one["input"] for one in kept]
    texts = find_in_texts(out=plain.out, err=plain.err, json=told.out, told=told.err)
    found = texts + find_in_folder(home)
    assert not found, lines(found)
