"""Core errors as Dagster failures: the only place where the two vocabularies meet.

Retries are never Dagster's to make: the core resumes by itself what can be resumed, and an interrupted step that
Dagster repeats would be reported as a success (dagster-io/dagster#15026).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from media_assets.errors import (
    Billed,
    BudgetExceededError,
    ConfigurationError,
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

_NAMED_IN_ADVICE = 3
_SETTING = re.compile(r"MEDIA_ASSETS_[A-Z0-9_]*[A-Z0-9]")


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
        advice = f"{advice} {_missing_words(error, unmade.missing_usd)}"
        metadata |= _money_numbers([(error, unmade)])
    lines += [advice, *_settings(error).values()]
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
    moneys = [(error, unmade[key]) for key, error in errors.items() if key in unmade] if unmade else []
    lines = [f"{key}: {type(error).__name__}: {error.message}" for key, error in errors.items()]
    more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    told = [f"{len(errors)} of {total} prompts failed; what the others made is materialized."]
    told += [*_sum_lines(moneys), *_at_stake_lines(errors.values())]
    return dg.Failure(
        description="\n".join([*told, *lines[:_SHOWN], *more, *_advice_lines(errors)]),
        metadata={
            **(metadata or {}),
            "failed": dg.MetadataValue.json(list(errors)),
            "failed_count": len(errors),
            "total_count": total,
            **_money_numbers(moneys),
            **_at_stake_numbers(errors.values()),
        },
        allow_retries=False,
    )


def setting_of(error: MediaAssetsError) -> str:
    """Return which setting decides, by name; empty where none does."""
    return ", ".join(dict.fromkeys([*_settings(error), *_SETTING.findall(error.message)]))


def _advice_lines(errors: Mapping[str, MediaAssetsError]) -> list[str]:
    """Say each thing that can be done once, and for which prompts."""
    keys_of: dict[str, list[str]] = {}
    for key, error in errors.items():
        for advice in (_ADVICE[error.rerun], *_settings(error).values()):
            keys_of.setdefault(advice, []).append(key)
    return [f"{_named(keys)}: {advice}" for advice, keys in keys_of.items()]


def _named(keys: Collection[str]) -> str:
    named = ", ".join([*keys][:_NAMED_IN_ADVICE])
    more = len(keys) - _NAMED_IN_ADVICE
    return f"For {named} and {more} more" if more > 0 else f"For {named}"


def _at_stake_usd(error: MediaAssetsError) -> Decimal | None:
    """Return what may have been billed, and nobody can know."""
    return error.at_most_usd if isinstance(error, PurchaseError) and error.billed is Billed.UNKNOWN else None


def _at_stake_sum_usd(errors: Iterable[MediaAssetsError]) -> Decimal | None:
    known = [at_most_usd for error in errors if (at_most_usd := _at_stake_usd(error)) is not None]
    return sum(known, Decimal(0)) if known else None


def _at_stake_lines(errors: Collection[MediaAssetsError]) -> list[str]:
    if (at_most_usd := _at_stake_sum_usd(errors)) is None:
        return []
    return [f"What failed may have been billed: at most {at_most_usd:f} USD, which stays reserved."]


def _at_stake_numbers(errors: Collection[MediaAssetsError]) -> dict[str, float]:
    at_most_usd = _at_stake_sum_usd(errors)
    return {} if at_most_usd is None else {"at_most_usd": float(at_most_usd)}


def _money_lines(error: MediaAssetsError, unmade: Unmade) -> list[str]:
    kept = "; ".join(f"{one.step} by {one.model}, {one.cost_usd:f} USD" for one in unmade.kept)
    lines = [f"Paid and kept: {kept}." if kept else "Nothing that is kept was paid for."]
    at_stake_lines = _at_stake_lines([error])
    lines += at_stake_lines
    if unmade.failed_usd or not at_stake_lines:
        lines.append(
            f"What failed cost {unmade.failed_usd:f} USD." if unmade.failed_usd else "What failed cost nothing."
        )
    return lines


def _goes_on(error: MediaAssetsError) -> bool:
    """Whether a rerun alone buys what is missing."""
    return error.rerun in {Rerun.RESUBMIT, Rerun.RESUME}


def _missing_words(error: MediaAssetsError, missing_usd: Decimal | None) -> str:
    """Say what is left to pay, and what has to happen before it is paid."""
    if missing_usd is None:
        return "What is missing has no price: the prompt cannot be planned as it is."
    if not missing_usd:
        return "Nothing more has to be paid for."
    costs = f"what is missing costs at most {missing_usd:f} USD more."
    if _goes_on(error):
        return costs[0].upper() + costs[1:]
    return f"{_condition(error)} {costs}"


def _condition(error: MediaAssetsError) -> str:
    if error.rerun is Rerun.ASK:
        return "Once that is decided,"
    if isinstance(error, BudgetExceededError | ConfigurationError):
        return "Once that is changed,"
    return "With `retry_failed` in the run's configuration, or a new take,"


def _sum_lines(moneys: Collection[tuple[MediaAssetsError, Unmade]]) -> list[str]:
    if not moneys:
        return []
    paid_usd = sum((one.paid_usd for _, one in moneys), Decimal(0))
    failed_usd = sum((one.failed_usd for _, one in moneys), Decimal(0))
    lines = [f"Of these, what cost {paid_usd:f} USD is kept, and {failed_usd:f} USD went to what failed."]
    goes_on = [one for error, one in moneys if _goes_on(error)]
    waits = [one for error, one in moneys if not _goes_on(error)]
    if goes_on:
        lines.append(f"A rerun goes on where {len(goes_on)} of them stopped. {_sum_words(goes_on)}")
    if waits:
        lines.append(
            f"A rerun alone does not try {len(waits)} of them again: that takes a change, a decision, a new take, or "
            f"`retry_failed` in the run's configuration. {_sum_words(waits)}"
        )
    return lines


def _sum_words(moneys: Collection[Unmade]) -> str:
    missing_usd = _missing_usd(moneys)
    if missing_usd is None:
        return "What is missing has no price: the prompts cannot be planned as they are."
    return (
        f"What is missing costs at most {missing_usd:f} USD more."
        if missing_usd
        else "Nothing more has to be paid for."
    )


def _missing_usd(moneys: Iterable[Unmade]) -> Decimal | None:
    known = [one.missing_usd for one in moneys if one.missing_usd is not None]
    return sum(known, Decimal(0)) if known else None


def _money_numbers(moneys: Collection[tuple[MediaAssetsError, Unmade]]) -> dict[str, float]:
    """Return the sums; ``rerun_usd`` is the part of ``missing_usd`` that a rerun alone buys."""
    if not moneys:
        return {}
    numbers = {
        "paid_usd": float(sum(one.paid_usd for _, one in moneys)),
        "failed_usd": float(sum(one.failed_usd for _, one in moneys)),
    }
    missing_usd = _missing_usd(one for _, one in moneys)
    if missing_usd is None:
        return numbers
    rerun_usd = _missing_usd(one for error, one in moneys if _goes_on(error)) or Decimal(0)
    return numbers | {"missing_usd": float(missing_usd), "rerun_usd": float(rerun_usd)}


def _settings(error: MediaAssetsError) -> dict[str, str]:
    """Say which setting decides, where the message does not; by the setting's name."""
    if isinstance(error, UnknownOutcomeError):
        name = "MEDIA_ASSETS_UNKNOWN_POLICY"
        return {name: f"{name}, or `unknown` in the run's configuration, decides such cases by your own rule."}
    if isinstance(error, JudgeError) and error.billed is Billed.YES:
        return {
            "retry_failed": (
                "`media-assets ledger accept` takes the file as it is; `retry_failed` in the run's configuration, or a "
                "new take, buys another."
            )
        }
    if isinstance(error, _ANOTHER_MODEL) and error.step in {Step.IMAGE, Step.VIDEO, Step.AUDIO}:
        name = f"MEDIA_ASSETS_ROUTE_{error.step.upper()}"
        return {name: f"A further model in {name}, or in the prompt's routes, takes over when this one cannot be had."}
    return {}
