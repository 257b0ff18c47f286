"""Money: Decimal from the file to the ledger, rounded against ourselves, and never zero because nobody knows."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import Meter, ModelSpec, PriceRow, load_catalog
from media_assets.errors import ConfigurationError
from media_assets.pricing import cost, estimate, estimate_usd, from_micro_usd, price_on, stale, to_micro_usd
from media_assets.prompt import Scalar, Step
from media_assets.request import GenerationRequest

TODAY = date(2026, 11, 24)


def a_request(**params: Scalar) -> GenerationRequest:
    """Return a request with these parameters; which model it names plays no part in its price."""
    return GenerationRequest(
        step=Step.IMAGE, provider="local", model="local:any", endpoint="any", version="1", params=params
    )


def a_model(like: str, *, parts: list[dict[str, Any]], **changes: Any) -> ModelSpec:
    """Return a model of the catalog with a price of these parts."""
    surcharge = changes.pop("surcharge", [])
    row = {"from": "2026-01-01", "source": "a test", "own_word": True, "part": parts, "surcharge": surcharge}
    fields = load_catalog().get(like).model_dump(by_alias=True, mode="json")
    return ModelSpec.model_validate({**fields, "price": [row], **changes})


def worst(spec: ModelSpec, **params: Scalar) -> str:
    """Return the worst case of a request, as a text."""
    return str(estimate(spec, a_request(**params), today=TODAY).max_usd)


def priced(*rows: tuple[str, str]) -> ModelSpec:
    """Return a model with these (day, USD) rows."""
    fields: dict[str, Any] = load_catalog().get("local:landscape").model_dump()
    fields["price"] = [
        {"from": date.fromisoformat(day), "usd": usd, "per": "request", "source": "a test", "own_word": True}
        for day, usd in rows
    ]
    return ModelSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("usd", "micro"),
    [
        ("0", 0),
        ("0.000001", 1),
        ("0.0000001", 1),
        ("0.0000010000001", 2),
        ("0.084", 84_000),
        ("1", 1_000_000),
        ("1E-7", 1),
        ("123456789.123456", 123_456_789_123_456),
    ],
)
def test_micro_usd_are_rounded_up(usd: str, micro: int) -> None:
    """A reservation that is too small lets the last purchase pass the cap."""
    assert to_micro_usd(Decimal(usd)) == micro


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0"), (1, "0.000001"), (100_000, "0.1"), (1_000_000, "1"), (100_000_000, "100"), (1_234_567, "1.234567")],
)
def test_amounts_are_shown_without_noise(micro: int, text: str) -> None:
    """People and scripts read these strings; ``1E+2`` is not an amount of money."""
    assert str(from_micro_usd(micro)) == text


@given(micro=st.integers(0, 10**15))
@settings(max_examples=200, deadline=None)
def test_amounts_survive_the_ledger(micro: int) -> None:
    """What was written is what is added up."""
    assert to_micro_usd(from_micro_usd(micro)) == micro


@given(usd=st.decimals(0, 10**6, allow_nan=False, places=9))
@settings(max_examples=200, deadline=None)
def test_rounding_never_loses_and_adds_less_than_a_micro(usd: Decimal) -> None:
    """Up, but only just: a thousand free steps must not fill a cap."""
    micro = to_micro_usd(usd)

    assert Decimal(0) <= Decimal(micro) / 10**6 - usd < Decimal("0.000001")


@pytest.mark.parametrize(
    ("today", "usd"),
    [("2026-01-01", "0.01"), ("2026-05-31", "0.01"), ("2026-06-01", "0.02"), ("2030-01-01", "0.03")],
)
def test_price_is_that_of_the_day(today: str, usd: str) -> None:
    """Old purchases stay explicable; the order of rows in the file does not matter."""
    spec = priced(("2026-06-01", "0.02"), ("2026-01-01", "0.01"), ("2029-12-31", "0.03"))

    assert price_on(spec, date.fromisoformat(today)).usd == Decimal(usd)
    assert estimate_usd(spec, date.fromisoformat(today)) == Decimal(usd)


def test_a_day_without_a_price_is_refused() -> None:
    """An unpriced model that counted as zero would pass every cap."""
    with pytest.raises(ConfigurationError, match=r"local:landscape has no price for 2025-12-31"):
        estimate_usd(priced(("2026-01-01", "0.01")), date(2025, 12, 31))


def test_estimates_are_exact() -> None:
    """0.1 + 0.2 must be 0.3 where a cap is compared."""
    amount = estimate_usd(priced(("2026-01-01", "0.1")), date(2026, 1, 1))

    assert isinstance(amount, Decimal)
    assert amount * 3 == Decimal("0.3")


def test_a_price_that_goes_by_the_request_is_not_given_without_one() -> None:
    """The price of one second is not the price of a clip."""
    with pytest.raises(ConfigurationError, match=r"what replicate:sdxl costs depends on what is asked of it"):
        estimate_usd(load_catalog().get("replicate:sdxl"), TODAY)


class TestMeters:
    """What is counted, and how often."""

    @pytest.mark.parametrize(
        ("part", "params", "usd"),
        [
            ({"per": "request"}, {}, "1"),
            ({"per": "compute_s"}, {}, "120"),
            ({"per": "image"}, {}, "1"),
            ({"per": "image"}, {"num_images": 3}, "3"),
            ({"per": "megapixel"}, {"image_size.width": 1024, "image_size.height": 512}, "0.5"),
            ({"per": "megapixel", "rounding": "up"}, {"image_size.width": 1024, "image_size.height": 512}, "1"),
            ({"per": "megapixel", "rounding": "up"}, {"image_size.width": 1024, "image_size.height": 1040}, "2"),
            (
                {"per": "megapixel", "rounding": "up"},
                {"image_size.width": 512, "image_size.height": 512, "num_images": 3},
                "3",
            ),
            ({"per": "megapixel"}, {}, "4"),
            ({"per": "character"}, {"prompt": "né 🎬"}, "4"),
            ({"per": "request", "above": 1}, {}, "0"),
            ({"per": "character", "above": 3}, {"prompt": "four"}, "1"),
            ({"per": "character", "above": 30}, {"prompt": "four"}, "0"),
        ],
    )
    def test_each_counts_its_own(self, part: dict[str, Any], params: dict[str, Scalar], usd: str) -> None:
        """At one dollar for one of it."""
        assert worst(a_model("fal:flux-schnell", parts=[{"usd": "1", **part}]), **params) == usd

    def test_seconds_of_output_are_those_asked_for(self) -> None:
        """A begun one counts whole where the price says so."""
        spec = a_model("local:ken-burns", parts=[{"usd": "1", "per": "output_s"}])
        begun = a_model("local:ken-burns", parts=[{"usd": "1", "per": "output_s", "rounding": "up"}])

        assert worst(spec, duration_s=2.5) == "2.5"
        assert worst(begun, duration_s=2.5) == "3"
        assert worst(spec) == "300"
        assert str(estimate(spec, a_request(), today=TODAY).min_usd) == "1"

    def test_a_second_of_output_of_unknown_length_has_no_price(self) -> None:
        """Counted as zero it would pass every cap."""
        spec = a_model("fal:kokoro", parts=[{"usd": "1", "per": "output_s"}])

        with pytest.raises(ConfigurationError, match="nothing says how long"):
            worst(spec, prompt="Hello")

    def test_a_megapixel_of_unknown_size_has_no_price(self) -> None:
        """As above."""
        spec = a_model("local:landscape", parts=[{"usd": "1", "per": "megapixel"}])

        with pytest.raises(ConfigurationError, match="nothing says how large"):
            worst(spec)

    def test_characters_of_a_request_without_text_have_no_price(self) -> None:
        """As above."""
        with pytest.raises(ConfigurationError, match="priced by its text, and the request has none"):
            worst(load_catalog().get("fal:kokoro"))

    def test_terms_are_added_and_surcharges_multiply_all(self) -> None:
        """0.5 for the request and 0.1 a second, half as much again for many steps."""
        parts = [{"usd": "0.5", "per": "request"}, {"usd": "0.1", "per": "compute_s"}]
        surcharge = [{"when_over": {"num_inference_steps": 8}, "factor": "1.5"}]
        spec = a_model("fal:flux-schnell", parts=parts, surcharge=surcharge)

        assert worst(spec) == "12.5"
        assert worst(spec, num_inference_steps=8) == "12.5"
        assert worst(spec, num_inference_steps=9) == "18.75"

    def test_a_value_without_a_price_is_refused(self) -> None:
        """A model's entry is checked for it, but a price may hang on two parameters."""
        when = {"acceleration": "none", "output_format": "png"}
        spec = a_model("fal:flux-schnell", parts=[{"usd": "1", "per": "request", "when": when}])

        assert worst(spec, output_format="png") == "1"
        with pytest.raises(ConfigurationError, match="has no price for these parameters"):
            worst(spec, output_format="jpeg")

    def test_the_total_is_rounded_up_once(self) -> None:
        """Two halves of a micro-dollar are one, not two."""
        parts = [{"usd": "0.0000005", "per": "request"}, {"usd": "0.0000005", "per": "image"}]

        assert worst(a_model("fal:flux-schnell", parts=parts)) == "0.000001"
        assert worst(a_model("fal:flux-schnell", parts=parts[:1])) == "0.000001"


