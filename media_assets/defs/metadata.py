"""What people see of a step in Dagster: a small picture, and flat numbers under names that plot.

Pictures are base64 in markdown, at most 15 kB each, because every event is a database row that lists load.
"""

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg

from media_assets.batch import Summary
from media_assets.defs.failures import setting_of
from media_assets.errors import MediaAssetsError, MediaError
from media_assets.film import StepResult
from media_assets.media import preview
from media_assets.media.tiny_picture import tiny_picture
from media_assets.prompt import Step

_MOST_IN_A_TABLE = 500
"""Rows; all of them are in the ledger."""


def step_metadata(
    result: StepResult, *, chain: Mapping[Step, StepResult], with_pictures: bool
) -> dict[str, dg.MetadataValue[Any]]:
    """Return the metadata of one step's materialization.

    Args:
        result: The step.
        chain: Every step of the prompt known so far, for the timeline on ``merged``.
        with_pictures: False for runs over many prompts, whose events would grow too large.
    """
    metadata: dict[str, dg.MetadataValue[Any]] = {}
    if with_pictures:
        metadata |= _pictures(result, chain)
    metadata |= {
        "cost_usd": dg.MetadataValue.float(float(result.cost_usd)),
        "failed_usd": dg.MetadataValue.float(float(result.failed_usd)),
        "spent_usd": dg.MetadataValue.float(float(result.spent_usd)),
        "estimate_usd": dg.MetadataValue.float(float(result.estimate_usd)),
        "duration_s": dg.MetadataValue.float(round(result.duration_s, 3)),
        "attempts": dg.MetadataValue.int(result.attempts),
        "cached": dg.MetadataValue.bool(result.cached),
        "degraded": dg.MetadataValue.bool(result.degraded),
        "provider": dg.MetadataValue.text(result.provider),
        "model": dg.MetadataValue.text(result.model),
        "request_key": dg.MetadataValue.text(result.request_key),
    }
    if result.price_from is not None:
        metadata["price_from"] = dg.MetadataValue.text(result.price_from)
    metadata |= {f"reported_{name}": dg.MetadataValue.float(float(value)) for name, value in result.reported.items()}
    if result.prediction_id is not None:
        metadata["prediction_id"] = dg.MetadataValue.text(result.prediction_id)
    if result.reason is not None:
        metadata["reason"] = dg.MetadataValue.text(result.reason)
    if result.notes:
        metadata["notes"] = dg.MetadataValue.text("\n".join(result.notes))
    return metadata | _media_facts(result) | _chain_facts(result, chain)


def _media_facts(result: StepResult) -> dict[str, dg.MetadataValue[Any]]:
    if result.artifact is None:
        return {}
    info = result.artifact.info
    numbers = {
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": info.fps,
        "media_duration_s": info.duration_s,
        "sample_rate_hz": info.sample_rate_hz,
        "size_bytes": info.size_bytes,
    }
    facts: dict[str, dg.MetadataValue[Any]] = {
        name: dg.MetadataValue.float(value) if isinstance(value, float) else dg.MetadataValue.int(value)
        for name, value in numbers.items()
        if value is not None
    }
    facts["sha256"] = dg.MetadataValue.text(result.artifact.sha256)
    facts["path"] = dg.MetadataValue.path(str(result.path))
    return facts


def _chain_facts(result: StepResult, chain: Mapping[Step, StepResult]) -> dict[str, dg.MetadataValue[Any]]:
    if result.step is not Step.MERGED:
        return {}
    costs = sum(float(step.cost_usd) for step in chain.values())
    wall_s = max((step.started_s + step.duration_s for step in chain.values()), default=0.0)
    return {
        "film_cost_usd": dg.MetadataValue.float(costs),
        "chain_duration_s": dg.MetadataValue.float(round(wall_s, 3)),
        "film_degraded": dg.MetadataValue.bool(any(step.degraded for step in chain.values())),
    }


