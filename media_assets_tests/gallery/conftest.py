"""A home with something of every kind, made once, and copies of it for tests that change it."""

import shutil
from pathlib import Path

import pytest

from media_assets_tests.gallery.showroom import furnish


@pytest.fixture(scope="session")
def showroom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that nothing but its gallery is written to."""
    home = tmp_path_factory.mktemp("showroom") / "home"
    furnish(home)
    return home


@pytest.fixture
def home(showroom: Path, tmp_path: Path) -> Path:
    """Return a copy of it, without the gallery, that may be changed."""
    copy = tmp_path / "home"
    shutil.copytree(showroom, copy, ignore=shutil.ignore_patterns("gallery"))
    return copy
