"""No secret leaves by an alert: what a webhook is sent of a failed run, and what is said where it cannot be sent."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets.alerts import AlertForm
from media_assets.definitions import build_defs
from media_assets.defs.alerts import run_failure_alert
from media_assets.errors import MediaAssetsError
from media_assets_tests.canaries import KEYS, MARK, find, find_in_folder, find_in_texts, lines, marked_simulators
from media_assets_tests.defs.materializing import pin
from media_assets_tests.providers.transport.raw_server import Connection, RawServer
from media_assets_tests.simulated import FAST, Market, open_market, paid_prompt

_ROUTES = {"image": ["replicate:sdxl"], "video": ["fal:stable-video"], "audio": ["elevenlabs:multilingual-v2"]}
_HOSTILE = f"https://{MARK}user:{MARK}word@evil.test/{MARK}.png?X-Signature={MARK}"
_FAULTS = {
    "hostile output": {"provider": "replicate", "fault": "output_url", "value": _HOSTILE},
    "failed run": {"provider": "replicate", "fault": "run_failed"},
    "expired": {"provider": "replicate", "fault": "expired"},
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with marked_simulators(), open_market(tmp_path_factory.mktemp("unused")) as one:
        yield one


@pytest.fixture
def fail(
    market: Market, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], dg.RunFailureSensorContext]]:
    """Return a function that lets a film fail, and returns what Dagster tells the sensor of it."""
    for name, value in {**market.simulator.environment(), **FAST, **KEYS, "MEDIA_ASSETS_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster").mkdir()

    def run(fault: str) -> dg.RunFailureSensorContext:
        market.set_faults(_FAULTS[fault])
        words = f"barn {len(market.accepted())}"  # one account's list shows what all tests have submitted
        prompt = paid_prompt(key="film", prompt=words, routes=_ROUTES, clip_s=2.5)
        pin(home, prompt.model_dump(mode="json"))
        ended = build_defs().resolve_job_def("batch").execute_in_process(instance=instance, raise_on_error=False)
        return dg.build_run_status_sensor_context(
            sensor_name=run_failure_alert.name,
            dagster_event=ended.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=ended.dagster_run,
        ).for_run_failure()

    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield run


@pytest.mark.parametrize("form", AlertForm)
@pytest.mark.parametrize("fault", _FAULTS)
def test_an_alert_tells_of_a_failure_and_of_no_secret(
    fail: Callable[[str], dg.RunFailureSensorContext], monkeypatch: pytest.MonkeyPatch, fault: str, form: AlertForm
) -> None:
    """It leaves for a channel that many read, and stays there."""

    def take(connection: Connection) -> None:
        connection.read_request()
        connection.reply(b"ok")

    with RawServer(take) as webhook:
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", f"{webhook.url}/hooks/x")
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_FORM", form)
        run_failure_alert(fail(fault))
        (request,) = webhook.requests

    assert "film: " in json.loads(request.body)["text"], "the failure has to be told"
    found = find("the alert", request.body) + find("its headers", str(request.headers))
    assert not found, lines(found)


def test_an_alert_that_cannot_be_sent_names_no_address(
    fail: Callable[[str], dg.RunFailureSensorContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever has the address of a webhook writes to the channel; a tick's error stays in Dagster for weeks."""
    caplog.set_level(logging.DEBUG)
    context = fail("failed run")
    told = []
    for url in (f"http://127.0.0.1:9/{MARK}", f"https://ho st/{MARK}", f"https://{MARK}:{MARK}@hooks.example/x"):
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", url)
        with pytest.raises(MediaAssetsError) as caught:
            run_failure_alert(context)
        told.append("".join(traceback.format_exception(caught.value)))

    ours = "\n".join(one.getMessage() for one in caplog.records if not one.name.startswith("uvicorn."))
    found = find_in_texts(errors="\n".join(told), log=ours) + find_in_folder(tmp_path / "dagster")
    assert not found, lines(found)
