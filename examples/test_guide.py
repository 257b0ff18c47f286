# ruff: noqa: S101 - tests assert
"""The tests of a guide to multi-model pipelines, for films: every call goes to the simulator, and none costs a cent.

The guide wraps every call in one retry helper. Here is the one correction to it, because half of what "failed" is
billed all the same: a poll, a refused connection and a 429 are tried again; a *submit* that timed out never is. It may
have been accepted, and sending it again may pay twice.

``simulator``, ``studio`` and ``media_home`` are fixtures of the plugin ``media_assets.testing``.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import Catalog
from media_assets.errors import (
    OutputLostError,
    PredictionFailedError,
    ProviderUnavailableError,
    RequestRejectedError,
    UnknownOutcomeError,
)
from media_assets.film import Film
from media_assets.media.probe import probe
from media_assets.prompt import Prompt, Step
from media_assets.settings import load_settings
from media_assets.simulator.server import SimulatorOptions, running_simulator
from media_assets.studio import MakeOptions, Studio, open_studio
from media_assets.testing import SimulatedProviders

IMAGE, CLIP, VOICE = "replicate:sdxl", "replicate:stable-video-diffusion", "elevenlabs:multilingual-v2"


def a_cat(
    *, image: Sequence[str] = (IMAGE,), video: Sequence[str] = (CLIP,), audio: Sequence[str] = (VOICE,)
) -> Prompt:
    """Return the guide's prompt; each step's models are tried in their order."""
    routes = {"image": list(image), "video": list(video), "audio": list(audio)}
    return Prompt.model_validate({"key": "cat", "prompt": "a cat", "script": "This is a cat.", "routes": routes})


def make(studio: Studio, prompt: Prompt, *, wanted: Sequence[Step] = tuple(Step), **options: Any) -> Film:
    """Make a film, or some of its steps; an error is raised, and what was made until then is kept."""
    return asyncio.run(studio.make(prompt, wanted=wanted, options=MakeOptions(**options)))


def hurry(studio: Studio, model: str, **deadlines_s: float) -> None:
    """Give a model less time than its entry in the catalog does."""
    catalog = studio.planner.catalog
    studio.planner.catalog = Catalog([*catalog, catalog.get(model).model_copy(update=deadlines_s)])


# "Unit Test Individual Steps"


@pytest.mark.parametrize("model", [IMAGE, "fal:fast-sdxl", "openai:gpt-image-2"])
def test_generate_image_returns_a_valid_image(simulator: SimulatedProviders, studio: Studio, model: str) -> None:
    """A list of URLs, objects with a URL, base64: whatever a provider answers, a step is a file that was looked at."""
    film = make(studio, a_cat(image=[model]), wanted=[Step.IMAGE])

    image = film.steps[Step.IMAGE]
    assert image.path is not None
    assert min(probe(image.path).width_px or 0, probe(image.path).height_px or 0) >= 512
    assert simulator.posts() == 1


def test_a_refusal_is_tried_again(simulator: SimulatedProviders, studio: Studio) -> None:
    """429: nothing was accepted, so sending it again is safe. Backoff keeps to what the provider asks for."""
    simulator.fail_times(2, call="submit", fault="429_header", seconds=0.3)

    film = make(studio, a_cat(), wanted=[Step.IMAGE])

    assert simulator.posts() == 3, "two refusals and the one that was accepted"
    assert len(simulator.submissions) == 1
    assert film.steps[Step.IMAGE].duration_s >= 2 * 0.3
    assert film.cost_usd == simulator.bill_usd


@pytest.mark.parametrize("fault", ["poll_5xx", "exec_and_drop", "429_header"])
def test_a_poll_is_tried_again(simulator: SimulatedProviders, studio: Studio, fault: str) -> None:
    """Asking how it stands costs nothing, however often."""
    simulator.fail_times(2, call="poll", fault=fault)

    make(studio, a_cat(), wanted=[Step.IMAGE])

    assert simulator.requests("replicate", call="poll") >= 3
    assert simulator.posts() == 1


def test_a_refused_connection_is_tried_again(
    simulator: SimulatedProviders, media_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has left this machine: once the provider is back, the same submit goes out, for the first time."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        monkeypatch.setenv("MEDIA_ASSETS_REPLICATE_BASE_URL", f"http://127.0.0.1:{port}/replicate/v1")
        monkeypatch.setenv("MEDIA_ASSETS_RETRY_INTERVAL_S", "0.2")

        def wait_until_refused(studio: Studio) -> None:
            while not any(row.attempts > 1 for row in studio.ledger.purchases.search()):
                time.sleep(0.02)

        async def make_while_it_comes_back(studio: Studio) -> int:
            making = asyncio.ensure_future(studio.make(a_cat(), wanted=[Step.IMAGE]))
            await asyncio.to_thread(wait_until_refused, studio)
            reserved.close()
            with running_simulator(SimulatorOptions(port=port)) as late:
                await making
                return len(late.world.submissions.all())

        with open_studio(media_home, load_settings().studio_options()) as studio:
            accepted = asyncio.run(asyncio.wait_for(make_while_it_comes_back(studio), timeout=30))

    assert accepted == 1
    assert simulator.posts() == 0, "the other simulator is not the one that was down"


@pytest.mark.parametrize("fault", ["exec_and_hang", "exec_and_drop", "exec_and_503_nginx"])
def test_a_submit_that_timed_out_is_never_sent_again(simulator: SimulatedProviders, studio: Studio, fault: str) -> None:
    """The correction: it was accepted and is billed, only the answer was lost. It is found in the provider's list."""
    hurry(studio, IMAGE, post_deadline_s=0.3)
    simulator.fail_times(1, call="submit", fault=fault)

    film = make(studio, a_cat(), wanted=[Step.IMAGE])

    assert simulator.posts() == 1
    assert len(simulator.submissions) == 1, "the provider has accepted it, and bills it"
    assert film.cost_usd == simulator.bill_usd


