"""The one sender: uploads, breakers, places and downloads, against the simulator with its faults."""

import asyncio
import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import (
    KeyRejectedError,
    MediaAssetsError,
    OutputLostError,
    ProviderUnavailableError,
    PurchaseError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.ledger.admission import Limits
from media_assets.ledger.budgets import Cap
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.media.questions import AskVideo
from media_assets.orders import Order
from media_assets.pricing import estimate, to_micro_usd
from media_assets.prompt import Step
from media_assets.providers.transport import Transport, TransportOptions
from media_assets.purchase import Purchasing
from media_assets.simulator.media import picture
from media_assets.studio import Studio
from media_assets_tests.conformance.our_requests import PICTURE_PX, drafted
from media_assets_tests.making import TODAY, reserved_micro_usd
from media_assets_tests.providers.buying import Bought, buy
from media_assets_tests.simulated import Market, hurried

pytestmark = pytest.mark.usefixtures("books_balance")

_TAKES = itertools.count()
_PICTURES = ("replicate:flux-schnell", "fal:flux-schnell")


def _bought(market: Market, model: str, *rules: Mapping[str, Any], take: int | None = None, **limits: float) -> Bought:
    market.set_faults(*map(dict, rules))
    return buy(market, hurried(model, **limits), take=next(_TAKES) if take is None else take)


# Downloads


@pytest.mark.parametrize("model", _PICTURES)
def test_a_download_that_is_cut_is_begun_again(market: Market, model: str) -> None:
    """Inside the deadline, by itself: nobody needs to run anything again."""
    one = _bought(market, model, {"call": "download", "fault": "truncate", "times": 2})

    assert one.error is None
    assert (one.row.state, one.posts) == (PurchaseState.SUCCEEDED, 1)


@pytest.mark.parametrize("model", _PICTURES)
@pytest.mark.parametrize("fault", ["expired", "html", "noexec_503"])
def test_what_passes_leaves_nothing(market: Market, model: str, fault: str) -> None:
    """One bad answer for a file that is there."""
    one = _bought(market, model, {"call": "download", "fault": fault, "times": 1})

    assert one.error is None
    assert (one.row.state, one.posts) == (PurchaseState.SUCCEEDED, 1)


@pytest.mark.parametrize("model", _PICTURES)
@pytest.mark.parametrize(
    ("fault", "raised", "left"),
    [
        ("truncate", ProviderUnavailableError, PurchaseState.DONE),
        ("slow_1Bps", ProviderUnavailableError, PurchaseState.DONE),
        ("noexec_503", ProviderUnavailableError, PurchaseState.DONE),
        ("redirect_private", UnexpectedResponseError, PurchaseState.DONE),
        ("expired", OutputLostError, PurchaseState.LOST_OUTPUT),
        ("html", UnexpectedResponseError, PurchaseState.DONE),
    ],
)
def test_what_a_download_that_fails_leaves(
    market: Market, model: str, fault: str, raised: type[MediaAssetsError], left: PurchaseState
) -> None:
    """Settled, with its place given back; a rerun fetches it where there is something to fetch, and never buys it."""
    one = _bought(market, model, {"call": "download", "fault": fault}, download_deadline_s=1.0)
    again = _bought(market, model, take=one.row.take)

    assert type(one.error) is raised
    assert (one.row.state, one.posts) == (left, 1)
    assert one.row.cost_micro_usd == again.row.cost_micro_usd != 0, "settled once"
    assert reserved_micro_usd(market.home) == 0
    assert again.posts == 0
    if left is PurchaseState.DONE:
        assert isinstance(one.error, PurchaseError)
        assert (one.error.rerun, one.error.prediction_id) == (Rerun.RESUME, one.row.prediction_id)
        assert again.row.state is PurchaseState.SUCCEEDED
    else:
        assert again.error is not None
        assert again.row.state is left


def test_the_type_a_server_names_is_not_believed(market: Market) -> None:
    one = _bought(market, _PICTURES[0], {"call": "download", "fault": "wrong_mime"})

    assert one.row.state is PurchaseState.SUCCEEDED


# What the provider makes of it


@pytest.mark.parametrize("model", _PICTURES)
@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"fault": "run_failed"}, PurchaseState.FAILED_FREE),
        ({"fault": "moderation_after_run"}, PurchaseState.FAILED_FREE),
        ({"fault": "content_rejected"}, PurchaseState.FAILED_FREE),
        ({"fault": "black_output"}, PurchaseState.FAILED_PAID),
        ({"fault": "tiny_output"}, PurchaseState.FAILED_PAID),
        ({"call": "poll", "fault": "404_after_create", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "poll", "fault": "poll_5xx", "times": 3}, PurchaseState.SUCCEEDED),
        ({"call": "poll", "fault": "unknown_status", "times": 3}, PurchaseState.SUCCEEDED),
        ({"call": "poll", "fault": "truncate", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "poll", "fault": "html", "times": 1}, PurchaseState.SUCCEEDED),
        ({"call": "poll", "fault": "2xx_garbage", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "noexec_500", "times": 1}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "noexec_500", "times": 1, "value": "model"}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "noexec_503", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "poll_5xx", "times": 4}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "404_after_create", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "truncate", "times": 2}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "html", "times": 1}, PurchaseState.SUCCEEDED),
        ({"call": "result", "fault": "2xx_garbage", "times": 2}, PurchaseState.SUCCEEDED),
    ],
    ids=lambda value: f"{value.get('call', 'submit')} {value['fault']}" if isinstance(value, dict) else "",
)
def test_the_ledger_has_the_bill_of_every_ending(
    market: Market, model: str, rule: Mapping[str, Any], left: PurchaseState
) -> None:
    """What fails is billed by one provider and not by the other, for one model and not for the next."""
    one = _bought(market, model, rule)

    assert (one.row.state, one.posts) == (left, 1)
    assert (one.row.cost_micro_usd or 0) <= one.row.estimate_micro_usd
    assert reserved_micro_usd(market.home) == 0


