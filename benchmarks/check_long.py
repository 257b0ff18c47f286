"""``./dev check-long [NAME]``: the proofs that are too long for ``./dev check``, which runs a seeded sample of each."""

import os
import sys

import pytest

PROOFS = {
    "corpus": (
        "every hostile file of the corpus in the child process",
        ["media_assets_tests/media/test_hostile_media.py", "media_assets_tests/test_hostile_outputs.py"],
    ),
    "films": ("a film of every combination of the catalog's models", ["media_assets_tests/test_paid_films.py"]),
    "fuzz": ("5,000 random replies for each reader of an adapter", ["media_assets_tests/providers"]),
    "crash": ("every pair of crash points, the second one in the rerun", ["media_assets_tests/test_crash.py"]),
}


def main(names: list[str]) -> int:
    """Run the named proof; list them when there is none."""
    if len(names) != 1 or names[0] not in PROOFS:
        for name, (about, _) in PROOFS.items():
            print(f"{name:8} {about}")
        return 2 if names else 0
    os.environ["MEDIA_ASSETS_LONG"] = "1"
    return int(pytest.main([*PROOFS[names[0]][1], "--quiet"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