def test_a_submit_that_timed_out_where_nothing_is_listed_is_a_persons_to_decide(
    simulator: SimulatedProviders, studio: Studio
) -> None:
    """OpenAI keeps no list: nobody can know whether it was accepted, so nothing is sent again."""
    simulator.fail_times(1, call="submit", fault="exec_and_drop")
    cat = a_cat(image=["openai:gpt-image-2"])

    for options in ({}, {}, {"retry_failed": True}):
        with pytest.raises(UnknownOutcomeError):
            make(studio, cat, wanted=[Step.IMAGE], **options)

    assert simulator.posts() == 1


def test_a_missing_output_ends_the_chain_before_the_next_purchase(
    simulator: SimulatedProviders, studio: Studio
) -> None:
    """The guide's "returned no output": the clip is not bought, and the picture is not bought a second time."""
    simulator.fail_times(1, call="poll", fault="data_removed")

    for _ in range(2):
        with pytest.raises(OutputLostError):
            make(studio, a_cat(audio=["local:silence"]))

    assert [one.model for one in simulator.submissions] == ["stability-ai/sdxl"]


# "Integration Test Full Pipeline"


def test_the_full_pipeline_completes(simulator: SimulatedProviders, studio: Studio) -> None:
    """Four steps, one film, and a cost that is the providers' bill to the last micro-dollar.

    Voice and clip are made side by side: neither needs the other, so nobody waits for the sum of both.
    """
    film = make(studio, a_cat())

    assert set(film.steps) == {Step.IMAGE, Step.VIDEO, Step.AUDIO, Step.MERGED}
    assert film.path is not None
    info = probe(film.path)
    assert (info.video_codec, info.audio_codec) == ("h264", "aac")
    assert film.cost_usd == simulator.bill_usd > 0
    assert all(step.cost_usd <= step.estimate_usd for step in film.steps.values())
    order = {one.model: one for one in simulator.submissions}
    voice, clip = order["eleven_multilingual_v2"], order["stability-ai/stable-video-diffusion"]
    assert voice.at_s < clip.outcome["finished_s"]


