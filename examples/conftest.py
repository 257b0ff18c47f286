"""The plugin for every test in this folder; a project of yours has the same line in its own ``conftest.py``."""

pytest_plugins = ["media_assets.testing"]