class TestTokens:
    """The worst case of what only the reply tells."""

    IMAGE = "openai:gpt-image-2"

    def tokens(self, rule: dict[str, Any], **params: Scalar) -> str:
        """Return the most tokens of a rule, at a dollar each."""
        parts = [{"usd": "1", "per": "token", "of": "x"}]
        return worst(a_model(self.IMAGE, parts=parts, tokens={"x": rule}), **params)

    @pytest.mark.parametrize(
        ("rule", "params", "most"),
        [
            ({"base": 7}, {}, "7"),
            ({"per_utf8_byte": 1}, {"prompt": "né 🎬"}, "8"),
            ({"base": 5, "factor": "1.5"}, {}, "8"),
            ({"by": "quality", "per_megapixel": {"low": 1, "medium": 10, "high": 100}}, {"size": "1024x1024"}, "10"),
            ({"by": "quality", "per_megapixel": {"low": 1, "medium": 10, "high": 100}}, {"size": "1536x1024"}, "15"),
            ({"by": "quality", "per_megapixel": {"low": 1, "medium": 10, "high": 100}}, {"size": "1088x608"}, "10"),
            (
                {"by": "quality", "per_megapixel": {"low": 1, "medium": 10, "high": 100}},
                {"size": "1024x1024", "n": 3, "quality": "high"},
                "300",
            ),
        ],
    )
    def test_bounds_are_added_up(self, rule: dict[str, Any], params: dict[str, Scalar], most: str) -> None:
        """Fixed, by the byte, and by megapixel and quality; a small picture counts as a megapixel."""
        assert self.tokens(rule, **params) == most

    def test_an_unheard_of_quality_counts_as_the_dearest(self) -> None:
        """And a size that cannot be read as the largest there is: 8,294,400 pixels."""
        rule = {"by": "quality", "per_megapixel": {"low": 1, "medium": 10, "high": 100}}

        assert self.tokens(rule, quality="best", size="1024x1024") == "100"
        assert self.tokens(rule, quality="low", size="auto") == "8"

    @pytest.mark.parametrize(
        ("params", "most"),
        [
            ({"input": "x" * 150}, "500"),
            ({"input": "x" * 150, "speed": 0.5}, "1000"),
            ({"input": "x" * 150, "speed": 2.0}, "500"),
            ({"input": "9" * 150}, "2000"),
            ({"input": "猫" * 150}, "1500"),
            ({"input": "x"}, "50"),
        ],
    )
    def test_speech_counts_the_seconds_it_is_expected_to_last(self, params: dict[str, Scalar], most: str) -> None:
        """150 characters at 15 a second, digits and ideograms more slowly; a fast voice saves nothing."""
        spec = a_model(
            "openai:gpt-4o-mini-tts",
            parts=[{"usd": "1", "per": "token", "of": "x"}],
            tokens={"x": {"per_speech_s": 50}},
        )

        assert worst(spec, **params) == most


