"""``models``: what a route can name, what each costs today, and whether it can be asked from here."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from media_assets.catalog import Catalog, Meter, ModelSpec, PriceRow, load_catalog
from media_assets.catalog.prices import PricePart
from media_assets.cli.exit_codes import DONE
from media_assets.cli.opening import find_place
from media_assets.cli.output import print_json, print_text, table, with_failure_object
from media_assets.errors import ConfigurationError
from media_assets.pricing import price_on
from media_assets.providers.keys import key_problem
from media_assets.settings import KEY_FIELDS

_UNITS = {
    Meter.REQUEST: "request",
    Meter.COMPUTE_S: "second of compute",
    Meter.OUTPUT_S: "second made",
    Meter.IMAGE: "image",
    Meter.MEGAPIXEL: "megapixel",
    Meter.CHARACTER: "1000 characters",
    Meter.TOKEN: "million tokens",
}
_PER = {Meter.CHARACTER: 1000, Meter.TOKEN: 1_000_000}


@with_failure_object
def run_models(*, json: bool) -> int:
    """Print every model of the catalog, the user's own files included; return the exit code."""
    settings = find_place().settings
    catalog = load_catalog(settings.catalog_folder)
    told = _told(catalog, keys=settings.keys(), today=datetime.now(UTC).date())
    if json:
        for one in told:
            print_json(one)
    else:
        columns = ("step", "model", "price", "provider's word", "key", "retires")
        print_text(table(columns, map(_row, told)))
    return DONE


def _told(catalog: Catalog, *, keys: dict[str, str], today: date) -> list[dict[str, Any]]:
    return [_facts(spec, keys, today) for spec in sorted(catalog, key=lambda spec: spec.step.value)]


def _facts(spec: ModelSpec, keys: dict[str, str], today: date) -> dict[str, Any]:
    try:
        row: PriceRow | None = price_on(spec, today)
    except ConfigurationError:
        row = None
    variable = None if spec.provider == "local" else KEY_FIELDS[spec.provider].upper()
    problem = None if variable is None else key_problem(variable, keys.get(spec.provider, ""))
    return {
        "id": spec.id,
        "step": str(spec.step),
        "title": spec.title,
        "price": None if row is None else price_text(row),
        "price_from": None if row is None else str(row.from_day),
        "price_is_own_word": None if row is None else row.own_word,
        "key": variable,
        "has_key": problem is None,
        "key_problem": problem,
        "retires": str(spec.retires) if spec.retires else None,
        "lifetime": spec.lifetime(today),
        "params": {name: param.default for name, param in spec.params.items()},
    }


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    key = "" if told["key"] is None else told["key_problem"] or "set"
    own = (
        "" if told["price_is_own_word"] is None or told["key"] is None else "yes" if told["price_is_own_word"] else "no"
    )
    return (told["step"], told["id"], told["price"] or "none known", own, key, told["retires"] or "")


def price_text(row: PriceRow) -> str:
    """Say in one line what a price is."""
    parts = [_part_text(part) for part in row.parts]
    if not any(part.usd for part in row.parts):
        return "free"
    for over in row.surcharge:
        limits = " and ".join(f"{name} is over {limit:g}" for name, limit in over.when_over.items())
        parts.append(f"times {over.factor} where {limits}")
    return "; ".join(parts)


def _part_text(part: PricePart) -> str:
    usd = (part.usd * _PER.get(part.per, 1)).normalize()
    text = f"{usd:f} USD per {_UNITS[part.per]}"
    if part.of:
        text += f" ({part.of.removesuffix('_tokens').replace('_', ' ')})"
    if part.above > Decimal(0):
        text += f" above {part.above.normalize():f}"
    if part.rounding:
        text += ", each begun one"
    conditions = ", ".join(f"{name}={value}" for name, value in part.when.items())
    return f"{text} at {conditions}" if conditions else text
