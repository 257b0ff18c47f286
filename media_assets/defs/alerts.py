"""Sensors that call a webhook: a run has failed, a budget is almost used up. Off until they are switched on."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import dagster as dg

from media_assets.alerts import Alert, AlertForm, require_webhook, send_alert
from media_assets.defs.resources import LedgerResource, StoreResource, opened_ledger
from media_assets.errors import MediaAssetsError, Rerun
from media_assets.ledger.spending import Scope
from media_assets.pricing import from_micro_usd, usd_text
from media_assets.settings import Settings, load_settings

_EVERY_S = 60
_NO_URL = "MEDIA_ASSETS_ALERT_URL is not set"
_TAGS = ("prompt", "prompts", "dagster/partition", "quote_usd", "cost_usd")
"""Of a run, that an alert tells."""


def _send(settings: Settings, alert: Alert) -> None:
    if settings.alert_url is not None:
        asyncio.run(send_alert(alert, settings.alert_url.get_secret_value(), AlertForm(settings.alert_form)))


def tell_failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Tell of a run that has failed, in the words of its failure."""
    settings = load_settings()
    if settings.alert_url is None:
        return dg.SkipReason(_NO_URL)
    run = context.dagster_run
    steps = context.get_step_failure_events()
    failures = [step.step_failure_data.user_failure_data for step in steps]
    told = [failure.description for failure in failures if failure is not None and failure.description]
    fields = {name: run.tags[name] for name in _TAGS if name in run.tags}
    alert = Alert(
        kind="run_failed",
        title=f"the run of {run.job_name} has failed",
        text="\n".join(told) or context.failure_event.message or "no reason was recorded",
        fields={**fields, "run": f"{settings.dagster_url.rstrip('/')}/runs/{run.run_id}"},
        at=datetime.now(UTC),
    )
    _send(settings, alert)
    return None


def tell_budgets(
    context: dg.SensorEvaluationContext, store: StoreResource, ledger: LedgerResource
) -> dg.SensorResult | dg.SkipReason:
    """Tell once of each of the day's budgets of which most is spent, and of one that a bill has overrun.

    What could not be sent is tried again by the next tick, and told as why this one did nothing: a tick that fails
    would lose its cursor, and with it what was sent.
    """
    settings = load_settings()
    if settings.alert_url is None:
        return dg.SkipReason(_NO_URL)
    require_webhook(settings.alert_url.get_secret_value())
    now = datetime.now(UTC)
    with opened_ledger(store, ledger) as opened:
        scopes = opened.ledger.spending.scopes(now.date())
    due = {_level(one, Decimal(str(settings.alert_share))): one for one in scopes}
    due.pop("", None)
    told = set(json.loads(context.cursor)) if context.cursor else set()
    new = {level: one for level, one in due.items() if level not in told}
    failed = {level: error for level, one in new.items() if (error := _failure(settings, _budget_alert(one, now)))}
    # What may have arrived is not sent again, so that nobody is told every minute.
    unsent = {level for level, error in failed.items() if error.rerun is not Rerun.ASK}
    reasons = [error.message for error in failed.values()] or ([] if new else ["no budget is newly almost used up"])
    return dg.SensorResult(skip_reason="\n".join(reasons) or None, cursor=json.dumps(sorted(due.keys() - unsent)))


def _failure(settings: Settings, alert: Alert) -> MediaAssetsError | None:
    """Send an alert; return why that failed, if so."""
    try:
        _send(settings, alert)
    except MediaAssetsError as error:
        return error
    return None


def _level(one: Scope, share: Decimal) -> str:
    """Return what is told once of a budget; empty where nothing is."""
    if one.overrun is not None:
        return f"{one.scope} overrun"
    is_due = one.cap_micro_usd > 0 and one.spent_micro_usd >= share * one.cap_micro_usd
    return one.scope if is_due else ""


def _budget_alert(one: Scope, now: datetime) -> Alert:
    spent, cap = usd_text(from_micro_usd(one.spent_micro_usd)), usd_text(from_micro_usd(one.cap_micro_usd))
    if one.overrun is not None:
        title = f"the budget {one.scope} is overrun, and blocked"
        text = "A bill was higher than the worst case that was reserved. Look at it, then `media-assets budget accept`."
    else:
        title = f"the budget {one.scope} is almost used up"
        text = "What does not fit stays pending. `media-assets budget` names the setting of each cap."
    fields = {"spent_usd": spent, "reserved_usd": usd_text(from_micro_usd(one.reserved_micro_usd)), "cap_usd": cap}
    return Alert(kind="budget", title=title, text=text, fields=fields, at=now)


run_failure_alert = dg.run_failure_sensor(
    name="run_failure_alert",
    description="Calls the webhook MEDIA_ASSETS_ALERT_URL when a run has failed.",
    minimum_interval_seconds=_EVERY_S,
    monitor_all_code_locations=False,
)(tell_failure)

budget_alert = dg.SensorDefinition(
    name="budget_alert",
    evaluation_fn=tell_budgets,
    minimum_interval_seconds=_EVERY_S,
    description="Calls the webhook MEDIA_ASSETS_ALERT_URL once when most of a budget of today is spent.",
)
