"""The examples are tests, and run as a user runs them: by pytest, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_guides_tests_pass_with_keys_and_settings_of_the_developers_own() -> None:
    """An example that fails is worse than none; and one that spends a reader's money is worse than that."""
    outside = {
        "REPLICATE_API_TOKEN": "r8_real",
        "FAL_KEY": "real:key",
        "ELEVENLABS_API_KEY": "real",
        "MEDIA_ASSETS_LEDGER_URL": "postgresql://ledger.example.org/real",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples"],
        cwd=ROOT,
        env={**os.environ, **outside},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
