"""The official ``replicate`` package 1.0.7 against the simulator: every error body, as the package's own exception."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pydantic.v1
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.replicate_files import LARGEST_BYTES
from media_assets.simulator.server import Simulator, running_simulator
from media_assets_tests.conformance.conftest import TIME_SCALE, Fail
from media_assets_tests.conformance.replicate_sdk import BARN, SDXL, SVD, open_client


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[Client]:
    with open_client(simulator) as one:
        yield one


class Refusal(NamedTuple):
    """A fault, and the error it becomes."""

    fault: str
    status: int
    title: str | None = None
    said: str = ""


REFUSALS = [
    Refusal("insufficient_credit", 402, "Insufficient credit", "insufficient credit"),
    Refusal("retired_404", 404, None, "could not be found"),
    Refusal("429_body", 429, None, r"resets in ~30s"),
    Refusal("429_header", 429, None, "throttled"),
    Refusal("429_date", 429, None, "throttled"),
    Refusal("400", 400, "Bad request"),
    Refusal("noexec_500", 500, "Internal server error"),
    Refusal("noexec_503", 503, "Service unavailable"),
]


def by_version(client: Client) -> None:
    client.predictions.create(version=SDXL, input=BARN)


def by_name(client: Client) -> None:
    client.models.predictions.create("black-forest-labs/flux-dev", {"prompt": "a barn"})


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.fault)
@pytest.mark.parametrize("create", [by_version, by_name])
def test_a_refusal_is_the_packages_own_error(
    client: Client,
    fail: Fail,
    posts: Callable[[], int],
    refusal: Refusal,
    create: Callable[[Client], None],
) -> None:
    fail(refusal.fault, seconds=30)

    with pytest.raises(ReplicateError) as refused:
        create(client)

    assert (refused.value.status, refused.value.title) == (refusal.status, refusal.title)
    assert re.search(refusal.said, refused.value.detail or "")
    assert posts() == 1


@pytest.mark.parametrize("token", ["r8_invalid", "sk-another-providers"])
def test_a_bad_key_is_unauthenticated(simulator: Simulator, token: str) -> None:
    with open_client(simulator, token) as client, pytest.raises(ReplicateError) as refused:
        by_version(client)

    assert (refused.value.status, refused.value.title) == (401, "Unauthenticated")
    assert refused.value.detail == "You did not pass a valid authentication token"


@pytest.mark.parametrize(
    ("version", "given", "title", "said"),
    [
        ("0" * 64, BARN, "Invalid version or not permitted", "does not exist"),
        ("stability-ai/sdxl", BARN, "Invalid version or not permitted", "does not exist"),
        (SDXL, {"num_outputs": 9}, "Input validation failed", r"- input\.num_outputs: Must be less than or equal to 4"),
        (SDXL, {"scheduler": "magic"}, "Input validation failed", r"- input\.scheduler: .* one of the following"),
        (SDXL, {"colour": "red"}, "Input validation failed", "- input: Additional property colour is not allowed"),
        (SVD, {}, "Input validation failed", "- input: input_image is required"),
    ],
)
def test_an_unusable_submission_is_unprocessable(
    client: Client, version: str, given: dict[str, Any], title: str, said: str
) -> None:
    with pytest.raises(ReplicateError) as refused:
        client.predictions.create(version=version, input=given)

    assert (refused.value.status, refused.value.title) == (422, title)
    assert re.search(said, refused.value.detail or "")


def test_a_community_model_has_no_official_route(client: Client) -> None:
    with pytest.raises(ReplicateError) as refused:
        client.models.predictions.create("stability-ai/sdxl", dict(BARN))

    assert refused.value.status == 404


def test_a_file_that_is_too_large_is_the_packages_own_error(client: Client) -> None:
    with pytest.raises(ReplicateError) as refused:
        client.files.create(io.BytesIO(bytes(LARGEST_BYTES)), filename="large.bin")

    assert (refused.value.status, refused.value.detail) == (413, "Files must be less than 100MB in size")


def test_a_gateways_page_is_an_error_without_detail(client: Client, fail: Fail) -> None:
    fail("exec_and_503_nginx")
    with pytest.raises(ReplicateError) as refused:
        client.predictions.create(version=SDXL, input=BARN)

    assert (refused.value.status, refused.value.title, refused.value.detail) == (503, None, None)


def test_an_unknown_prediction_is_not_found(client: Client) -> None:
    for ask in (client.predictions.get, client.predictions.cancel):
        with pytest.raises(ReplicateError) as refused:
            ask("nobody")
        assert (refused.value.status, refused.value.detail) == (404, "The requested resource could not be found.")


@pytest.mark.parametrize(("fault", "tries"), [("429_header", 2), ("noexec_503", 2), ("noexec_500", 1)])
def test_a_question_is_asked_again_as_the_package_does(
    client: Client, fail: Fail, simulator: Simulator, fault: str, tries: int
) -> None:
    prediction = client.predictions.create(version=SDXL, input=BARN)
    fail(fault, call="poll", seconds=0, times=1)
    before = _polls(simulator)

    if tries > 1:
        prediction.reload()
    else:
        with pytest.raises(ReplicateError):
            prediction.reload()

    assert _polls(simulator) - before == tries


def _polls(simulator: Simulator) -> int:
    return sum(
        times
        for kind, times in simulator.world.received().items()
        if (kind.provider, kind.call) == ("replicate", "poll")
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("run_failed", "CUDA out of memory"),
        ("content_rejected", r"flagged as sensitive.*\(E005\)"),
        ("moderation_after_run", r"flagged as sensitive.*\(E005\)"),
    ],
)
@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "polling"])
def test_a_failed_prediction_is_a_model_error(
    client: Client,
    fail: Fail,
    fault: str,
    said: str,
    wait: bool,  # noqa: FBT001
) -> None:
    fail(fault)
    with pytest.raises(ModelError, match=said) as failed:
        client.run("black-forest-labs/flux-dev", input={"prompt": "a barn"}, wait=wait)

    assert (failed.value.prediction.status, failed.value.prediction.output) == ("failed", None)


def test_an_unreadable_input_fails_in_the_model(client: Client) -> None:
    with pytest.raises(ModelError, match="cannot identify image file"):
        client.run(f"stability-ai/stable-video-diffusion:{SVD}", input={"input_image": io.BytesIO(b"no picture")})


def test_the_package_rejects_an_aborted_prediction() -> None:
    """``aborted`` is in the specification and not in the package's list, so our adapter is tested with it alone.

    One such prediction also makes the package's list unusable: hence a simulator of its own.
    """
    options = SimulatorOptions(time_scale=TIME_SCALE, faults=[{"fault": "aborted"}])
    with running_simulator(options) as simulator, open_client(simulator) as client:
        prediction = client.predictions.create(version=SDXL, input=BARN)
        simulator.world.clock.advance(60)
        for look in (prediction.reload, client.predictions.list):
            with pytest.raises(pydantic.v1.ValidationError, match="given=aborted"):
                look()