class TestCost:
    """What a finished purchase cost: what was reported where it was, and the worst case where it was not."""

    SDXL = load_catalog().get("replicate:sdxl")

    def usd(self, **reported: str) -> str:
        """Return what an SDXL purchase cost, for what Replicate reported."""
        amounts = {name: Decimal(amount) for name, amount in reported.items()}
        return str(cost(self.SDXL, a_request(), reported=amounts, today=TODAY).usd)

    def test_reported_seconds_are_charged(self) -> None:
        """5.52 s at 0.0014 USD; a recorded run."""
        assert self.usd(compute_s="5.52") == "0.007728"
        assert self.usd(compute_s="0") == "0"
        assert self.usd(compute_s="0.000003") == "0.000001"

    @pytest.mark.parametrize("amount", ["NaN", "-1", "Infinity", "-Infinity"])
    def test_what_is_no_amount_counts_as_the_worst_case(self, amount: str) -> None:
        """A reply is a stranger's word."""
        assert self.usd(compute_s=amount) == "0.084"

    def test_what_was_not_reported_counts_as_the_worst_case(self) -> None:
        """Never as zero."""
        assert self.usd() == "0.084"
        assert self.usd(total_s="1") == "0.084"

    def test_more_than_the_worst_case_is_charged_in_full(self) -> None:
        """An overrun must show."""
        assert self.usd(compute_s="100") == "0.14"

    def test_the_day_of_the_price_is_kept(self) -> None:
        """An old purchase stays explicable."""
        assert cost(self.SDXL, a_request(), reported={}, today=TODAY).price_from == date(2026, 5, 1)


