"""``media-assets simulator`` as a program: what a shell reads from it, and how it ends."""

import contextlib
import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from media_assets_tests.cli.running import Cli, Ended, start

FAL = ("/fal-ai/flux/schnell", {"prompt": "a boat"})


@contextmanager
def _running(*arguments: str | Path) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """Start it on a free port; yield it with the environment that it printed."""
    with start("simulator", "--port", "0", "--print-env", *arguments) as process:
        try:
            yield process, dict(_export(process) for _ in range(10))
        finally:
            # Asked first: a killed simulator leaves its folder behind.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()


def _export(process: "subprocess.Popen[str]") -> tuple[str, str]:
    assert process.stdout is not None
    word, assignment = shlex.split(process.stdout.readline())
    assert word == "export"
    name, _, value = assignment.partition("=")
    return name, value


def _end(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGINT) -> Ended:
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


def _submit(environment: dict[str, str]) -> httpx.Response:
    path, body = FAL
    key = {"Authorization": f"Key {environment['FAL_KEY']}"}
    return httpx.post(environment["MEDIA_ASSETS_FAL_QUEUE_URL"] + path, json=body, headers=key)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_prints_its_environment_works_and_ends_when_told(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The lines come at once although the program goes on, or ``eval`` would wait for ever."""
    with _running("--state-dir", tmp_path / "state") as (process, environment):
        reply = _submit(environment)
        ended = _end(process, number)

    assert len(environment) == 10
    assert environment["MEDIA_ASSETS_OPENAI_BASE_URL"].endswith("/openai/v1")
    assert reply.status_code == 200
    (line,) = (tmp_path / "state" / "submissions.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == reply.json()["request_id"]
    assert ended.code == code
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert str(tmp_path / "state" / "submissions.jsonl") in ended.err


def test_options_reach_the_simulator(tmp_path: Path) -> None:
    rules = tmp_path / "faults.json"
    rules.write_text(json.dumps([{"fault": "noexec_503", "times": 1}]))

    with _running("--faults", rules, "--latency", "fal=300..400", "--time-scale", "1000") as (_, environment):
        origin = environment["MEDIA_ASSETS_FAL_QUEUE_URL"].removesuffix("/fal-queue")
        first, second = _submit(environment), _submit(environment)
        now_s = httpx.post(f"{origin}/_sim/clock", json={"advance_s": 500}).json()["now_s"]
        (told,) = httpx.get(f"{origin}/_sim/submissions").json()["submissions"]

    assert (first.status_code, second.status_code) == (503, 200)
    assert 300 <= told["compute_s"] <= 400
    assert now_s > 500


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--latency", "fal=1"), "PROVIDER=FROM..TO"),
        (("--latency", "bfl=1..2"), "'bfl' is none of"),
        (("--latency", "fal=2..1"), "no range"),
        (("--time-scale", "0"), "time_scale"),
        (("--faults", "/nowhere/faults.json"), "cannot be read"),
        (("--port", "99999"), "port"),
    ],
)
def test_a_wrong_option_is_told_in_words(cli: Cli, arguments: tuple[str, ...], complaint: str) -> None:
    ended = cli("simulator", *arguments)

    assert ended.code == 2
    assert complaint in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "no JSON"), ("{}", "a list of rules"), ('[{"fault": "400"}, {"fault": "x"}]', "[1].fault")],
)
def test_a_wrong_file_of_faults_is_told_in_words(cli: Cli, tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "faults.json").write_text(content)

    ended = cli("simulator", "--faults", tmp_path / "faults.json")

    assert ended.code == 2
    assert complaint in ended.err
