"""Core errors as Dagster failures: the only place where the two vocabularies meet.

Retries are never Dagster's to make: the core resumes by itself what can be resumed, and an interrupted step that
Dagster repeats would be reported as a success (dagster-io/dagster#15026).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from media_assets.errors import Billed, MediaAssetsError, PurchaseError

_SHOWN = 20

_ADVICE = {
    "never": "A rerun changes nothing: change the prompt, a setting or the take first.",
    "resubmit": "Nothing was billed: materialize again.",
    "resume": "Materialize again: it goes on where it stopped, and pays for nothing twice.",
    "ask": "A person has to decide first: see `media-assets ledger unknown`.",
}


def as_failure(error: MediaAssetsError) -> dg.Failure:
    """Build the failure of one prompt; returned, so that callers write ``raise … from``."""
    metadata: dict[str, str | float] = {"rerun": str(error.rerun), "billed": str(error.billed)}
    if isinstance(error, PurchaseError):
        named = ("step", "model", "request_key", "prediction_id")
        metadata |= {name: value for name in named if (value := getattr(error, name))}
        if error.at_most_usd is not None and error.billed is Billed.UNKNOWN:
            metadata["at_most_usd"] = float(error.at_most_usd)
    return dg.Failure(
        description=f"{type(error).__name__}: {error.message}\n{_ADVICE[error.rerun]}",
        metadata=metadata,
        allow_retries=False,
    )


def as_batch_failure(
    errors: Mapping[str, MediaAssetsError], total: int, *, metadata: Mapping[str, dg.MetadataValue[Any]] | None = None
) -> dg.Failure:
    """Build the failure of a run over several prompts; it names the failed ones."""
    lines = [f"{key}: {type(error).__name__}: {error.message}" for key, error in errors.items()]
    more = f"\n… and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return dg.Failure(
        description=f"{len(errors)} of {total} prompts failed; what the others made is materialized.\n"
        + "\n".join(lines[:_SHOWN])
        + more,
        metadata={
            **(metadata or {}),
            "failed": dg.MetadataValue.json(list(errors)),
            "failed_count": len(errors),
            "total_count": total,
        },
        allow_retries=False,
    )
