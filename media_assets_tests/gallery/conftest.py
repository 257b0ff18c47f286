"""A home with something of every kind, made once, and copies of it for tests that change it."""

import shutil
from pathlib import Path

import pytest

from media_assets_tests.gallery.showroom import furnish


@pytest.fixture(scope="session")
def showroom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that is only looked at, and the gallery written in it."""
    home = tmp_path_factory.mktemp("showroom") / "home"
    furnish(home)
    return home


@pytest.fixture
def home(showroom: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be changed."""
    copy = tmp_path / "home"
    shutil.copytree(showroom, copy)
    return copy