class TestUnpriced:
    """A model without a price is refused, unless the user says what to assume."""

    SPEC = load_catalog().get("fal:kokoro").model_copy(update={"price": ()})
    REQUEST = a_request(prompt="Hello")

    def test_it_is_refused_with_the_ways_out(self) -> None:
        """Two: a setting, and a price of one's own."""
        for ask in (
            lambda: estimate(self.SPEC, self.REQUEST, today=TODAY),
            lambda: cost(self.SPEC, self.REQUEST, reported={}, today=TODAY),
        ):
            with pytest.raises(
                ConfigurationError, match=r"fal:kokoro has no price for .*MEDIA_ASSETS_ASSUME_USD.*file of your own"
            ):
                ask()

    def test_what_the_user_assumes_is_estimate_and_cost(self) -> None:
        """Rounded up as everything is; and it is nobody's own word."""
        found = estimate(self.SPEC, self.REQUEST, today=TODAY, assume_usd=Decimal("0.0000101"))

        assert (str(found.min_usd), str(found.max_usd)) == ("0.000011", "0.000011")
        assert (found.price_from, found.own_word) == (None, False)
        paid = cost(self.SPEC, self.REQUEST, reported={}, today=TODAY, assume_usd=Decimal("0.5"))
        assert (str(paid.usd), paid.price_from) == ("0.5", None)

    def test_a_price_is_stronger_than_an_assumption(self) -> None:
        """The assumption is for models without one, also where the price is not yet in force."""
        spec = load_catalog().get("fal:kokoro")

        now = estimate(spec, self.REQUEST, today=TODAY, assume_usd=Decimal(9))
        before = estimate(spec, self.REQUEST, today=date(2025, 1, 1), assume_usd=Decimal(9))
        assert (str(now.max_usd), str(before.max_usd)) == ("0.0001", "9")

    def test_it_has_no_old_price(self) -> None:
        """There is nothing to warn about twice."""
        assert not stale(self.SPEC, date(2099, 1, 1))


@pytest.mark.parametrize(
    ("today", "days", "is_stale"),
    [("2026-09-09", 90, False), ("2026-12-08", 90, False), ("2026-12-09", 90, True), ("2026-09-11", 1, True)],
)
def test_a_price_grows_old(today: str, days: int, is_stale: bool) -> None:  # noqa: FBT001
    """Counted from the day the source was read, here 2026-09-09."""
    assert stale(load_catalog().get("openai:gpt-image-2"), date.fromisoformat(today), days) is is_stale


def test_the_newest_row_decides_how_old_a_price_is() -> None:
    """And the day of the entry, where the row has none of its own."""
    old = PriceRow.model_validate(
        {"from": date(2025, 1, 1), "usd": "1", "per": Meter.REQUEST, "source": "x", "own_word": True, "checked": None}
    )
    new = old.model_copy(update={"from_day": date(2026, 1, 1), "checked": date(2026, 11, 1)})
    spec = load_catalog().get("local:landscape").model_copy(update={"checked": date(2025, 1, 1)})

    assert not stale(spec.model_copy(update={"price": (new, old)}), TODAY)
    assert stale(spec.model_copy(update={"price": (old,)}), TODAY)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either usd and per, or a list of part"),
        ({"usd": "1"}, "either usd and per"),
        ({"usd": "1", "per": "request", "part": [{"usd": "1", "per": "request"}]}, "either usd and per"),
        ({"usd": "1", "per": "token"}, "written as part, which says which tokens"),
        ({"part": [{"usd": "1", "per": "token"}]}, "says which tokens"),
        ({"part": [{"usd": "1", "per": "image", "of": "x"}]}, "says which tokens"),
        ({"part": [{"usd": "1", "per": "image", "above": -1}]}, "greater than or equal to 0"),
        ({"usd": 0.1, "per": "request"}, "must be a text such as"),
        ({"usd": "Infinity", "per": "request"}, "finite"),
        ({"usd": "1", "per": "request", "surcharge": [{"when_over": {}, "factor": "2"}]}, "at least 1 item"),
        ({"usd": "1", "per": "request", "surcharge": [{"when_over": {"x": 1}, "factor": "0"}]}, "greater than 0"),
    ],
)
def test_a_price_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    """Half a price is none."""
    with pytest.raises(ValueError, match=message):
        PriceRow.model_validate({"from": date(2026, 1, 1), "source": "x", "own_word": True, **fields})
