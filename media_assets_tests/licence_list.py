"""The licences of everything ``requirements/run.lock`` installs; ``./dev lock`` writes the list with this module."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "requirements" / "LICENCES.md"

_LONGEST = 60


def locked_names() -> list[str]:
    """Return the names that run.lock pins, sorted."""
    lock = (ROOT / "requirements" / "run.lock").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, flags=re.MULTILINE)))


def licence_of(name: str) -> str | None:
    """Return what an installed package says its licence is; None when it is not installed on this platform."""
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        return None
    if "License-Expression" in facts:
        return str(facts["License-Expression"])
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in facts.get_all("Classifier") or []
        if value.startswith("License ::") and not value.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(sorted(classifiers))
    words = (str(facts["License"]) if "License" in facts else "").strip().splitlines()
    return words[0][:_LONGEST] if words and words[0] != "UNKNOWN" else "not stated"


def table() -> str:
    """Return the list as Markdown."""
    rows = [f"| {name} | {licence_of(name) or 'not installed on this platform'} |" for name in locked_names()]
    head = ["# Licences of what is installed", "", "Written by `./dev lock`; what needs a word is in NOTICE.", ""]
    return "\n".join([*head, "| package | licence, in its own words |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    LIST.write_text(table(), encoding="utf-8")
