"""The server: what goes over the wire when a reply is lost, late or broken, and how a simulator starts and ends."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.errors import ConfigurationError
from media_assets.simulator.options import PROVIDERS
from media_assets.simulator.server import Simulator, SimulatorOptions, running_simulator, serve
from media_assets_tests.simulator.wire import KEYS, SUBMITS, Heard, say, submit

QUICK = 200.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with running_simulator(SimulatorOptions(time_scale=QUICK)) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.world.faults.replace([])


def _accepted(simulator: Simulator) -> int:
    return len(simulator.world.submissions.all())


def _wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.005)


def _submit_with(simulator: Simulator, provider: str, fault: str, *, patience_s: float = 5.0, **more: Any) -> Heard:
    simulator.world.faults.replace([{"fault": fault, "call": "submit", **more}])
    return submit(simulator, provider, patience_s=patience_s)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_plain_submission_is_accepted_once(simulator: Simulator, provider: str) -> None:
    before = _accepted(simulator)

    heard = submit(simulator, provider)

    assert heard.status in {200, 201}
    assert heard.ending == "closed"
    if "transfer-encoding" in heard.head.lower():
        assert heard.body.endswith(b"\r\n0\r\n\r\n")
    else:
        assert int(heard.header("content-length")) == len(heard.body)
    assert _accepted(simulator) == before + 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "ending", "accepted"),
    [
        ("refuse_connect", "closed", 0),
        ("tls_fail", "closed", 0),
        ("exec_and_drop", "closed", 1),
        ("reset_before_headers", "reset", 1),
    ],
)
def test_a_lost_reply_is_not_one_byte_long(
    simulator: Simulator, provider: str, fault: str, ending: str, accepted: int
) -> None:
    """Between these four lies the money: the client hears the same, and was billed or was not."""
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, fault)

    assert heard == Heard(b"", ending)
    assert _accepted(simulator) == before + accepted


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_reply_that_never_comes_leaves_the_connection_open(simulator: Simulator, provider: str) -> None:
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, "exec_and_hang", patience_s=0.15)

    assert heard == Heard(b"", "silence")
    _wait_until(lambda: _accepted(simulator) == before + 1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_truncated_reply_promises_more_than_it_brings(simulator: Simulator, provider: str) -> None:
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, "exec_and_truncate")

    assert heard.status in {200, 201}
    assert heard.ending == "closed"
    assert 0 < len(heard.body) < int(heard.header("content-length"))
    assert _accepted(simulator) == before + 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_late_reply_is_whole(simulator: Simulator, provider: str) -> None:
    begun = time.monotonic()

    heard = _submit_with(simulator, provider, "reply_late", seconds=0.3 * QUICK)

    assert time.monotonic() - begun >= 0.3
    assert heard.status in {200, 201}
    assert int(heard.header("content-length")) == len(heard.body)


def test_a_dripping_reply_comes_byte_by_byte(simulator: Simulator) -> None:
    """A client's read timeout never fires on it, because something always comes."""
    simulator.world.faults.replace([{"fault": "slow_1Bps", "call": "poll"}])
    headers, begun = KEYS["replicate"], time.monotonic()

    heard = say(simulator, "GET", "/replicate/v1/predictions/none", headers=headers, patience_s=5)

    length = int(heard.header("content-length"))
    assert json.loads(heard.body)["status"] == 404
    assert len(heard.body) == length
    assert time.monotonic() - begun >= length / QUICK


def test_a_drip_stops_when_the_client_leaves(simulator: Simulator) -> None:
    with running_simulator(SimulatorOptions()) as slow:
        heard = _submit_with(slow, "fal", "slow_1Bps", patience_s=0.5)
        begun = time.monotonic()

    assert heard.ending == "silence"
    assert heard.status == 200
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "status", "accepted"),
    [("exec_and_500", 500, 1), ("exec_and_503_nginx", 503, 1), ("noexec_500", 500, 0), ("noexec_503", 503, 0)],
)
def test_errors_of_the_server_are_the_providers_own_or_a_gateways(
    simulator: Simulator, provider: str, fault: str, status: int, accepted: int
) -> None:
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, fault)

    assert heard.status == status
    assert (b"nginx" in heard.body) == (fault == "exec_and_503_nginx")
    if fault != "exec_and_503_nginx":
        assert isinstance(json.loads(heard.body), dict)
    else:
        assert heard.header("content-type").startswith("text/html")
        assert "x-fal-request-id" not in heard.head.lower()
    assert _accepted(simulator) == before + accepted


@pytest.mark.parametrize("provider", PROVIDERS)
def test_garbage_is_a_success_that_is_no_json(simulator: Simulator, provider: str) -> None:
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, "2xx_garbage")

    assert heard.status in {200, 201}
    with pytest.raises(ValueError, match=r"Expecting|invalid|decode"):
        json.loads(heard.body)
    assert _accepted(simulator) == before + 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["429_header", "429_body", "429_date"])
def test_too_many_requests_in_three_forms(simulator: Simulator, provider: str, fault: str) -> None:
    before = _accepted(simulator)

    heard = _submit_with(simulator, provider, fault, seconds=7)

    assert heard.status == 429
    assert _accepted(simulator) == before
    told = "retry-after" in heard.head.lower()
    assert told == (fault != "429_body")
    if fault == "429_header":
        assert heard.header("retry-after") == "7"
    elif fault == "429_date":
        assert heard.header("retry-after").endswith(" GMT")
    assert (json.loads(heard.body).get("retry_after") == 7) == (provider == "replicate" and fault == "429_body")


