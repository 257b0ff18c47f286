"""A harness that lets a wrong protocol pass proves nothing of the right one."""

from collections import Counter
from collections.abc import Callable

import pytest

from media_assets_tests.conftest import SAMPLE
from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.mutants import MUTANTS
from media_assets_tests.simulation.schedule import play

WITHIN = 200
"""Schedules in which a mutant has to be caught; always the same ones, so that the gate never fails by bad luck."""


def test_every_wrong_protocol_is_caught(desk: Desk, record_property: Callable[[str, object], None]) -> None:
    """Each rule of the protocol is there for something, and the simulation notices when it is gone."""
    caught: dict[str, tuple[int, str]] = {}
    for name, mutate in MUTANTS.items():
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch, desk)
            for seed in range(WITHIN):
                if (violation := play(desk, seed).violation) is not None:
                    is_clumsy = violation.law == "defect" and "IntegrityError" not in str(violation)
                    assert not is_clumsy, f"{name} does not fit the product any more: {violation}"
                    caught[name] = (seed + 1, violation.law)
                    break

    latest = max((after, name) for name, (after, _) in caught.items())
    laws = ", ".join(f"{law}: {times}" for law, times in sorted(Counter(law for _, law in caught.values()).items()))
    record_property(
        SAMPLE,
        f"{len(caught)} of {len(MUTANTS)} wrong protocols caught, by {laws}; the last one, {latest[1]}, in {latest[0]} "
        f"of at most {WITHIN} schedules",
    )
    assert set(MUTANTS) - set(caught) == set()
    assert len(MUTANTS) >= 12