def test_a_rerun_resumes_from_the_checkpoint(simulator: SimulatedProviders, studio: Studio) -> None:
    """The clip failed; the picture is there, and only the clip is paid for again, because the user says so."""
    simulator.fail_times(1, model=CLIP, fault="run_failed")
    prompt = a_cat(audio=["local:silence"])
    with pytest.raises(PredictionFailedError):
        make(studio, prompt)
    saved_usd = simulator.bill_usd

    film = make(studio, prompt, retry_failed=True)

    assert film.path is not None
    assert {step for step, result in film.steps.items() if not result.cached} == {Step.VIDEO, Step.MERGED}
    assert [one.model.partition("/")[2] for one in simulator.submissions] == [
        "sdxl",
        "stable-video-diffusion",
        "stable-video-diffusion",
    ]
    assert film.spent_usd == simulator.bill_usd - saved_usd


def test_a_rerun_waits_on_for_what_was_in_flight(simulator: SimulatedProviders, studio: Studio) -> None:
    """Giving up waiting is not failing: the prediction's id is in the ledger, and a rerun asks for it again."""
    hurry(studio, IMAGE, poll_error_budget_s=0.2)
    simulator.faults({"call": "poll", "fault": "noexec_503"})
    with pytest.raises(ProviderUnavailableError):
        make(studio, a_cat(), wanted=[Step.IMAGE])
    simulator.faults()

    film = make(studio, a_cat(), wanted=[Step.IMAGE])

    assert film.steps[Step.IMAGE].path is not None
    assert simulator.posts() == 1


def test_a_late_failure_costs_nothing_to_repair(simulator: SimulatedProviders, studio: Studio) -> None:
    """The guide's cascade: 0.65 USD spent and nothing to show for it. Here what was paid for stays."""
    simulator.fail_times(1, model=VOICE, fault="400")
    with pytest.raises(RequestRejectedError):
        make(studio, a_cat())
    paid_usd = simulator.bill_usd

    film = make(studio, a_cat(), retry_failed=True)

    # What was still queued when the voice failed was called back, free; what ran was kept, and is not bought again.
    assert film.cost_usd == simulator.bill_usd == paid_usd + film.spent_usd


def test_it_degrades_openly_in_place_of_failing(simulator: SimulatedProviders, studio: Studio) -> None:
    """A still picture that moves, and a silent track: both free, both said aloud, and nobody is asked again."""
    simulator.faults({"provider": "fal", "fault": "insufficient_credit"}, {"model": VOICE, "fault": "content_rejected"})
    prompt = a_cat(video=["fal:wan-i2v", "local:ken-burns"], audio=[VOICE, "local:silence"])

    film = make(studio, prompt)

    assert film.path is not None
    assert film.degraded
    video, audio = film.steps[Step.VIDEO], film.steps[Step.AUDIO]
    assert (video.model, audio.model) == ("local:ken-burns", "local:silence")
    assert "InsufficientCreditError" in (video.reason or "")
    assert "ContentRejectedError" in (audio.reason or "")
    asked = simulator.requests()
    assert make(studio, prompt).degraded
    assert simulator.requests() == asked


# "Mock Expensive Calls": there are no mocks. The simulator bills, so a call too many is seen in its bill.


def test_each_provider_is_called_once(simulator: SimulatedProviders, studio: Studio) -> None:
    """By the second at Replicate, by the request at fal, by the character at ElevenLabs; and a second run is free."""
    prompt = a_cat(video=["fal:stable-video"])
    film = make(studio, prompt)
    assert {name: simulator.posts(name) for name in ("replicate", "fal", "elevenlabs")} == {
        "replicate": 1,
        "fal": 1,
        "elevenlabs": 1,
    }
    assert film.cost_usd == simulator.bill_usd
    assert film.steps[Step.AUDIO].cost_usd == Decimal("0.0001") * len("This is a cat.")
    asked = simulator.requests()

    again = make(studio, prompt)

    assert simulator.requests() == asked
    assert again.cost_usd == film.cost_usd
    assert again.spent_usd == 0
