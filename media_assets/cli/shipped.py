"""Files that ship with the package and are kept in the repository where people look for them."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

SHIPPED: Mapping[str, str] = {
    "dagster.yaml": "dagster.yaml",
    "lighthouse.yaml": "prompts/lighthouse.yaml",
}
"""Where each is in a checkout. The wheel has a copy beside this module (``force-include`` in pyproject.toml)."""


def shipped(name: str) -> Traversable:
    """Return one of the files, from the wheel or from the checkout that is installed."""
    packaged = resources.files("media_assets.cli") / name
    return packaged if packaged.is_file() else Path(__file__).parents[2] / SHIPPED[name]
