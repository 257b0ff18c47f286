"""One partition a prompt. The key is a slug or digest, never prompt text: keys appear in URLs, tags and paths."""

from collections.abc import Iterable

import dagster as dg

PARTITIONS_NAME = "prompts"

prompts_partitions = dg.DynamicPartitionsDefinition(name=PARTITIONS_NAME)

_AT_ONCE = 500
"""SQLite takes about 32,000 variables in a statement (dagster-io/dagster#16260)."""


def without_partition(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Return the keys that are not partitions yet."""
    known = set(instance.get_dynamic_partitions(PARTITIONS_NAME))
    return [key for key in keys if key not in known]


def add_partitions(instance: dg.DagsterInstance, keys: Iterable[str]) -> int:
    """Add the keys that are not partitions yet; return how many there were."""
    new = without_partition(instance, keys)
    for start in range(0, len(new), _AT_ONCE):
        instance.add_dynamic_partitions(PARTITIONS_NAME, new[start : start + _AT_ONCE])
    return len(new)
