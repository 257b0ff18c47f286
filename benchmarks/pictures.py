"""``./dev pictures``: make the README's pictures again, from the demo film and from a day of clicking in Dagster."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import pytest

from media_assets.media.preview import contact_sheet
from media_assets.prompt_file import read_prompts
from media_assets.studio import open_studio

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "images"
_SHEET_BYTES = 150_000


def main() -> int:
    """Write the pictures; return pytest's exit code."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (prompt,) = read_prompts(ROOT / "prompts" / "lighthouse.yaml")
    with tempfile.TemporaryDirectory() as home, open_studio(Path(home)) as studio:
        film = asyncio.run(studio.make(prompt))
        if film.path is not None:
            sheet = contact_sheet(film.path, columns=4, rows=2, max_bytes=_SHEET_BYTES)
            (FOLDER / "contact-sheet.jpg").write_bytes(sheet)
    os.environ["MEDIA_ASSETS_SCREENSHOTS"] = str(FOLDER)
    os.environ["MEDIA_ASSETS_REQUIRE_BROWSER"] = "1"
    return int(pytest.main(["media_assets_tests/defs/test_ui_browser.py", "--quiet"]))


if __name__ == "__main__":
    sys.exit(main())