def test_a_simulator_ends_quickly_though_clients_wait_for_replies() -> None:
    """A test that made a reply hang must not hang at its end."""
    with running_simulator(SimulatorOptions()) as simulator:
        simulator.world.faults.replace([{"fault": "exec_and_hang"}])
        waiting = threading.Thread(target=submit, args=(simulator, "fal"))
        waiting.start()
        _wait_until(lambda: _accepted(simulator) == 1)
        begun = time.monotonic()

    assert time.monotonic() - begun < 2
    waiting.join(5)
    assert not waiting.is_alive()


def test_two_simulators_know_nothing_of_each_other() -> None:
    with running_simulator() as one, running_simulator() as other:
        submit(one, "fal")

        assert (len(one.world.submissions.all()), len(other.world.submissions.all())) == (1, 0)
        assert one.url != other.url


def test_the_environment_leads_to_the_simulator(simulator: Simulator) -> None:
    environment = simulator.environment()

    assert {name for name in environment if "URL" in name} == {
        "MEDIA_ASSETS_REPLICATE_BASE_URL",
        "MEDIA_ASSETS_FAL_QUEUE_URL",
        "MEDIA_ASSETS_FAL_REST_URL",
        "MEDIA_ASSETS_FAL_API_URL",
        "MEDIA_ASSETS_OPENAI_BASE_URL",
        "MEDIA_ASSETS_ELEVENLABS_BASE_URL",
    }
    asked = [
        ("MEDIA_ASSETS_REPLICATE_BASE_URL", "/account", f"Bearer {environment['REPLICATE_API_TOKEN']}"),
        ("MEDIA_ASSETS_FAL_QUEUE_URL", "/fal-ai/flux/requests/x", f"Key {environment['FAL_KEY']}"),
        ("MEDIA_ASSETS_OPENAI_BASE_URL", "/models", f"Bearer {environment['OPENAI_API_KEY']}"),
    ]
    statuses = [
        httpx.get(environment[base] + path, headers={"Authorization": key}).status_code for base, path, key in asked
    ]
    voices = environment["MEDIA_ASSETS_ELEVENLABS_BASE_URL"] + "/v1/models"
    statuses.append(httpx.get(voices, headers={"xi-api-key": environment["ELEVENLABS_API_KEY"]}).status_code)
    assert statuses == [200, 404, 200, 200]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eA=="}, {"Authorization": "invalid"}])
def test_without_a_key_there_is_nothing(simulator: Simulator, provider: str, headers: dict[str, str]) -> None:
    before, (path, body) = _accepted(simulator), SUBMITS[provider]

    heard = say(simulator, "POST", path, headers=headers, body=body)

    assert heard.status == 401
    assert _accepted(simulator) == before


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_says_it_is_invalid_is_refused(simulator: Simulator, provider: str) -> None:
    path, body = SUBMITS[provider]
    (name, value) = next(iter(KEYS[provider].items()))
    wrong = value[:-1] + ("b:invalid" if provider == "fal" else "invalid")

    assert say(simulator, "POST", path, headers={name: wrong}, body=body).status == 401


def test_urls_in_replies_have_the_origin_that_was_asked(simulator: Simulator) -> None:
    """Behind another port or name, URLs that led elsewhere would be dead."""
    path, body = SUBMITS["fal"]

    reply = httpx.post(simulator.url + path, json=body, headers={**KEYS["fal"], "Host": "localhost:1234"})

    assert reply.json()["status_url"].startswith("http://localhost:1234/fal-queue/")


def test_an_unknown_path_is_said_to_be_unknown(simulator: Simulator) -> None:
    reply = httpx.delete(simulator.url + "/openai/v2/everything")

    assert reply.status_code == 404
    assert "DELETE /openai/v2/everything" in reply.json()["detail"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104 - refused
def test_only_this_machine_may_ask(host: str) -> None:
    with pytest.raises(ConfigurationError, match="option host"):
        SimulatorOptions(host=host)


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SimulatorOptions(
            port=70_000,
            time_scale=0,
            latency_s={"fal": (2, 1), "bfl": (0, 1)},
            at_once={"fal": 0},
            replicate_creates_per_min=0,
        )

    told = caught.value.message
    assert [name in told for name in ("port:", "time_scale:", "'bfl'", "fal=2..1", "fal=0", "creates_per_min:")] == [
        True
    ] * 6


def test_a_taken_port_is_said_to_be_taken(simulator: Simulator) -> None:
    port = int(simulator.url.rpartition(":")[2])

    with pytest.raises(ConfigurationError, match=f"port {port}"):
        serve(SimulatorOptions(port=port), lambda _: None)


def test_a_log_that_cannot_be_kept_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(ConfigurationError, match="log cannot be kept"),
        running_simulator(SimulatorOptions(state_dir=tmp_path / "file")),
    ):
        pass


def test_the_log_stays_where_it_was_asked_for_and_goes_otherwise(tmp_path: Path) -> None:
    with running_simulator(SimulatorOptions(state_dir=tmp_path / "state")) as kept:
        submit(kept, "fal")
    with running_simulator() as passing:
        folder = passing.world.state_dir
        assert folder.is_dir()

    assert len((tmp_path / "state" / "submissions.jsonl").read_text().splitlines()) == 1
    assert not folder.exists()


def test_the_same_seed_makes_the_same_latencies() -> None:
    def runs(seed: int) -> list[float]:
        with running_simulator(SimulatorOptions(seed=seed, latency_s={"fal": (3, 9)})) as simulator:
            for _ in range(5):
                submit(simulator, "fal")
            return [job.run_s for job in simulator.world.queues["fal"].all()]

    first = runs(1)
    assert first == runs(1)
    assert first != runs(2)
    assert all(3 <= run_s <= 9 for run_s in first)
    assert len(set(first)) == 5


def test_a_client_that_speaks_no_http_harms_nobody(simulator: Simulator) -> None:
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")

    assert submit(simulator, "fal").status == 200
