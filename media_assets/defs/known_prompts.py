"""Makes every prompt of the ledger a partition of the Dagster instance. Run before the UI starts.

Usage: ``python -m media_assets.defs.known_prompts``.
"""

import sys
from pathlib import Path

import dagster as dg

from media_assets.defs.partitions import add_partitions
from media_assets.settings import find_home, load_settings
from media_assets.studio import open_studio


def main() -> None:
    """Add the partitions that are missing, and say how many there are."""
    settings = load_settings()
    with open_studio(find_home(settings, Path.cwd()), settings.studio_options()) as studio:
        keys = studio.ledger.prompts.keys()
    with dg.DagsterInstance.get() as instance:
        added = add_partitions(instance, keys)
    sys.stderr.write(f"{len(keys)} prompts are partitions, {added} of them new\n")


if __name__ == "__main__":
    main()
