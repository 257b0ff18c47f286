"""What both ways of materializing share in tests: prompts that are made in a moment, and what came of a run."""

from pathlib import Path
from typing import Any

from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow
from media_assets.prompt import Prompt

FOUR = ["image", "video", "audio", "merged"]


def quick(key: str, **fields: Any) -> dict[str, Any]:
    """Return a prompt that takes about a second to make."""
    return {
        "key": key,
        "prompt": f"A quiet harbour called {key}",
        "size_px": [512, 512],
        "clip_s": 1,
        "params": {"video": {"fps": 4}},
        **fields,
    }


def pin(home: Path, *prompts: dict[str, Any]) -> None:
    """Put prompts into the ledger, as ``media-assets ui`` does."""
    with open_ledger(home) as ledger:
        ledger.prompts.pin([Prompt.model_validate(prompt) for prompt in prompts], source="test")


def purchases_of(home: Path, key: str) -> dict[str, PurchaseRow]:
    """Return the purchases of a prompt by step; fails if a step has several."""
    with open_ledger(home) as ledger:
        rows = ledger.purchases.search(prompt_key=key)
    by_step = {row.step: row for row in rows}
    assert len(by_step) == len(rows)
    return by_step


def run_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the launchpad's form of the step's options."""
    return {"ops": {"media": {"config": config}}} if config else {}