def _pictures(result: StepResult, chain: Mapping[Step, StepResult]) -> dict[str, dg.MetadataValue[Any]]:
    """Return a picture small enough to be shown at once, and a larger one to open."""
    if result.path is None:
        return {}
    try:
        if result.step is Step.IMAGE:
            picture = tiny = preview.thumbnail(result.path)
        elif result.step is Step.AUDIO:
            picture = tiny = preview.waveform(result.path)
        else:
            # Four frames would be too small to see in a table cell.
            picture, tiny = preview.contact_sheet(result.path), preview.contact_sheet(result.path, columns=2)
        mime = "image/png" if result.step is Step.AUDIO else "image/jpeg"
        pictures: dict[str, dg.MetadataValue[Any]] = {
            "thumbnail": shown(tiny_picture(tiny), "image/webp"),
            "preview": shown(picture, mime),
        }
        if result.step is Step.MERGED:
            pictures["timeline"] = shown(preview.timeline([_bar(step) for step in chain.values()]), "image/png")
    except (MediaError, OSError, ValueError) as error:
        # The step is made and judged; a picture of it is a courtesy.
        return {"preview": dg.MetadataValue.text(f"no picture: {error}")}
    return pictures


def _bar(step: StepResult) -> preview.TimelineBar:
    return preview.TimelineBar(
        label=str(step.step),
        start_s=step.started_s,
        end_s=step.started_s + step.duration_s,
        note=f"{step.model}, {step.cost_usd} USD",
        degraded=step.degraded,
        cached=step.cached,
    )


def shown(picture: bytes, mime: str) -> dg.MarkdownMetadataValue:
    """Return a picture as metadata that Dagster shows."""
    return dg.MetadataValue.md(f"![](data:{mime};base64,{base64.b64encode(picture).decode()})")


def summary_metadata(summary: Summary) -> dict[str, dg.MetadataValue[Any]]:
    """Return the metadata of a batch: a table of it all, numbers that plot, and why prompts were not made."""
    counts = {f"{name}_count": dg.MetadataValue.int(count) for name, count in summary.counts.items()}
    told: dict[str, dg.MetadataValue[Any]] = {
        "summary": _summary_table(summary),
        "prompts": dg.MetadataValue.int(summary.quote.prompts),
        **counts,
        "spent_usd": dg.MetadataValue.float(float(summary.spent_usd)),
        "quote_usd": dg.MetadataValue.float(float(summary.quote.estimate_usd)),
    }
    for name, errors in (("failures", summary.failed), ("deferrals", summary.deferred)):
        if errors:
            told[name] = _errors_table(errors)
    return told


def _summary_table(summary: Summary) -> dg.TableMetadataValue:
    quote = summary.quote
    rows = [
        ("quoted", quote.prompts, float(quote.estimate_usd)),
        *((name, count, None) for name, count in summary.counts.items()),
        ("spent", None, float(summary.spent_usd)),
    ]
    columns = [dg.TableColumn(name, kind) for name, kind in (("what", "string"), ("prompts", "int"), ("usd", "float"))]
    names = [column.name for column in columns]
    records = [dg.TableRecord(dict(zip(names, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _errors_table(errors: Mapping[str, MediaAssetsError]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                "prompt": key,
                "error": type(error).__name__,
                "rerun": str(error.rerun),
                "setting": setting_of(error),
                "why": error.message,
            }
        )
        for key, error in list(errors.items())[:_MOST_IN_A_TABLE]
    ]
    return dg.MetadataValue.table(records)


def as_materialization(
    key: str, result: StepResult, metadata: Mapping[str, dg.MetadataValue[Any]], code_version: str
) -> dg.AssetMaterialization:
    """Return the event to log for a step that is not yielded as an output."""
    tags = {"dagster/code_version": code_version}
    if result.artifact is not None:
        tags["dagster/data_version"] = result.artifact.sha256
    return dg.AssetMaterialization(asset_key=str(result.step), partition=key, metadata=dict(metadata), tags=tags)
