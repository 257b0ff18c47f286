"""The plugin for users' tests: what its simulator can be told, and its tiny files. Guards: ``test_testing_guards``."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from media_assets.catalog import load_catalog
from media_assets.errors import ConfigurationError, UnknownModelError
from media_assets.media.probe import probe
from media_assets.media.sample import sound_levels, video_motion
from media_assets.simulator.server import SimulatorOptions, running_simulator
from media_assets.testing import SimulatedProviders, tiny_clip, tiny_image, tiny_voice

PAID = [spec for spec in load_catalog() if spec.provider != "local"]


@pytest.fixture
def providers() -> Iterator[SimulatedProviders]:
    with running_simulator(SimulatorOptions(latency_s={"replicate": (10, 10)})) as running:
        yield SimulatedProviders(running)


def _ask(providers: SimulatedProviders) -> httpx.Response:
    """Ask for a picture."""
    url = f"{providers.url}/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
    head = {"authorization": "Bearer r8_simulated"}
    return httpx.post(url, headers=head, json={"input": {"prompt": "a cat"}})


def _submit(providers: SimulatedProviders) -> int:
    return _ask(providers).status_code


def test_the_next_calls_fail_and_then_no_more(providers: SimulatedProviders) -> None:
    """By default in the way that is safe to repeat, and with no wait."""
    providers.fail_times(2)

    assert [_submit(providers) for _ in range(3)] == [429, 429, 201]
    assert (providers.posts(), providers.posts("replicate"), providers.posts("fal")) == (3, 3, 0)
    assert [one.model for one in providers.submissions] == ["black-forest-labs/flux-schnell"]


def test_a_refusal_asks_to_wait_only_where_the_test_wants_it(providers: SimulatedProviders) -> None:
    """A second of waiting in each test adds up."""
    providers.fail_times(1)
    providers.fail_times(1, seconds=7)

    assert [_ask(providers).headers["retry-after"] for _ in range(2)] == ["0", "7"]


def test_what_ended_by_itself_is_seen_to_have_ended(providers: SimulatedProviders) -> None:
    """Runs go on while nobody asks for them."""
    _submit(providers)
    providers._world.clock.advance(11)

    assert [one.state for one in providers.submissions] == ["succeeded"]


def test_failures_follow_each_other_in_the_order_they_were_asked_for(providers: SimulatedProviders) -> None:
    """A story of failures is told from its beginning."""
    providers.fail_times(1)
    providers.fail_times(2, fault="noexec_503", model="replicate:flux-schnell")
    providers.fail_times(0, fault="400")

    assert [_submit(providers) for _ in range(4)] == [429, 503, 503, 201]


def test_a_later_failure_does_not_bring_an_earlier_one_back(providers: SimulatedProviders) -> None:
    """What has happened has happened."""
    providers.fail_times(2)
    before = [_submit(providers), _submit(providers)]

    providers.fail_times(1, provider="fal")

    assert [*before, _submit(providers)] == [429, 429, 201]


def test_faults_take_the_place_of_all_others(providers: SimulatedProviders) -> None:
    """And without any, everything works again."""
    providers.fail_times(5)
    providers.faults({"provider": "replicate", "fault": "noexec_500"})
    broken = [_submit(providers) for _ in range(2)]

    providers.faults()

    assert [*broken, _submit(providers)] == [500, 500, 201]


def test_a_model_is_named_as_in_a_route(providers: SimulatedProviders) -> None:
    """Nobody should have to know that a route's name is not the one the provider's API knows."""
    for spec in PAID:
        providers.fail_times(1, model=spec.id)

    rules = providers._world.faults.listing()
    assert [rule["provider"] for rule in rules] == [spec.provider for spec in PAID]
    assert all(rule["model"] in {spec.endpoint, spec.version} for rule, spec in zip(rules, PAID, strict=True))


def test_a_failure_that_would_never_happen_is_refused(providers: SimulatedProviders) -> None:
    """A test whose failure never comes passes for nothing."""
    never: list[dict[str, Any]] = [
        {"model": "local:landscape"},
        {"model": "stability-ai/sdxxl"},
        {"model": "replicate:sdxl", "provider": "fal"},
        {"provider": "nobody"},
        {"fault": "bad weather"},
        {"call": "download", "fault": "429_header"},
    ]
    for told in never:
        with pytest.raises(ConfigurationError):
            providers.fail_times(1, **told)
    with pytest.raises(UnknownModelError, match="replicate:sdxl"):
        providers.fail_times(1, model="replicate:sdxxl")
    with pytest.raises(ConfigurationError, match="times"):
        providers.fail_times(-1)


def test_time_can_be_skipped_and_then_it_is_billed(providers: SimulatedProviders) -> None:
    """A run of ten seconds takes none."""
    _submit(providers)
    before_usd = providers.bill_usd

    providers.advance(11)

    assert before_usd == 0
    assert providers.bill_usd == Decimal("0.003")
    assert providers.submissions[0].state == "succeeded"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_tiny_image_is_a_picture_of_its_size(tmp_path: Path, suffix: str) -> None:
    path = tiny_image(tmp_path / f"cat.{suffix}", size_px=(96, 64), seed=3)

    with Image.open(path) as image:
        image.load()
        assert image.size == (96, 64)
        assert len(image.convert("L").getcolors() or []) > 10
    assert tiny_image(tmp_path / f"dog.{suffix}", size_px=(96, 64), seed=4).read_bytes() != path.read_bytes()


def test_a_tiny_clip_moves(tmp_path: Path) -> None:
    path = tiny_clip(tmp_path / "cat.mp4", size_px=(96, 64), duration_s=1.5)

    info = probe(path)
    assert (info.width_px, info.height_px, info.video_codec) == (96, 64, "h264")
    assert info.video_duration_s == pytest.approx(1.5, abs=0.01)
    assert video_motion(path, info).motion_mean > 0


@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg", "opus", "aac"])
def test_a_tiny_voice_is_heard(tmp_path: Path, suffix: str) -> None:
    path = tiny_voice(tmp_path / f"cat.{suffix}", duration_s=1.0)

    info = probe(path)
    assert info.audio_duration_s == pytest.approx(1.0, abs=0.15)
    assert sound_levels(path, info).rms_dbfs > -40


@pytest.mark.parametrize("make", [tiny_image, tiny_clip, tiny_voice])
def test_a_tiny_file_of_no_known_kind_is_refused(tmp_path: Path, make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"cat\.xyz cannot be made; its name must end in one of \."):
        make(tmp_path / "cat.xyz")
    assert list(tmp_path.iterdir()) == []


def test_without_pytest_it_says_what_is_missing() -> None:
    """The package does not bring it: who runs no tests needs none."""
    code = "import sys; sys.modules['pytest'] = None; import media_assets.testing"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert run.stderr.rstrip().endswith("which media_assets does not bring: install pytest.")


def test_the_package_itself_does_not_know_it() -> None:
    """Installing media_assets brings no pytest and changes nobody's test runs; nothing in it imports the plugin."""
    wanted = importlib.metadata.requires("media_assets") or []
    package = Path(__file__).resolve().parents[1] / "media_assets"
    importers = [path for path in package.rglob("*.py") if "media_assets.testing" in path.read_text(encoding="utf-8")]

    assert not [one for one in wanted if one.startswith("pytest") and "extra ==" not in one]
    assert {point.group for point in importlib.metadata.distribution("media_assets").entry_points} == {
        "console_scripts"
    }
    assert [path.name for path in importers] == ["testing.py"]
