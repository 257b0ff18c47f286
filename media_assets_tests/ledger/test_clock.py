"""Elapsed time by a clock that cannot be set."""

import sys
import time
from pathlib import Path

import pytest

from media_assets.ledger import clock


def test_time_passes() -> None:
    """As much as has passed, in any process of this machine."""
    before = clock.mark()
    time.sleep(0.05)

    assert 0.04 < clock.elapsed_s(before) < 30


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour that never was must not make a submission old enough to be sent again."""
    before = clock.mark()
    monkeypatch.setattr(time, "time", lambda: 10.0**10)

    assert clock.elapsed_s(before) < 30


def test_a_mark_from_before_the_last_start_is_as_old_as_that() -> None:
    """Fewer seconds than have passed: one waits rather too long."""
    running_s = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    assert clock.elapsed_s("another-boot:5.0") == pytest.approx(running_s, abs=5)


def test_where_the_kernel_names_no_boot_its_moment_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MacOS has no boot id; a mark must still be the same in every process, and of this boot."""
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "missing")
    clock._boot_id.cache_clear()
    try:
        before = clock.mark()
        clock._boot_id.cache_clear()  # as another process

        assert before.startswith(f"{sys.platform}-")
        assert clock.elapsed_s(before) < 30
    finally:
        clock._boot_id.cache_clear()
