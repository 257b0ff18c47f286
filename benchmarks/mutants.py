"""``./dev check-long mutants [SEED]``: how many small changes of ``media_assets/ledger/`` the tests notice.

The seed decides the order, and with it what is not tried where the time does not suffice. Of the tools there are,
mutmut 3 leaves every decorated function alone, the ledger's transactions among them, and cosmic-ray starts pytest anew
for each mutant, which takes a day.
"""

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.mutant_runs import MutantRuns, Outcome
from benchmarks.mutating import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "media_assets" / "ledger"
EXPLAINED = ROOT / "docs" / "mutants.md"
LEAST_KILLED = 0.85
_BUDGET_S = 3300.0
_NO_MUTANTS_OF = frozenset({"schema.py"})
"""Data that the migrations repeat; a test compares the two."""
_PROGRESS_EVERY = 50

TESTS = (
    "media_assets_tests/ledger",
    "media_assets_tests/test_purchase.py",
    "media_assets_tests/test_submission.py",
    "media_assets_tests/test_undecided.py",
    "media_assets_tests/test_unknown_policies.py",
    "media_assets_tests/test_reserving.py",
    "media_assets_tests/test_caps.py",
    "media_assets_tests/cli/test_decide.py",
    "media_assets_tests/cli/test_budget.py",
    "media_assets_tests/cli/test_export.py",
    "media_assets_tests/cli/test_verify.py",
    "media_assets_tests/recovery/test_garbage.py",
    "media_assets_tests/recovery/test_retention.py",
    "media_assets_tests/recovery/test_verify.py",
    "media_assets_tests/recovery/test_reconcile.py",
    "media_assets_tests/report",
)
"""The ledger's own, and the quickest of those that buy and that look after what was bought."""


def main(arguments: list[str]) -> int:
    """Try every mutant once, or as many as the time allows; print what survived. 1 when too many did."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", nargs="*", help="of the ledger; all without it")
    parser.add_argument("--most", type=int, help="how many mutants to try")
    parser.add_argument("--tests", nargs="*", default=TESTS)
    parser.add_argument("--budget-s", type=float, default=_BUDGET_S)
    options = parser.parse_args(arguments)
    every = _mutants(options.files)
    random.Random(options.seed).shuffle(every)  # noqa: S311 - the same order for the same seed
    mutants = every[: options.most]
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.what != "killed":
            print(f"{outcome.what}: {_shown(mutants[outcome.index])} ({outcome.tests} tests)", flush=True)
        if len(outcomes) % _PROGRESS_EVERY == 0:
            print(f"{len(outcomes)} of {len(mutants)} tried", flush=True)

    runs = MutantRuns(mutants, options.budget_s, tell)
    os.chdir(ROOT)
    pytest_options = ["--quiet", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=failed"]
    ended = pytest.main([*options.tests, *pytest_options], plugins=[runs])
    if runs.failed or ended not in {0, pytest.ExitCode.NO_TESTS_COLLECTED} or not outcomes:
        print("Tests fail without any mutant, so nothing can be said of the mutants.")
        return 1
    return _report(mutants, outcomes, every)


def _mutants(files: list[str] | None) -> list[Mutant]:
    paths = sorted(LEDGER / name for name in files) if files else sorted(LEDGER.glob("*.py"))
    return [mutant for path in paths if path.name not in _NO_MUTANTS_OF for mutant in mutants_of(path)]


def _shown(mutant: Mutant) -> str:
    place, _, change = mutant.name.partition(": ")
    return f"{place.replace(':', f':{mutant.line} ', 1)}: {change}"


def _report(mutants: list[Mutant], outcomes: list[Outcome], every: list[Mutant]) -> int:
    lines = EXPLAINED.read_text(encoding="utf-8").splitlines()
    explained = {line.removeprefix("- ").partition(" — ")[0] for line in lines if line.startswith("- ")}
    by_file: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        by_file.setdefault(mutants[outcome.index].path.name, Counter())[outcome.what] += 1
    for name, counts in sorted(by_file.items()):
        print(f"{name:20} " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    whats = Counter(outcome.what for outcome in outcomes)
    survived = [mutants[outcome.index] for outcome in outcomes if outcome.what == "survived"]
    new = [mutant for mutant in survived if mutant.name not in explained]
    for mutant in sorted(new, key=lambda mutant: (mutant.path, mutant.line)):
        print(f"survived, and {EXPLAINED.name} does not say why: {_shown(mutant)}")
    noticed = whats["killed"] + whats["timed out"]
    tried = noticed + whats["survived"]
    files = {mutant.path.name for mutant in every}
    there = {mutant.name for mutant in every}
    for name in sorted(explained):
        if name.partition(":")[0] in files and name not in there:
            print(f"{EXPLAINED.name} explains what there is no more: {name}")
    print(
        f"{noticed} of {tried} mutants killed ({noticed / tried:.1%}, {whats['timed out']} of them by the deadline); "
        f"{whats['survived']} survived, {len(new)} of them unexplained; "
        f"{len(every) - len(outcomes)} of {len(every)} not tried, {whats['not in place']} not in place"
    )
    return 0 if noticed >= LEAST_KILLED * tried and not whats["not in place"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
