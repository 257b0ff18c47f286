"""The asset ``daily_spend_report``, materialized: what plots, what is shown, and what is left on disk."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from media_assets.definitions import build_defs
from media_assets.defs.resources import StoreResource
from media_assets.report.charts import CHARTS, SMALL_BYTES
from media_assets_tests.own_model_file import OWN_MODEL, OWN_MODEL_FILE
from media_assets_tests.report.few_days import buy_a_few

_NAME = "daily_spend_report"
_MOST_EVENT_BYTES = 120_000


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as one:
        yield one


def _run(instance: dg.DagsterInstance, home: Path, **config: Any) -> dg.ExecuteInProcessResult:
    job = build_defs(store=StoreResource(home=str(home))).resolve_job_def("spend_report")
    return job.execute_in_process(
        instance=instance, run_config={"ops": {_NAME: {"config": config}}}, raise_on_error=False
    )


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dg.MetadataValue[Any]]:
    (event,) = result.get_asset_materialization_events()
    return dict(event.materialization.metadata)


def test_a_report_is_numbers_charts_tables_and_files(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Everything that the ledger knows of money is one click away, and the event stays small."""
    home = tmp_path / "home"
    buy_a_few(home)

    found = _metadata(_run(instance, home, since_days=5, day="2026-11-23"))

    numbers = {name: value.value for name, value in found.items() if isinstance(value.value, int | float)}
    assert (
        numbers
        | {
            "spent_usd": 1.01,
            "cost_usd": 1.01,
            "quote_usd": 1.01,
            "spent_today_usd": 0.0,
            "spent_7d_usd": 1.51,
            "spent_30d_usd": 1.51,
            "failed_count": 3,
            "degraded_count": 2,
            "saved_usd": 0.01,
            "unknown_reserved_usd": 0.5,
            "success_rate": 0.625,
        }
        == numbers
    )
    for name in CHARTS:
        picture = base64.b64decode(str(found[f"chart_{name}"].value).partition("base64,")[2].rstrip(")"))
        assert len(picture) <= SMALL_BYTES
        assert Image.open(io.BytesIO(picture)).width == 800
    days = found["days"]
    assert isinstance(days, dg.TableMetadataValue)
    assert [record.data["day"] for record in days.records] == ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"]
    for name, field, value in (("providers", "provider", "testing"), ("steps", "step", "audio")):
        table = found[name]
        assert isinstance(table, dg.TableMetadataValue)
        costs = {str(record.data[field]): record.data["cost_usd"] for record in table.records}
        assert (costs[value], str(found[f"{name}_csv"].value)) == (
            {"testing": "1.01", "audio": "1"}[value],
            str(home / "reports" / "2026-11-23" / f"{name}.csv"),
        )
    assert len(json.dumps({name: str(value.value) for name, value in found.items()})) < _MOST_EVENT_BYTES
    folder = home / "reports" / "2026-11-23"
    assert str(found["spend_csv"].value) == str(folder / "spend.csv")
    assert {file.suffix for file in folder.iterdir()} == {".csv", ".png"}


def test_a_day_without_a_purchase_has_a_report_that_names_old_prices(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule begins before the first film; prices grow old meanwhile."""
    (tmp_path / "catalog").mkdir()
    old = OWN_MODEL_FILE.replace("2026-11-24", "2020-11-24").replace("2026-11-01", "2020-11-01")
    (tmp_path / "catalog" / "mine.toml").write_text(old)
    monkeypatch.setenv("MEDIA_ASSETS_CATALOG_FOLDER", str(tmp_path / "catalog"))

    found = _metadata(_run(instance, tmp_path / "home"))

    assert found["spent_usd"].value == 0.0
    assert "success_rate" not in found
    assert OWN_MODEL in str(found["old_prices_named"].value)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"since_days": 0}, "since_days 0 is not within 1 and 3660"),
        ({"since_days": -1}, "since_days -1 is not within 1 and 3660"),
        ({"since_days": 3661}, "since_days 3661 is not within 1 and 3660"),
        ({"day": "0001-01-01"}, "day 0001-01-01 is not within 2000-01-01 and"),
        ({"day": "9999-12-31"}, "day 9999-12-31 is not within 2000-01-01 and"),
    ],
)
def test_a_time_that_no_report_is_of_is_refused_by_its_name(
    instance: dg.DagsterInstance, tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    """In the far future every price is old."""
    result = _run(instance, tmp_path / "home", **config)

    (entry,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    failure = entry.get_dagster_event().step_failure_data.user_failure_data
    assert failure is not None
    assert told in str(failure.description)
    assert not (tmp_path / "home").exists()


def test_a_day_that_is_none_fails_with_what_to_write(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The launchpad takes any text."""
    result = _run(instance, tmp_path / "home", day="yesterday")

    assert not result.success
    told = " ".join(str(event) for event in instance.all_logs(result.run_id))
    assert "YYYY-MM-DD" in told
    assert not (tmp_path / "home").exists()
