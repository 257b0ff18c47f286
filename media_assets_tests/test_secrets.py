"""No secret leaves: keys and signed addresses are looked for in everything that a film leaves behind and says."""

import asyncio
import json
import logging
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from media_assets.catalog import ModelSpec
from media_assets.errors import (
    ContentRejectedError,
    InsufficientCreditError,
    KeyRejectedError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    PredictionTimeoutError,
    RateLimitedError,
    RequestRejectedError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.film import Film
from media_assets.prompt import Prompt, Step
from media_assets.settings import KEY_FIELDS
from media_assets_tests.canaries import (
    KEYS,
    MARK,
    find_in_error,
    find_in_folder,
    find_in_texts,
    lines,
    marked_simulators,
)
from media_assets_tests.cli.running import Cli, start
from media_assets_tests.providers.transport.raw_server import Connection, RawServer
from media_assets_tests.simulated import FAST, Market, hurried, open_market, paid_prompt

ROUTES = {"image": ["replicate:sdxl"], "video": ["fal:stable-video"], "audio": ["elevenlabs:multilingual-v2"]}
"""Three keys, an upload by token, and two providers that hand out signed addresses."""

_HOSTILE = f"https://{MARK}user:{MARK}word@evil.test/{MARK}.png?X-Signature={MARK}"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a film goes, and how it ends."""

    error: type[MediaAssetsError] | None
    faults: Sequence[Mapping[str, Any]] = ()
    routes: Mapping[str, list[str]] = field(default_factory=lambda: ROUTES)
    wanted: Step = Step.IMAGE
    keys: Mapping[str, str] = field(default_factory=dict)
    """Other keys than ``KEYS``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[ModelSpec] = ()
    is_typed: bool = True
    """Whether the command line can do it too: nothing typed makes a model hurry."""


_FAL_PICTURE = {**ROUTES, "image": ["fal:flux-schnell"]}
_OPENAI_PICTURE = {**ROUTES, "image": ["openai:gpt-image-2"]}

SCENARIOS = {
    "success": Scenario(error=None, wanted=Step.MERGED),
    "success_openai": Scenario(error=None, routes=_OPENAI_PICTURE),
    "run_failed": Scenario(error=PredictionFailedError, faults=[{"fault": "run_failed"}]),
    "key_refused": Scenario(
        error=KeyRejectedError,
        routes=_OPENAI_PICTURE,
        keys={"OPENAI_API_KEY": f"sk-proj-{MARK}-invalid-3xW8OpenTail"},
    ),
    "account_empty": Scenario(error=InsufficientCreditError, faults=[{"fault": "insufficient_credit"}]),
    "too_slow": Scenario(
        error=PredictionTimeoutError,
        routes=_FAL_PICTURE,
        faults=[{"fault": "run_stuck"}],
        models=[hurried("fal:flux-schnell", run_deadline_s=0.1, queue_deadline_s=0.1)],
        settings={"deadline_grace_s": 0.0},
        is_typed=False,
    ),
    "reply_lost": Scenario(
        error=UnknownOutcomeError, routes=_OPENAI_PICTURE, faults=[{"call": "submit", "fault": "exec_and_drop"}]
    ),
    "reply_found": Scenario(error=None, faults=[{"call": "submit", "fault": "exec_and_drop"}]),
    "reply_cut": Scenario(error=None, routes=_FAL_PICTURE, faults=[{"call": "submit", "fault": "exec_and_truncate"}]),
    "rate_limited": Scenario(
        error=RateLimitedError, faults=[{"fault": "429_header", "seconds": 0}], settings={"refusals_deadline_s": 0.1}
    ),
    "moderated": Scenario(error=ContentRejectedError, faults=[{"fault": "moderation_after_run"}]),
    "hostile_output": Scenario(error=UnexpectedResponseError, faults=[{"fault": "output_url", "value": _HOSTILE}]),
    "hostile_redirect": Scenario(
        error=UnexpectedResponseError,
        routes=_FAL_PICTURE,
        faults=[{"fault": "redirect_private", "value": _HOSTILE}],
    ),
    "output_expired": Scenario(error=OutputLostError, faults=[{"fault": "expired"}]),
    "upload_unreadable": Scenario(
        error=UnexpectedResponseError, wanted=Step.VIDEO, faults=[{"call": "upload", "fault": "2xx_garbage"}]
    ),
}


@dataclass(frozen=True)
class Stage:
    """A simulator whose signatures and tokens are marked, and what has been looked through."""

    market: Market
    tokens: list[str]
    """The upload tokens that were given out."""

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of somebody who buys here."""
        return {**self.market.simulator.environment(), **FAST, **KEYS, **changes}

    def on(self, home: Path, **keys: str) -> Market:
        """Return the market for another home, with the keys in the settings."""
        fields = {field.upper(): field for field in KEY_FIELDS.values()}
        given = {fields[name]: SecretStr(key) for name, key in {**KEYS, **keys}.items()}
        return replace(self.market, home=home, settings=self.market.settings.model_copy(update=given))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with marked_simulators() as tokens, open_market(tmp_path_factory.mktemp("unused")) as market:
        yield Stage(market, tokens)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return all that was logged, by anybody, at any level."""
    caplog.set_level(logging.DEBUG)
    written = logging.Formatter("%(name)s %(message)s")

    def text() -> str:
        # The simulator's server is the provider's end: pytest listens to it here, nobody does elsewhere.
        ours = [record for record in caplog.records if not record.name.startswith("uvicorn.")]
        return "\n".join(f"{written.format(record)} {record.__dict__}" for record in ours)

    return text


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(home, capsys)


def _prompt(key: str, scenario: Scenario, seed: int) -> Prompt:
    return paid_prompt(key=key, seed=seed, take=seed, routes=dict(scenario.routes), clip_s=2.5, size_px=(1024, 576))


def _said_by(cli: Cli, environment: Mapping[str, str], *commands: Sequence[str | Path]) -> dict[str, str]:
    """Return what commands print, on both streams, by command."""
    said = {}
    for command in commands:
        ended = cli(*command, **environment)
        said[" ".join(map(str, command))] = f"{ended.code}\n{ended.out}\n{ended.err}"
    return said


def _looking(home: Path) -> list[Sequence[str]]:
    with sqlite3.connect(home / "ledger.db") as connection:
        keys = [str(key) for (key,) in connection.execute("SELECT request_key FROM purchase")]
    connection.close()
    listing = [["status"], ["status", "--json"], ["ledger", "list"], ["ledger", "list", "--json"]]
    return [*listing, *(["ledger", "show", key, *more] for key in keys[:1] for more in ([], ["--json"]))]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_leaves(stage: Stage, cli: Cli, log: Callable[[], str], tmp_path: Path, name: str) -> None:
    """However a film ends: in the library, on the command line, in the log, in the home, in the error."""
    # Texts of its own: one account's list shows what all of them have submitted.
    scenario, number = SCENARIOS[name], 10 * (1 + list(SCENARIOS).index(name))
    market = stage.on(cli.home, **scenario.keys)
    market.set_faults(*map(dict, scenario.faults))
    given = len(market.accepted()), len(stage.tokens)

    with market.studio(models=scenario.models, **scenario.settings) as studio:
        prompt = _prompt("library", scenario, number)
        film = asyncio.run(studio.attempt(prompt, wanted={scenario.wanted}))
    settings = {f"MEDIA_ASSETS_{field.upper()}": str(value) for field, value in scenario.settings.items()}
    environment = stage.environment(**scenario.keys, **settings)
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(_prompt("typed", scenario, number + 1).model_dump(mode="json", exclude_unset=True)))
    generate: list[str | Path] = ["generate", file, "--only", str(scenario.wanted)]
    typed: list[Sequence[str | Path]] = [[*generate, "--json"], generate] if scenario.is_typed else []
    said = _said_by(cli, environment, *typed, *_looking(cli.home))

    _assert_ended_as_meant(film, scenario.error)
    found = find_in_folder(cli.home) + find_in_texts(**said, log=log(), film=json.dumps(film.as_dict(home=cli.home)))
    found += find_in_error(film.error) if film.error is not None else []
    assert not found, lines(found)
    for line in typed:
        code = int(said[" ".join(map(str, line))].partition("\n")[0])
        assert (code == 0) == (scenario.error is None), said
    assert all("*****" not in text for text in said.values()), "a key that its provider masked is a part of a key"
    if scenario.error is None:
        assert len(market.accepted()) >= given[0] + 2
        assert len(stage.tokens) >= given[1] + 2 or scenario.wanted is Step.IMAGE


