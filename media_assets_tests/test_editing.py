"""What an edit of a finished prompt buys: the steps whose request changed and what follows from them, nothing else."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from media_assets.catalog import ParamSpec, load_catalog
from media_assets.prompt import Step
from media_assets_tests.making import made
from media_assets_tests.simulated import Market, open_market, paid_prompt

IMAGE, VIDEO, AUDIO, MERGED = Step


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Finish one prompt; every test edits it from there."""
    with open_market(tmp_path_factory.mktemp("editing") / "home") as market:
        market.make(paid_prompt())
        yield market


@pytest.mark.parametrize(
    ("edit", "bought", "made_anew"),
    [
        ({"script": "The barn stands at the end of the road."}, ["elevenlabs"], {AUDIO, MERGED}),
        ({"take": {"image": 1}}, ["replicate", "replicate"], {IMAGE, VIDEO, MERGED}),
        ({"take": {"video": 1}}, ["replicate"], {VIDEO, MERGED}),
        ({"take": {"audio": 1}}, ["elevenlabs"], {AUDIO, MERGED}),
        ({"take": {"merged": 1}}, [], {MERGED}),
        (
            {"motion": "a slow pan to the left", "params": {"video": {"motion_bucket_id": 90}}},
            ["replicate"],
            {VIDEO, MERGED},
        ),
        ({"fit": "loop"}, [], {MERGED}),
        ({"max_cost_usd": "0.9"}, [], set()),
    ],
    ids=["script", "image's take", "clip's take", "voice's take", "film's take", "motion", "fit", "cap"],
)
def test_an_edit_buys_what_changed_and_what_follows(
    market: Market, edit: dict[str, Any], bought: list[str], made_anew: set[Step]
) -> None:
    before, bill = len(market.accepted()), market.bill_usd()

    film = market.make(paid_prompt(**edit))

    new = market.accepted()[before:]
    assert sorted(one["provider"] for one in new) == bought
    assert made(film) == made_anew
    assert film.spent_usd == market.bill_usd() - bill
    assert market.make(paid_prompt(**edit)).spent_usd == 0
    assert len(market.accepted()) == before + len(bought)


def test_what_was_asked_for_first_is_still_there(market: Market) -> None:
    """A, B, A ends at A, and A is not bought again."""
    asked = market.requests()

    film = market.make(paid_prompt())

    assert (film.spent_usd, market.requests()) == (Decimal(0), asked)
    assert all(step.cached for step in film.steps.values())


def test_a_deploy_and_a_changed_catalog_buy_nothing(market: Market) -> None:
    """Other defaults, another version of the model, another price: a finished step is reused as it was made."""
    asked = market.requests()
    catalog = load_catalog()
    changed = []
    for name in ("replicate:sdxl", "replicate:stable-video-diffusion", "elevenlabs:multilingual-v2"):
        spec = catalog.get(name)
        params = {key: _with_another_default(one) for key, one in spec.params.items()}
        assert params != spec.params
        price = tuple(row.model_copy(update={"usd": Decimal(9)}) for row in spec.price)
        changed.append(spec.model_copy(update={"version": f"{spec.version}-new", "params": params, "price": price}))

    film = market.make(paid_prompt(), models=changed)

    assert (film.spent_usd, market.requests()) == (Decimal(0), asked)


def _with_another_default(param: ParamSpec) -> ParamSpec:
    if isinstance(param.default, bool) or not isinstance(param.default, int | float):
        return param
    return param.model_copy(update={"default": param.default * 2})
