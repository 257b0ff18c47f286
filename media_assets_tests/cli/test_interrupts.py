"""Ctrl-C and SIGTERM during a run: cleaned up, told, and gone on with by the next run."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media_assets_tests.cli.running import CHEAP, CHEAP_OPTIONS, call, environment, start
from media_assets_tests.simulated import FAST, open_market

_LONG = {
    "key": "long",
    "prompt": "a boat",
    "size_px": "512x512",
    "clip_s": 120,
    "params": {"video": {"fps": 60}},
}
"""A silent film whose clip takes far longer than a test would wait."""


def _start_and_wait(home: Path, file: Path, line: str) -> "subprocess.Popen[str]":
    """Start ``generate`` and return when it has said ``line``."""
    process = start("generate", file, "--json", MEDIA_ASSETS_HOME=home)
    assert process.stderr is not None
    for said in process.stderr:
        if line in said:
            return process
    pytest.fail(f"{line!r} was never said")


def _end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A prompt that takes long and, behind it, one that does not."""
    path = tmp_path / "prompts.jsonl"
    quick = {**CHEAP, "key": "quick", "prompt": "b"}
    path.write_text(f"{json.dumps(_LONG)}\n{json.dumps(quick)}\n")
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_cleanly_and_a_rerun_goes_on(
    tmp_path: Path, prompts: Path, number: signal.Signals, code: int
) -> None:
    """What was finished is kept and said, nothing half made stays, and impatience does not skip the clean-up."""
    home = tmp_path / "home"
    process = _start_and_wait(home, prompts, "quick: merged: local:merge")
    assert call("status", "long", "--json", MEDIA_ASSETS_HOME=home).only()["state"] == "running"

    process.send_signal(number)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    ended, out, err = _end(process)

    assert ended == code
    long, quick = map(json.loads, out.splitlines())
    assert (long["key"], long["film"], long["error"]["class"]) == ("long", None, "StoppedError")
    assert long["error"]["rerun"] == "resume"
    assert long["steps"][0]["artifact"]["sha256"]
    assert quick["film"]["path"] == str(home / "films" / "quick.mp4")
    assert "long: finished and kept: image" in err
    assert "1 of 2 films finished" in err
    assert "Traceback" not in err
    assert [path.name for folder in ("scratch", "owners") for path in (home / folder).glob("*")] == []
    assert call("status", "long", "--json", MEDIA_ASSETS_HOME=home).only()["state"] == "pending"

    rerun = call("generate", prompts, "--only", "image", "--json", MEDIA_ASSETS_HOME=home)

    assert rerun.code == 0
    assert rerun.objects()[0]["steps"][0]["cached"]
    assert all(step["cached"] for step in rerun.objects()[1]["steps"])


def test_a_run_is_seen_from_elsewhere(tmp_path: Path, prompts: Path) -> None:
    """Somebody else's terminal shows what is at work, how far it is, and that its process lives."""
    home = tmp_path / "home"
    process = _start_and_wait(home, prompts, "long: video: started")
    drain = threading.Thread(target=lambda: list(process.stderr or ()), daemon=True)
    drain.start()

    deadline = time.monotonic() + 60
    video: dict[str, object] = {}
    while not video.get("fraction") and time.monotonic() < deadline:
        time.sleep(0.3)
        video = call("status", "long", "--json", MEDIA_ASSETS_HOME=home).only()["steps"][1]
    shown = call("status", MEDIA_ASSETS_HOME=home)
    process.kill()
    process.wait()
    drain.join()
    if process.stdout is not None:
        process.stdout.close()
    if process.stderr is not None:
        process.stderr.close()
    after = call("status", "long", "--json", MEDIA_ASSETS_HOME=home).only()

    assert (video["state"], video["owner_alive"]) == ("in progress", True)
    assert isinstance(video["fraction"], float)
    assert 0 < video["fraction"] < 1
    assert "in progress" in shown.out
    assert (after["state"], after["steps"][1]["state"], after["steps"][1]["owner_alive"]) == (
        "interrupted",
        "interrupted",
        False,
    )


def test_a_signal_says_what_still_runs_and_calls_back_what_is_queued(tmp_path: Path) -> None:
    """Money is at work elsewhere: what it may cost, how long it is kept, and that the next run has it free."""
    home, file = tmp_path / "home", tmp_path / "prompts.jsonl"
    routes = {"runs": "replicate:sdxl", "queued": "fal:flux-schnell"}
    rows = [{"key": key, "prompt": key, "routes": {"image": [model]}} for key, model in routes.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    faults = [{"provider": "replicate", "fault": "run_stuck"}, {"provider": "fal", "fault": "queue_stuck"}]
    with open_market(home, faults=faults) as market:
        settings = {**FAST, "MEDIA_ASSETS_CANCEL_GRACE_S": "3", **market.simulator.environment()}
        process = start("generate", file, "--json", cwd=None, MEDIA_ASSETS_HOME=home, **settings)
        deadline = time.monotonic() + 60
        while len(market.accepted()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)

        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        ended, out, err = _end(process)
        states = {one["provider"]: (one["state"], one["id"]) for one in market.accepted()}

    (_, running_id), (fal_state, _) = states["replicate"], states["fal"]
    assert ended == 130
    assert fal_state == "canceled"
    assert "queued: image: called back, free, because the run was stopped" in err
    assert f"runs: image: prediction {running_id} of replicate:sdxl is still open at replicate" in err
    for said in ("it costs at most 0.084 USD", "is kept there for 1 h once", "`media-assets janitor`", "that is free"):
        assert said in err
    assert err.index("stopping: what waits") < err.index("still stopping")
    runs, queued = map(json.loads, out.splitlines())
    assert "open" not in queued
    (left,) = runs["open"]
    assert (left["step"], left["prediction_id"], left["kept_s"]) == ("image", running_id, 3600)
    assert left["at_most_usd"] == "0.084"
    assert datetime.fromisoformat(left["kept_until"]) > datetime.now(UTC)


@pytest.mark.parametrize("after_s", [0.4, 0.8])
def test_a_signal_before_the_work_begins_ends_it_too(tmp_path: Path, after_s: float) -> None:
    """Libraries take a second to load; an early Ctrl-C must not show their insides."""
    process = start("generate", "--prompt", "a", "--json", MEDIA_ASSETS_HOME=tmp_path / "home")
    time.sleep(after_s)

    process.send_signal(signal.SIGTERM)
    code, _, err = _end(process)

    assert code in {143, -signal.SIGTERM}
    assert "Traceback" not in err


_SIGNALED_WHILE_IT_LOADS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "media_assets.studio":
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.sigtimedwait([], 1)
            except BaseException as raised:
                {then}

sys.meta_path.insert(0, Finder())
from media_assets.cli import main
main()
"""


@pytest.mark.parametrize("then", ["pass", "raise RuntimeError('while a class was made') from raised"])
def test_a_signal_of_which_a_library_makes_something_else_ends_it_too(tmp_path: Path, then: str) -> None:
    """Pydantic makes an error of its own of whatever is raised while a class is made; a weak reference swallows it."""
    program = (sys.executable, "-c", _SIGNALED_WHILE_IT_LOADS.format(then=then))
    arguments = ("generate", "--prompt", "a", *CHEAP_OPTIONS)
    given = environment(MEDIA_ASSETS_HOME=tmp_path / "home")
    done = subprocess.run([*program, *arguments], env=given, capture_output=True, text=True, check=False)

    assert done.returncode == 143, done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "films").exists()
