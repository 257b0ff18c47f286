"""The log of submissions: on disk before the reply, readable at any time, and whole after a crash."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.simulator.clock import Clock
from media_assets.simulator.submissions import SubmissionLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SubmissionLog]:
    opened = SubmissionLog(tmp_path, Clock())
    yield opened
    opened.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_accepted_submission_is_on_disk_at_once(log: SubmissionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is what a client's claims are held against, so that it must survive whatever happens next."""
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(log.path.read_text())

    monkeypatch.setattr(os, "fsync", watch)

    number = log.accept("fal", "fal-ai/flux/dev", "/fal-ai/flux/dev", "id-1", {"prompt": "a boat"})

    assert number == 1
    (line,) = [json.loads(line) for line in synced[-1].splitlines()]
    assert {**line, "at": "", "at_s": 0} == {
        "event": "accepted",
        "n": 1,
        "at": "",
        "at_s": 0,
        "provider": "fal",
        "model": "fal-ai/flux/dev",
        "endpoint": "/fal-ai/flux/dev",
        "id": "id-1",
        "input": {"prompt": "a boat"},
    }


def test_outcomes_are_further_lines(log: SubmissionLog) -> None:
    log.accept("fal", "m", "/m", "id-1", {})
    log.accept("fal", "m", "/m", "id-2", {})

    log.settle(2, "succeeded", compute_s=1.5)

    assert [line["event"] for line in _lines(log.path)] == ["accepted", "accepted", "outcome"]
    assert _lines(log.path)[-1] | {"at": ""} == {
        "event": "outcome",
        "n": 2,
        "at": "",
        "state": "succeeded",
        "compute_s": 1.5,
    }
    assert [(one.id, one.state, one.outcome) for one in log.all()] == [
        ("id-1", "accepted", {}),
        ("id-2", "succeeded", {"compute_s": 1.5}),
    ]
    assert log.text() == log.path.read_text()


def test_pictures_inside_an_input_are_told_by_their_digest(log: SubmissionLog) -> None:
    """A log of megabytes a line is read by nobody; two different pictures still differ in it."""
    given = {"input_image": "data:image/png;base64," + "A" * 5000, "prompt": "data: no URI", "deep": [{"a": "data:,x"}]}

    log.accept("replicate", "m", "/v1/predictions", "id", given)

    (line,) = _lines(log.path)
    assert line["input"]["input_image"].startswith("data:image/png;base64,sha256:")
    assert line["input"]["input_image"].endswith(":5022")
    assert line["input"]["deep"][0]["a"].startswith("data:,sha256:")
    assert len(json.dumps(line)) < 600


def test_any_text_can_be_logged(log: SubmissionLog) -> None:
    text = "line\nbreak \u2028 \ud800 👩‍🚀"

    log.accept("openai", "m", "/v1/audio/speech", "id", {"input": text})

    (line,) = _lines(log.path)
    assert line["input"]["input"] == text


def test_a_later_simulator_goes_on_where_the_log_ends(tmp_path: Path) -> None:
    """The last line may be cut by a crash: it was never answered for, and must not spoil the next one."""
    first = SubmissionLog(tmp_path, Clock())
    first.accept("fal", "m", "/m", "id-1", {"a": 1})
    first.settle(1, "failed", compute_s=2.0)
    first.accept("fal", "m", "/m", "id-2", {})
    first.close()
    with first.path.open("a") as file:
        file.write('{"event":"accepted","n":3,"at"')

    second = SubmissionLog(tmp_path, Clock())
    number = second.accept("fal", "m", "/m", "id-3", {})
    second.close()

    third = SubmissionLog(tmp_path, Clock())
    found = [(one.n, one.id, one.state, one.outcome) for one in third.all()]
    third.close()
    assert number == 3
    assert found == [
        (1, "id-1", "failed", {"compute_s": 2.0}),
        (2, "id-2", "accepted", {}),
        (3, "id-3", "accepted", {}),
    ]
