"""Core errors as Dagster failures: the only place where the two vocabularies meet.

Retries are never Dagster's to make: the core resumes by itself what can be resumed, and an interrupted step that
Dagster repeats would be reported as a success (dagster-io/dagster#15026).
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    JudgeError,
    MediaAssetsError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.prompt import Step
from media_assets.unmade import Unmade

_SHOWN = 20

_ADVICE = {
    Rerun.NEVER: "A rerun changes nothing until the prompt, a setting or the take is changed.",
    Rerun.RESUBMIT: "Nothing was billed: materialize again.",
    Rerun.RESUME: "Materialize again: it goes on where it stopped, and pays for nothing twice.",
    Rerun.ASK: "A person has to decide first: see `media-assets ledger unknown`.",
}

_ANOTHER_MODEL = (RequestRejectedError, ContentRejectedError, RateLimitedError, ProviderUnavailableError)
"""Errors of one model, which the next of a route takes over."""


def as_failure(error: MediaAssetsError, unmade: Unmade | None = None) -> dg.Failure:
    """Build the failure of one prompt; returned, so that callers write ``raise … from``.

    Args:
        error: What ended it.
        unmade: The prompt's money; None where nothing was begun.
    """
    metadata: dict[str, str | float] = {"rerun": str(error.rerun), "billed": str(error.billed)}
    if isinstance(error, PurchaseError):
        named = ("step", "model", "request_key", "prediction_id")
        metadata |= {name: value for name in named if (value := getattr(error, name))}
    if (at_most_usd := _at_stake_usd(error)) is not None:
        metadata["at_most_usd"] = float(at_most_usd)
    lines = [f"{type(error).__name__}: {error.message}"]
    advice = _ADVICE[error.rerun]
    if unmade is not None:
        lines += _money_lines(error, unmade)
        advice = f"{advice} {_rerun_words(unmade.rerun_usd)}"
        metadata |= _money_numbers([unmade])
    lines += [advice, *_settings(error)]
    return dg.Failure(description="\n".join(lines), metadata=metadata, allow_retries=False)


def as_batch_failure(
    errors: Mapping[str, MediaAssetsError],
    total: int,
    *,
    unmade: Mapping[str, Unmade] | None = None,
    metadata: Mapping[str, dg.MetadataValue[Any]] | None = None,
) -> dg.Failure:
    """Build the failure of a run over several prompts; it names the failed ones.

    Args:
        errors: What ended each, by key.
        total: How many prompts the run had.
        unmade: Their money, as far as anything was begun.
        metadata: What else is told.
    """
    moneys = [unmade[key] for key in errors if key in unmade] if unmade else []
    lines = [f"{key}: {type(error).__name__}: {error.message}" for key, error in errors.items()]
    more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    told = [f"{len(errors)} of {total} prompts failed; what the others made is materialized.", *_sum_lines(moneys)]
    return dg.Failure(
        description="\n".join([*told, *lines[:_SHOWN], *more]),
        metadata={
            **(metadata or {}),
            "failed": dg.MetadataValue.json(list(errors)),
            "failed_count": len(errors),
            "total_count": total,
            **_money_numbers(moneys),
        },
        allow_retries=False,
    )


def _at_stake_usd(error: MediaAssetsError) -> Decimal | None:
    """Return what may have been billed, and nobody can know."""
    return error.at_most_usd if isinstance(error, PurchaseError) and error.billed is Billed.UNKNOWN else None


def _money_lines(error: MediaAssetsError, unmade: Unmade) -> list[str]:
    kept = "; ".join(f"{one.step} by {one.model}, {one.cost_usd:f} USD" for one in unmade.kept)
    lines = [f"Paid and kept: {kept}." if kept else "Nothing that is kept was paid for."]
    at_stake_usd = _at_stake_usd(error)
    if at_stake_usd is not None:
        lines.append(f"What failed may have been billed: at most {at_stake_usd:f} USD, which stays reserved.")
    if unmade.failed_usd or at_stake_usd is None:
        lines.append(
            f"What failed cost {unmade.failed_usd:f} USD." if unmade.failed_usd else "What failed cost nothing."
        )
    return lines


def _rerun_words(rerun_usd: Decimal | None) -> str:
    if rerun_usd is None:
        return "What is missing has no price: the prompt cannot be planned as it is."
    return f"What is missing costs at most {rerun_usd:f} USD more." if rerun_usd else "Nothing more has to be paid for."


def _sum_lines(moneys: Collection[Unmade]) -> list[str]:
    if not moneys:
        return []
    paid_usd = sum((one.paid_usd for one in moneys), Decimal(0))
    failed_usd = sum((one.failed_usd for one in moneys), Decimal(0))
    return [
        f"Of these, what cost {paid_usd:f} USD is kept, and {failed_usd:f} USD went to what failed. A rerun goes on "
        f"where they stopped. {_rerun_words(_rerun_usd(moneys))}"
    ]


def _rerun_usd(moneys: Collection[Unmade]) -> Decimal | None:
    known = [one.rerun_usd for one in moneys if one.rerun_usd is not None]
    return sum(known, Decimal(0)) if known else None


def _money_numbers(moneys: Collection[Unmade]) -> dict[str, float]:
    if not moneys:
        return {}
    numbers = {
        "paid_usd": float(sum(one.paid_usd for one in moneys)),
        "failed_usd": float(sum(one.failed_usd for one in moneys)),
    }
    rerun_usd = _rerun_usd(moneys)
    return numbers if rerun_usd is None else numbers | {"rerun_usd": float(rerun_usd)}


def _settings(error: MediaAssetsError) -> list[str]:
    """Say which setting decides, where the message does not."""
    if isinstance(error, UnknownOutcomeError):
        return [
            "MEDIA_ASSETS_UNKNOWN_POLICY, or `unknown` in the run's configuration, decides such cases by your own rule."
        ]
    if isinstance(error, JudgeError) and error.billed is Billed.YES:
        return [
            "`media-assets ledger accept` takes the file as it is; `retry_failed` in the run's configuration, or a new "
            "take, buys another."
        ]
    if isinstance(error, _ANOTHER_MODEL) and error.step in {Step.IMAGE, Step.VIDEO, Step.AUDIO}:
        setting = f"MEDIA_ASSETS_ROUTE_{error.step.upper()}"
        return [f"A further model in {setting}, or in the prompt's routes, takes over when this one cannot be had."]
    return []