@pytest.mark.parametrize("model", ["replicate:sdxl", "replicate:flux-schnell"])
def test_an_output_that_was_removed_is_lost_and_paid_once(market: Market, model: str) -> None:
    one = _bought(market, model, {"call": "poll", "fault": "data_removed"})
    again = _bought(market, model, take=one.row.take)

    assert isinstance(one.error, OutputLostError)
    assert isinstance(again.error, OutputLostError)
    assert one.error.prediction_id == one.row.prediction_id is not None
    assert (one.row.state, again.posts) == (PurchaseState.LOST_OUTPUT, 0)
    assert one.row.cost_micro_usd == again.row.cost_micro_usd != 0


@pytest.mark.parametrize("model", ["replicate:sdxl", "elevenlabs:flash-v2.5", "openai:gpt-image-2"])
def test_what_was_used_and_by_which_price_is_on_record(market: Market, model: str) -> None:
    one = _bought(market, model)

    assert one.row.reported
    assert one.row.price_from is not None
    assert 0 < (one.row.cost_micro_usd or 0) <= one.row.estimate_micro_usd


# Uploads and accounts


@dataclass(frozen=True)
class _Clip:
    """A clip that is bought from a picture of noise, so large that it has to be uploaded."""

    row: PurchaseRow | None
    error: MediaAssetsError | None
    uploads: int


def _clips(studio: Studio, market: Market, model: str, picture_file: Path, count: int) -> list[_Clip]:
    spec = load_catalog().get(model)
    before = _uploads(market)

    async def one(take: int) -> _Clip:
        order = _clip_order(spec, picture_file, take)
        amounts = {Step.VIDEO: to_micro_usd(order.estimate_usd)}
        caps = [Cap("prompt:clips", 10**9, "cap")]
        studio.ledger.prompts.open_plan(order.plan_id, "clips", amounts=amounts, caps=caps)
        error = None
        try:
            await Purchasing(studio.ledger, studio.store, studio.transport).buy(order)
        except MediaAssetsError as raised:
            error = raised
        finally:
            studio.ledger.prompts.close_plan(order.plan_id)
        return _Clip(studio.ledger.purchases.get(order.request.key), error, _uploads(market) - before)

    async def all_of_them() -> list[_Clip]:
        return [await one(next(_TAKES)) for _ in range(count)]

    return asyncio.run(all_of_them())


