"""``./dev bench report``: the spend report of a ledger of 100,000 purchases on SQLite: seconds, memory, pictures."""

import json
import random
import resource
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from media_assets.catalog import Catalog, load_catalog
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt, budget, prompt, purchase, reservation, step
from media_assets.report.tables import build_report, flat
from media_assets_tests.children import race

PURCHASES = 100_000
TODAY = date(2026, 11, 23)
_DAYS = 365
_CHUNK = 10_000
_STATES = {
    PurchaseState.SUCCEEDED: 90,
    PurchaseState.FAILED_FREE: 6,
    PurchaseState.FAILED_PAID: 2,
    PurchaseState.LOST_OUTPUT: 1,
    PurchaseState.UNKNOWN: 1,
}
_CANON = json.dumps({"prompt": "A quiet harbour in the morning fog, boats leaving " * 12})
"""As long as a usual request."""


def main() -> None:
    """Print what the report takes."""
    catalog = load_catalog()
    with tempfile.TemporaryDirectory() as home:
        # By a child, whose memory is not counted.
        race(f"{__name__}:fill_home", [{"home": home}])
        print(f"a ledger of {PURCHASES} purchases: {(Path(home) / 'ledger.db').stat().st_size / 1e6:.0f} MB")
        _measure(Path(home), catalog)


def _measure(home: Path, catalog: Catalog) -> None:
    with open_ledger(home) as ledger:
        for days in (7, 30, _DAYS):
            before_mb, began, cpu = _peak_mb(), time.perf_counter(), time.process_time()
            report = build_report(ledger, catalog, since=TODAY - timedelta(days=days - 1), until=TODAY, today=TODAY)
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
            told = f"{len(report.spend)} rows of spending, {flat(report.totals)['spent_usd']} USD"
            print(f"{days:4} days: {wall_s:.2f} s, CPU {cpu_s:.2f} s, {_peak_mb() - before_mb:.0f} MB more; {told}")
        before_mb, cpu = _peak_mb(), time.process_time()
        from media_assets.report import charts  # noqa: PLC0415 - the import is what is measured

        imported_s, cpu = time.process_time() - cpu, time.process_time()
        pictures = charts.draw_all(report)
        drawn_s, cpu = time.process_time() - cpu, time.process_time()
        small = {name: len(charts.small(picture)) for name, picture in pictures.items()}
    print(f"charts: importing {imported_s:.2f} s, {_peak_mb() - before_mb:.0f} MB; drawing {drawn_s:.2f} s")
    print(f"small ones: {time.process_time() - cpu:.2f} s; bytes: {small}")


def fill_home(home: str) -> None:
    """In a child: fill the ledger of a home."""
    with open_ledger(Path(home)) as ledger:
        fill(ledger, PURCHASES)


def fill(ledger: Ledger, count: int) -> None:
    """Put so many purchases of a year's days into a ledger, with their attempts, steps, prompts and budgets."""
    chance = random.Random(5)  # noqa: S311 - not a secret
    models = [spec for spec in load_catalog() if spec.step != "merged"]
    with ledger.database.write() as connection:
        for first in range(0, count, _CHUNK):
            rows = [_purchase(number, chance.choice(models), chance) for number in range(first, first + _CHUNK)]
            connection.execute(sa.insert(purchase), rows)
            connection.execute(sa.insert(attempt), [one for row in rows for one in _attempts(row)])
            good = [row for row in rows if row["state"] is PurchaseState.SUCCEEDED]
            connection.execute(sa.insert(step), [_step(row, version) for row in good for version in _versions(row)])
            connection.execute(sa.insert(prompt), [_prompt(row) for row in rows])
            scopes = [
                {"scope": f"prompt:{row['prompt_key']}", "spent_micro_usd": row["cost_micro_usd"]} for row in rows
            ]
            connection.execute(
                sa.insert(budget).values(cap_micro_usd=10**15, reserved_micro_usd=0, overrun=False), scopes
            )
            held = [_held(row) for row in rows if row["state"] is PurchaseState.UNKNOWN]
            connection.execute(sa.insert(reservation), held)


def _purchase(number: int, spec: Any, chance: random.Random) -> dict[str, Any]:
    (state,) = chance.choices(list(_STATES), list(_STATES.values()))
    created = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) - timedelta(
        minutes=chance.randrange(_DAYS * 1440 - 720)
    )
    estimate = 0 if spec.provider == "local" else chance.randrange(3_000, 400_000)
    is_billed = state not in {PurchaseState.FAILED_FREE, PurchaseState.UNKNOWN}
    return {
        "request_key": f"{number * 2654435761 % 2**64:064x}",
        "prompt_key": f"prompt-{number}",
        "step": str(spec.step),
        "provider": spec.provider,
        "account": "",
        "model": spec.id,
        "canon_json": _CANON,
        "take": 0,
        "recovery": "B",
        "state": state,
        "fence": 1,
        "owner": "",
        "attempts": 1 + (number % 20 == 0),
        "estimate_micro_usd": estimate,
        "cost_micro_usd": estimate * 2 // 3 if is_billed else 0,
        "duration_s": chance.lognormvariate(2, 0.7) if is_billed else None,
        "created_at": created.isoformat(timespec="microseconds"),
        "updated_at": created.isoformat(timespec="microseconds"),
    }


def _attempts(row: dict[str, Any]) -> list[dict[str, Any]]:
    began = datetime.fromisoformat(row["created_at"])
    outcome = "failed" if row["state"] is PurchaseState.FAILED_FREE else "accepted"
    return [
        {
            "request_key": row["request_key"],
            "n": n,
            "token": f"{row['request_key'][-24:]}{n}",
            "owner": "",
            "intent_at": row["created_at"],
            "replied_at": (began + timedelta(seconds=n)).isoformat(timespec="microseconds"),
            "outcome": outcome,
        }
        for n in range(1, row["attempts"] + 1)
    ]


def _versions(row: dict[str, Any]) -> range:
    return range(2 if row["attempts"] > 1 else 1)


def _step(row: dict[str, Any], version: int) -> dict[str, Any]:
    made = {name: row[name] for name in ("prompt_key", "step", "request_key", "model", "created_at")}
    made |= {"sha256": row["request_key"], "params": "{}", "inputs": "{}", "reason": None}
    return {**made, "digest": f"{version}", "degraded": row["provider"] == "local"}


def _prompt(row: dict[str, Any]) -> dict[str, Any]:
    digests = {"digest": row["request_key"], "source_digest": row["request_key"]}
    pinned = {
        "key": row["prompt_key"],
        "pin_seq": 1,
        "body": _CANON,
        "source": "bench",
        "updated_at": row["updated_at"],
    }
    return {**pinned, **digests, "status": "done" if row["state"] is PurchaseState.SUCCEEDED else "failed"}


def _held(row: dict[str, Any]) -> dict[str, Any]:
    amount = {"amount_micro_usd": row["estimate_micro_usd"], "request_key": row["request_key"]}
    return {"plan_id": row["request_key"][-32:], "step": row["step"], "scope": f"prompt:{row['prompt_key']}", **amount}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
