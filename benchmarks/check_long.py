"""``./dev check-long [NAME [SEED]]``: the proofs that are too long for ``./dev check``, which runs a sample of each."""

import os
import secrets
import sys

import pytest

from benchmarks import mutants

PROOFS = {
    "arrivals": (
        "50 prompts dropped into the inbox, the daemon or the code server killed, on SQLite and on Postgres",
        ["media_assets_tests/defs/test_arrivals.py"],
    ),
    "batch": ("500 prompts while one call in ten goes wrong", ["media_assets_tests/test_batch.py"]),
    "clicks": (
        "a day of clicking in a browser, from the form to the gallery, on SQLite and on Postgres",
        ["media_assets_tests/defs/test_ui_browser.py"],
    ),
    "corpus": (
        "every hostile file of the corpus in the child process",
        ["media_assets_tests/media/test_hostile_media.py", "media_assets_tests/test_hostile_outputs.py"],
    ),
    "films": ("a film of every combination of the catalog's models", ["media_assets_tests/test_paid_films.py"]),
    "fuzz": (
        "5,000 random replies for each reader of an adapter, 1,000 random scripts for the price of each voice",
        ["media_assets_tests/providers", "media_assets_tests/test_pricing_voices.py"],
    ),
    "postgres": (
        "a purchase whose line to Postgres is cut before, in or after each COMMIT; Postgres restarted again and again",
        ["media_assets_tests/ledger/test_commit_cuts.py", "media_assets_tests/ledger/test_restarts.py"],
    ),
    "cancel": (
        "a purchase canceled at every moment at which it waits",
        ["media_assets_tests/test_submission_canceled.py"],
    ),
    "races": (
        "processes that race for the same purchases, for the last of a budget and for the database, on both databases",
        ["media_assets_tests/ledger/test_races.py", "media_assets_tests/ledger/test_budget_races.py"],
    ),
    "simulation": (
        "10,000 simulated schedules, the wrong protocols, and 2,000 runs of the state machine",
        ["media_assets_tests/simulation", "--capture=no"],
    ),
    "crash": (
        "every pair of crash points, the second one in the rerun; a purchase at every point with every signal, on "
        "SQLite and on Postgres",
        [
            "media_assets_tests/test_crash_matrix.py",
            "media_assets_tests/ledger/test_crash_signals.py",
            "media_assets_tests/test_crash.py",
        ],
    ),
    "mutants": ("small changes of the ledger's code, and whether the tests notice each of them", []),
}


def main(arguments: list[str]) -> int:
    """Run the named proof with other random examples each time, or those of a seed; list the proofs without a name."""
    name, seed = [*arguments, "", ""][:2]
    if name not in PROOFS or len(arguments) > 2 or not (seed or "0").isdecimal():
        for known, (about, _) in PROOFS.items():
            print(f"{known:10} {about}")
        return 2 if arguments else 0
    seed = seed or str(secrets.randbelow(1_000_000_000))
    print(f"The same examples again: ./dev check-long {name} {seed}", flush=True)
    if name == "mutants":
        return mutants.main(["--seed", seed])
    os.environ["MEDIA_ASSETS_LONG"] = "1"
    return int(pytest.main([*PROOFS[name][1], "--quiet", f"--hypothesis-seed={seed}"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
