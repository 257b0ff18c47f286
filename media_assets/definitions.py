"""What Dagster loads: ``defs``, built by ``build_defs`` so that tests and users can put their own resources in."""

import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg

from media_assets.defs.alerts import budget_alert, run_failure_alert
from media_assets.defs.assets import media
from media_assets.defs.definition_sources import unfinished_in_dagster
from media_assets.defs.in_flight import in_flight, janitor
from media_assets.defs.jobs import batch, films, nightly_batch, submit_prompt
from media_assets.defs.new_prompts import inbox_spec, new_prompts
from media_assets.defs.resources import (
    ElevenLabsResource,
    FalResource,
    LedgerResource,
    LocalResource,
    OpenAIResource,
    ReplicateResource,
    StoreResource,
    StudioResource,
    owners_of_settings,
)
from media_assets.defs.spend_report import daily_spend_report, spend_report_job, spend_report_schedule

# Dagster (1.13.27) passes this parameter on itself whenever it puts sensors and resources together.
warnings.filterwarnings("ignore", "Parameter `owners` of initializer `SensorDefinition", dg.BetaWarning)
# So does it where it resolves a resource that holds others.
warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)


def build_defs(*, owners: Sequence[str] | None = None, **overrides: Any) -> dg.Definitions:
    """Build the project's definitions.

    Args:
        owners: Whose the assets are, for the UI: e-mail addresses, and teams as ``team:NAME``. None: those of the
            setting ``MEDIA_ASSETS_OWNERS``.
        overrides: Resources to use in place of the defaults, by name: ``store``, ``ledger``, ``local``,
            ``replicate``, ``fal``, ``openai``, ``elevenlabs``.
    """
    resources: dict[str, Any] = {
        "store": StoreResource(),
        "ledger": LedgerResource(),
        "local": LocalResource(),
        "replicate": ReplicateResource(),
        "fal": FalResource(),
        "openai": OpenAIResource(),
        "elevenlabs": ElevenLabsResource(),
    }
    unknown = set(overrides) - set(resources)
    if unknown:
        message = f"build_defs knows no resource {', '.join(sorted(unknown))}; there are: {', '.join(resources)}"
        raise TypeError(message)
    given = resources | overrides
    return dg.Definitions(
        assets=_assets(owners_of_settings() if owners is None else owners),
        jobs=[films, batch, submit_prompt, janitor, spend_report_job],
        sensors=[new_prompts, in_flight, run_failure_alert, budget_alert],
        schedules=[nightly_batch, spend_report_schedule],
        resources={**given, "studio": StudioResource(**given)},
        # One process a run: the step itself runs many things at once, and another process costs 6 to 15 s.
        executor=dg.in_process_executor,
    )


def _assets(owners: Sequence[str]) -> Sequence[Any]:
    def owned(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(owners=list(owners))

    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        media.map_asset_specs(owned),
        owned(inbox_spec),
        daily_spend_report.map_asset_specs(owned),
    ]
    with unfinished_in_dagster():
        return dg.with_source_code_references(assets)


defs = build_defs()
