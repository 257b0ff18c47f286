"""What the failure of a run says: what can be done, by which setting, and what that costs."""

from decimal import Decimal

import dagster as dg
import pytest

from media_assets.defs.failures import as_batch_failure, as_failure, setting_of
from media_assets.errors import (
    Billed,
    BudgetExceededError,
    ConfigurationError,
    ContentRejectedError,
    JudgeError,
    MediaAssetsError,
    OutputLostError,
    PredictionTimeoutError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.unmade import Unmade


def _refused() -> ContentRejectedError:
    return ContentRejectedError("moderation refused it", step="video")


def _black() -> JudgeError:
    error = JudgeError("the picture is black")
    error.billed = Billed.YES
    return error


def _unknown(at_most_usd: str | None) -> UnknownOutcomeError:
    error = UnknownOutcomeError("no answer came", step="image")
    error.at_most_usd = None if at_most_usd is None else Decimal(at_most_usd)
    return error


def _unmade(missing_usd: str | None) -> Unmade:
    missing = None if missing_usd is None else Decimal(missing_usd)
    return Unmade(kept=(), failed_usd=Decimal("0.01"), missing_usd=missing)


def _numbers(failure: dg.Failure) -> dict[str, object]:
    return {name: value.value for name, value in failure.metadata.items() if name.endswith("_usd")}


@pytest.mark.parametrize(
    ("error", "missing_usd", "says", "rerun_usd"),
    [
        (_refused(), "0.075", "or a new take, what is missing costs at most 0.075 USD more.", 0),
        (BudgetExceededError("no money"), "0.075", "Once that is changed, what is missing costs at most 0.075", 0),
        (ConfigurationError("no key"), "0.075", "Once that is changed, what is missing costs at most 0.075", 0),
        (OutputLostError("gone"), "0.075", "Once that is decided, what is missing costs at most 0.075 USD", 0),
        (StoppedError("stopped"), "0.075", "twice. What is missing costs at most 0.075 USD more.", 0.075),
        (_refused(), "0", "Nothing more has to be paid for.", 0),
        (_refused(), None, "What is missing has no price", None),
    ],
)
def test_what_a_rerun_costs_is_what_it_buys(
    error: MediaAssetsError, missing_usd: str | None, says: str, rerun_usd: float | None
) -> None:
    """What failed for good is not tried again: what it would cost is not the price of a rerun."""
    failure = as_failure(error, _unmade(missing_usd))

    assert says in str(failure.description)
    numbers = _numbers(failure)
    assert numbers.get("rerun_usd") == rerun_usd
    assert numbers.get("missing_usd") == (None if missing_usd is None else float(missing_usd))


def test_a_batch_says_each_advice_once_and_for_whom() -> None:
    errors: dict[str, MediaAssetsError] = {f"barn-{number}": _refused() for number in range(5)}
    errors |= {"held": _unknown("0.2"), "held-too": _unknown("0.05"), "held-unpriced": _unknown(None)}

    failure = as_batch_failure(errors, 100)

    lines = str(failure.description).splitlines()
    route = "A further model in MEDIA_ASSETS_ROUTE_VIDEO, or in the prompt's routes, takes over"
    assert [line for line in lines if route in line] == [
        f"For barn-0, barn-1, barn-2 and 2 more: {route} when this one cannot be had."
    ]
    assert [line.partition(":")[0] for line in lines if "MEDIA_ASSETS_UNKNOWN_POLICY" in line] == [
        "For held, held-too, held-unpriced"
    ]
    assert "What failed may have been billed: at most 0.25 USD, which stays reserved." in lines
    assert _numbers(failure) == {"at_most_usd": 0.25}


def test_a_batch_tells_apart_what_a_rerun_buys_and_what_it_does_not() -> None:
    errors = {"a": _refused(), "b": StoppedError("stopped"), "c": PredictionTimeoutError("slow"), "d": _refused()}
    unmade = {"a": _unmade("0.1"), "b": _unmade("0.03"), "c": _unmade("0"), "d": _unmade(None)}

    mixed = as_batch_failure(errors, 4, unmade=unmade)
    stopped = as_batch_failure({"c": errors["c"]}, 2, unmade=unmade)
    unpriced = as_batch_failure({"d": errors["d"]}, 2, unmade=unmade)

    told = str(mixed.description)
    assert "A rerun goes on where 2 of them stopped. What is missing costs at most 0.03 USD more." in told
    assert "A rerun alone does not try 2 of them again" in told
    assert "run's configuration. What is missing costs at most 0.1 USD more." in told
    assert _numbers(mixed) == {"paid_usd": 0, "failed_usd": 0.04, "missing_usd": 0.13, "rerun_usd": 0.03}
    assert "Nothing more has to be paid for." in str(stopped.description)
    assert "A rerun alone" not in str(stopped.description)
    assert "What is missing has no price" in str(unpriced.description)
    assert _numbers(unpriced) == {"paid_usd": 0, "failed_usd": 0.01}


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        (_refused(), "MEDIA_ASSETS_ROUTE_VIDEO"),
        (_unknown(None), "MEDIA_ASSETS_UNKNOWN_POLICY"),
        (_black(), "retry_failed"),
        (BudgetExceededError("Raise MEDIA_ASSETS_MAX_DAY_USD (--max-day-usd)."), "MEDIA_ASSETS_MAX_DAY_USD"),
        (StoppedError("stopped"), ""),
    ],
)
def test_the_setting_that_decides_is_named_in_the_table_of_failures(error: MediaAssetsError, setting: str) -> None:
    assert setting_of(error) == setting
