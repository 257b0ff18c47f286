"""Caps: there are some without any configuration, each has a setting that is named, and each can be lifted."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest

from media_assets.caps import Caps
from media_assets.ledger.budgets import Cap
from media_assets.pricing import from_micro_usd
from media_assets.settings import load_settings
from media_assets_tests.making import cheap_prompt

_DAY = date(2026, 11, 23)
_LIFTED = Decimal(10**9)


def _caps(caps: Caps, *providers: str, **changes: object) -> dict[str, Cap]:
    found = caps.of(cheap_prompt(**changes), run_id="nightly", today=_DAY, providers=providers)
    return {cap.scope: cap for cap in found}


def _amounts(caps: Mapping[str, Cap]) -> dict[str, Decimal]:
    return {scope: from_micro_usd(cap.micro_usd) for scope, cap in caps.items()}


def test_there_are_caps_without_any_configuration() -> None:
    """A loop in a script, or a sensor gone wild, empties no account (reliability G5)."""
    assert _amounts(_caps(Caps(), "fal")) == {
        "prompt:cheap": Decimal(1),
        "day:2026-11-23": Decimal(5),
        "provider:fal:2026-11-23": _LIFTED,
    }


@pytest.mark.parametrize(
    ("setting", "scope"),
    [
        ("MEDIA_ASSETS_MAX_COST_USD", "prompt:cheap"),
        ("MEDIA_ASSETS_MAX_RUN_USD", "run:nightly"),
        ("MEDIA_ASSETS_MAX_DAY_USD", "day:2026-11-23"),
        ("MEDIA_ASSETS_REPLICATE_MAX_DAY_USD", "provider:replicate:2026-11-23"),
        ("MEDIA_ASSETS_FAL_MAX_DAY_USD", "provider:fal:2026-11-23"),
        ("MEDIA_ASSETS_OPENAI_MAX_DAY_USD", "provider:openai:2026-11-23"),
        ("MEDIA_ASSETS_ELEVENLABS_MAX_DAY_USD", "provider:elevenlabs:2026-11-23"),
    ],
)
def test_each_cap_is_set_and_named_by_its_setting(monkeypatch: pytest.MonkeyPatch, setting: str, scope: str) -> None:
    """What the refusal tells to change must be what changes it."""
    monkeypatch.setenv(setting, "0.25")

    cap = _caps(load_settings().caps(), "replicate", "fal", "openai", "elevenlabs")[scope]

    assert from_micro_usd(cap.micro_usd) == Decimal("0.25")
    assert cap.setting.split(" ")[0] == setting
    assert cap.provider == (scope.split(":")[1] if scope.startswith("provider") else None)


def test_a_number_too_large_for_the_ledger_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes a row of nines means: as much as I like."""
    monkeypatch.setenv("MEDIA_ASSETS_MAX_DAY_USD", "9" * 30)

    assert _amounts(_caps(load_settings().caps()))["day:2026-11-23"] == _LIFTED


@pytest.mark.parametrize("name", ["MAX_COST_USD", "MAX_DAY_USD"])
def test_none_lifts_a_cap_and_what_is_spent_counts_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """When it is set again at noon, the morning's bills are not forgotten."""
    monkeypatch.setenv(f"MEDIA_ASSETS_{name}", "none")

    amounts = _amounts(_caps(load_settings().caps()))

    assert sorted(amounts) == ["day:2026-11-23", "prompt:cheap"]
    assert amounts["day:2026-11-23" if name == "MAX_DAY_USD" else "prompt:cheap"] == _LIFTED


def test_a_prompts_own_cap_goes_before_the_setting() -> None:
    """It names the field that has to be changed then."""
    cap = _caps(Caps(prompt_usd=Decimal(2)), max_cost_usd="0.50")["prompt:cheap"]

    assert from_micro_usd(cap.micro_usd) == Decimal("0.50")
    assert cap.setting == "max_cost_usd (--max-cost-usd)"
