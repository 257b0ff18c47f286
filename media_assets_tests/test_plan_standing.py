"""The plan beside a ledger that is not empty: what is there, at work, and what the rest costs; it writes nothing."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.catalog import Catalog, ModelSpec, Recovery, load_catalog
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.schema import metadata
from media_assets.plan import Plan, Planner
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Step
from media_assets.request import GenerationRequest
from media_assets.studio import Studio, open_studio
from media_assets_tests.test_plan import TODAY, a_prompt, plan_of


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    """Return an open studio with the default settings."""
    with open_studio(home, today=lambda: TODAY) as one:
        yield one


def request_of(studio: Studio, plan: Plan, step: Step) -> GenerationRequest:
    """Return the request of a planned step, whose key the plan knows."""
    planned = next(one for one in plan.steps if one.step is step)
    spec = studio.planner.catalog.get(planned.model)
    keys = {one.step: one.request_key for one in plan.steps}
    roles = {Step.VIDEO: {"image": keys[Step.IMAGE]}}.get(step, {})
    request = GenerationRequest.from_canonical(
        {
            "step": step,
            "provider": spec.provider,
            "model": spec.id,
            "endpoint": spec.endpoint,
            "version": spec.version,
            "params": planned.params,
            "take": 0,
            "inputs": [{"role": role, "request_key": key} for role, key in roles.items()],
        }
    )
    assert request.key == planned.request_key
    return request


def claimed(ledger: Ledger, request: GenerationRequest) -> Claim:
    """Return a claim on a purchase, as a chain at work holds it."""
    claim = ledger.purchases.claim(request, recovery=Recovery.FREE, prompt_key="k", plan_id="p", estimate_micro_usd=0)
    assert isinstance(claim, Claim)
    return claim


def bought(studio: Studio, request: GenerationRequest, source: Path) -> None:
    """Buy a request as the purchase flow does, with a small file for what was made."""
    source.write_bytes(b"not really a picture: " + request.key.encode())
    info = MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=source.stat().st_size)
    ledger, claim = studio.ledger, claimed(studio.ledger, request)
    token = ledger.purchases.write_intent(claim)
    done = Prediction(id=claim.request_key[:8], state=State.SUCCEEDED, outputs=(Output(path=source),))
    ledger.purchases.write_submitted(claim, token, done, Settlement(cost_micro_usd=0))
    made = studio.store.put(source, info, owner="test", token="1")  # noqa: S106 - names a temporary file
    ledger.purchases.write_stored(claim, made, duration_s=0.1, failed=None)
    ledger.purchases.leave(claim)


def flags(plan: Plan) -> dict[str, tuple[bool, bool]]:
    """Return (cached, in flight) of each step."""
    return {str(step.step): (step.cached, step.in_flight) for step in plan.steps}


NOTHING = {"image": (False, False), "video": (False, False), "audio": (False, False), "merged": (False, False)}


class TestWhatIsThere:
    """Cached and in flight, read from the ledger and the disk."""

    def test_nothing_is_there_at_first(self, studio: Studio) -> None:
        """A new prompt is made whole."""
        assert flags(plan_of(studio, a_prompt())) == NOTHING

    def test_a_purchase_at_work_is_in_flight(self, studio: Studio) -> None:
        """Making it now would wait for it, not buy it again."""
        request = request_of(studio, plan_of(studio, a_prompt()), Step.VIDEO)

        claim = claimed(studio.ledger, request)
        assert flags(plan_of(studio, a_prompt())) == NOTHING | {"video": (False, True)}

        studio.ledger.purchases.write_intent(claim)
        assert flags(plan_of(studio, a_prompt())) == NOTHING | {"video": (False, True)}

    def test_a_bought_file_is_cached(self, studio: Studio, tmp_path: Path) -> None:
        """Making it now would take it from the store."""
        bought(studio, request_of(studio, plan_of(studio, a_prompt()), Step.IMAGE), tmp_path / "made.png")

        assert flags(plan_of(studio, a_prompt())) == NOTHING | {"image": (True, False)}

    def test_an_equal_request_of_another_prompt_is_cached_too(self, studio: Studio, tmp_path: Path) -> None:
        """Two films that share a picture pay for one."""
        bought(studio, request_of(studio, plan_of(studio, a_prompt()), Step.IMAGE), tmp_path / "made.png")

        other = plan_of(studio, a_prompt(key="other", caption="another film"))

        assert flags(other) == NOTHING | {"image": (True, False)}

    def test_a_new_take_is_not_cached(self, studio: Studio, tmp_path: Path) -> None:
        """It is how a person asks for another one."""
        bought(studio, request_of(studio, plan_of(studio, a_prompt()), Step.IMAGE), tmp_path / "made.png")

        assert flags(plan_of(studio, a_prompt(take={"image": 1}))) == NOTHING

    def test_a_file_that_is_gone_or_cut_short_is_not_cached(self, studio: Studio, tmp_path: Path) -> None:
        """The ledger remembers, but a film needs bytes."""
        request = request_of(studio, plan_of(studio, a_prompt()), Step.IMAGE)
        bought(studio, request, tmp_path / "made.png")
        row = studio.ledger.purchases.get(request.key)
        assert row is not None
        assert row.artifact is not None
        path = studio.store.path(row.artifact)

        path.write_bytes(path.read_bytes()[:-1])
        assert flags(plan_of(studio, a_prompt())) == NOTHING
        path.unlink()
        assert flags(plan_of(studio, a_prompt())) == NOTHING

    def test_a_finished_step_is_planned_with_the_parameters_it_was_made_with(
        self, studio: Studio, tmp_path: Path
    ) -> None:
        """A changed catalog default buys nothing: what is finished stays as it was made."""
        prompt = a_prompt()
        request = request_of(studio, plan_of(studio, prompt), Step.IMAGE)
        older = GenerationRequest.from_canonical(
            {**json.loads(request.canonical), "params": {**request.params, "seed": 1}, "version": "0"}
        )
        bought(studio, older, tmp_path / "made.png")
        row = studio.ledger.purchases.get(older.key)
        assert row is not None
        assert row.artifact is not None
        done = FinishedStep(
            step=Step.IMAGE, request_key=older.key, model=older.model, inputs={}, degraded=False, reason=None
        )
        digest = prompt.step_digest(Step.IMAGE, stand_in_fields=False)
        studio.ledger.prompts.finish("k", digest, done, sha256=row.artifact.sha256, params=older.params)

        image, clip, *_ = plan_of(studio, prompt).steps

        assert (image.cached, image.params["seed"], image.request_key) == (True, 1, older.key)
        assert clip.cached is False


def test_a_plan_writes_nothing(studio: Studio, home: Path) -> None:
    """Planning is free, in every sense: it can be run on somebody else's ledger."""
    plan_of(studio, a_prompt())
    before = _everything(studio, home)

    for prompt in (a_prompt(), a_prompt(key="new"), a_prompt(size_px="64x64", routes={"image": ["nope"]})):
        plan_of(studio, prompt)

    assert _everything(studio, home) == before