def _assert_ended_as_meant(film: Film, error: type[MediaAssetsError] | None) -> None:
    if error is None:
        assert film.error is None, film.error
        return
    assert isinstance(film.error, error), film.error
    told = traceback.TracebackException.from_exception(film.error, capture_locals=True)
    shown = "".join(told.format())
    assert "chain.py" in shown
    assert not [name for name, key in KEYS.items() if key in shown], "reporters that show variables show a key"


def test_commands_that_only_look_tell_no_secret(stage: Stage, cli: Cli, log: Callable[[], str], tmp_path: Path) -> None:
    """What a plan says of keys, and a doctor of settings, is made to be pasted into tickets."""
    stage.market.set_faults()
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(_prompt("planned", SCENARIOS["success"], 6).model_dump(mode="json", exclude_unset=True)))
    commands: list[Sequence[str | Path]] = [[name, *more] for name in ("doctor", "models") for more in ([], ["--json"])]
    commands += [["plan", file], ["plan", file, "--json"]]

    said = _said_by(cli, stage.environment(), *commands)

    assert all("FAL_KEY" in text for name, text in said.items() if name.startswith("doctor"))
    found = find_in_texts(**said, log=log())
    assert not found, lines(found)


def test_a_provider_that_quotes_all_it_was_sent_is_not_quoted(stage: Stage, cli: Cli, log: Callable[[], str]) -> None:
    """Providers repeat requests in their errors: keys, signed addresses, whole headers."""
    signed = f"https://files.test/in.png?X-Signature={MARK}"

    def quote(connection: Connection) -> None:
        asked = connection.read_request()
        detail = f"Invalid: Authorization: {asked.headers['authorization']} for {signed} (key {KEYS['FAL_KEY']})"
        connection.reply(json.dumps({"title": "Bad", "detail": detail, "status": 422}).encode(), status="422 Bad")

    with RawServer(quote) as server:
        market = stage.on(cli.home)
        prompt = paid_prompt(key="quoted", routes=ROUTES)
        film = market.attempt(prompt, replicate_base_url=f"{server.url}/v1")
        said = _said_by(cli, stage.environment(), *_looking(cli.home))

    assert isinstance(film.error, RequestRejectedError), film.error
    assert "Invalid" in film.error.message
    assert len(server.requests) == 1
    found = find_in_folder(cli.home) + find_in_error(film.error) + find_in_texts(**said, log=log())
    assert not found, lines(found)