def _clip_order(spec: ModelSpec, picture_file: Path, take: int) -> Order:
    request = replace(drafted(spec).request, take=take)
    return Order(
        request=request,
        spec=spec,
        prompt_key="clips",
        plan_id=secrets.token_hex(8),
        estimate_usd=estimate(spec, request, today=TODAY).max_usd,
        inputs={"image": picture_file},
        question=AskVideo(requested_size_px=None, requested_duration_s=None),
        today=TODAY,
    )


def _uploads(market: Market) -> int:
    rows = market.ask("/_sim/requests")["requests"]
    return sum(row["count"] for row in rows if row["call"] == "upload")


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(picture(PICTURE_PX, seed=3))
    return path


def test_an_upload_that_fails_is_sent_again_and_a_reply_that_is_lost_costs_nothing(
    market: Market, picture_file: Path
) -> None:
    """Unlike a submission: it is free, whatever became of it."""
    market.set_faults({"call": "upload", "fault": "exec_and_drop", "times": 2})
    with market.studio() as studio:
        (clip,) = _clips(studio, market, "fal:stable-video", picture_file, 1)

    assert clip.error is None
    assert clip.uploads >= 3


def test_an_upload_that_is_refused_is_no_purchase(market: Market, picture_file: Path) -> None:
    """The row says why, and the next run tries it again, for nothing was bought."""
    posts = market.posts()
    market.set_faults({"call": "upload", "fault": "noexec_500"})
    with market.studio() as studio:
        impatient = hurried("fal:stable-video", poll_error_budget_s=0.1)
        order = _clip_order(impatient, picture_file, next(_TAKES))
        buying = Purchasing(studio.ledger, studio.store, studio.transport).buy(order)
        with pytest.raises(ProviderUnavailableError) as caught:
            asyncio.run(buying)
        row = studio.ledger.purchases.get(order.request.key)

    assert (caught.value.step, caught.value.request_key) == ("video", order.request.key)
    assert row is not None
    assert row.error is not None
    assert (row.state, row.error["class"]) == (PurchaseState.CANCELED, "ProviderUnavailableError")
    assert market.posts() == posts


def test_a_key_that_is_refused_at_the_upload_is_asked_once(market: Market, picture_file: Path) -> None:
    """And other providers are asked on."""
    posts, asked = market.posts(), market.requests()
    with market.studio(fal_key=_invalid(market)) as studio:
        clips = _clips(studio, market, "fal:stable-video", picture_file, 3)
        assert market.requests() == asked + 1
        (other,) = _clips(studio, market, "replicate:stable-video-diffusion", picture_file, 1)

    assert [type(clip.error) for clip in clips] == [KeyRejectedError] * 3
    assert other.error is None
    assert market.posts() == posts + 1


def _invalid(market: Market) -> Any:
    key = market.settings.fal_key
    assert key is not None
    return type(key)("invalid:invalid")


# Places


def test_places_are_given_in_the_order_of_asking() -> None:
    options = TransportOptions(limits={"replicate": Limits(concurrency=1)})
    transport = Transport(options=options)
    came: list[int] = []

    async def take(number: int) -> None:
        async with transport.place("replicate"):
            came.append(number)
            await asyncio.sleep(0)

    async def crowd() -> None:
        tasks = [asyncio.ensure_future(take(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(take(9), 1)

    asyncio.run(crowd())
    transport.close()

    assert came == [0, 1, 3, 4, 5, 9]