def _everything(studio: Studio, home: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Return the number of rows of every table and the digest of every file; SQLite's shared memory is no content."""
    with studio.ledger.database.read() as connection:
        rows = {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
    files = {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
    assert rows.keys() >= {"prompt", "purchase"}
    assert "ledger.db" in files
    return rows, files


class TestQuote:
    """What the whole chain would cost at most."""

    def test_every_missing_step_counts_with_the_price_of_the_day(self, studio: Studio) -> None:
        """The quote is what the cap is compared with."""
        plan = plan_of(_with_prices(studio, image="0.04", video="0.5", audio="0.000001"), a_prompt())

        assert plan.estimate_usd == Decimal("0.540001")
        assert plan.as_dict()["estimate_usd"] == {"min": "0.540001", "max": "0.540001"}
        assert [step["estimate_usd"] for step in plan.as_dict()["steps"]] == ["0.04", "0.5", "0.000001", "0"]

    def test_what_is_there_costs_nothing(self, studio: Studio, tmp_path: Path) -> None:
        """The quote is for what is missing."""
        bought(studio, request_of(studio, plan_of(studio, a_prompt()), Step.IMAGE), tmp_path / "made.png")

        plan = plan_of(_with_prices(studio, image="0.04", video="0.5"), a_prompt())

        assert [step.estimate_usd for step in plan.steps] == [0, Decimal("0.5"), 0, 0]


def _with_prices(studio: Studio, **prices_usd: str) -> Studio:
    """Return the studio with a catalog in which the built-in models cost something, by step."""

    def priced(spec: ModelSpec) -> ModelSpec:
        row = spec.price[0].model_copy(update={"usd": Decimal(prices_usd.get(spec.step, "0"))})
        return spec.model_copy(update={"price": (row,)})

    catalog = Catalog(priced(spec) for spec in load_catalog())
    planner = Planner(catalog=catalog, ledger=studio.ledger, store=studio.store, settings=studio.planner.settings)
    return replace(studio, planner=planner)