_CRASHES = ("id_save.before", "dl.before_rename")
"""Before the id is stored, and while the output is."""


def test_a_killed_process_leaves_no_secret_behind(
    stage: Stage, cli: Cli, log: Callable[[], str], tmp_path: Path
) -> None:
    """Nothing cleans up after it: what lies in its home then is what was ever written there."""
    stage.market.set_faults()
    scenario, homes = SCENARIOS["success"], {point: tmp_path / point for point in _CRASHES}
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(_prompt("killed", scenario, 3).model_dump(mode="json", exclude_unset=True)))
    generate = ("generate", str(file), "--only", "image", "--json")
    environment: dict[str, Any] = stage.environment()
    children = {
        point: start(*generate, MEDIA_ASSETS_HOME=home, MEDIA_ASSETS_CRASH_AT=point, **environment)
        for point, home in homes.items()
    }

    for point, child in children.items():
        out, err = child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, (point, out, err)
        found = find_in_folder(homes[point]) + find_in_texts(out=out, err=err)
        assert not found, lines(found)
        cli.home = homes[point]
        said = _said_by(cli, environment, generate, *_looking(cli.home))
        found = find_in_folder(cli.home) + find_in_texts(**said, log=log())
        assert not found, lines(found)


def test_dagster_is_told_no_secret(
    stage: Stage, cli: Cli, log: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event log, run records and captured output stay for years, and everybody who sees the UI sees them."""
    import dagster as dg  # noqa: PLC0415 - seconds to import, and only this test needs it

    from media_assets.definitions import build_defs  # noqa: PLC0415
    from media_assets.defs.partitions import PARTITIONS_NAME  # noqa: PLC0415
    from media_assets.defs.resources import ReplicateResource  # noqa: PLC0415

    for name, value in stage.environment(MEDIA_ASSETS_HOME=str(cli.home)).items():
        monkeypatch.setenv(name, value)
    good, bad = _prompt("good", SCENARIOS["success"], 4), _prompt("bad", SCENARIOS["success"], 5)
    with stage.on(cli.home).studio() as studio:
        studio.ledger.prompts.pin([good, bad], source="test")
    storage = tmp_path / "dagster"
    storage.mkdir()
    key = ReplicateResource(api_key=dg.EnvVar("REPLICATE_API_TOKEN"))
    job = build_defs(replicate=key).resolve_implicit_global_asset_job_def()

    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        instance.add_dynamic_partitions(PARTITIONS_NAME, ["good", "bad"])
        stage.market.set_faults()
        made = job.execute_in_process(instance=instance, partition_key="good", raise_on_error=False)
        stage.market.set_faults({"provider": "replicate", "fault": "output_url", "value": _HOSTILE})
        failed = job.execute_in_process(instance=instance, partition_key="bad", raise_on_error=False)
        events = [str(event) for run in (made, failed) for event in instance.all_logs(run.run_id)]

    assert (made.success, failed.success) == (True, False)
    assert any("evil.test" in event or "user name" in event for event in events), "the failure has to be told"
    found = find_in_folder(storage) + find_in_folder(cli.home) + find_in_texts(log=log(), events="\n".join(events))
    assert not found, lines(found)
