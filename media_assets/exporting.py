"""A film that is made becomes a copy that people find under its key."""

import contextlib
from pathlib import Path

from media_assets.artifact import Artifact, ArtifactStore
from media_assets.film import FILMS
from media_assets.ledger import Ledger
from media_assets.prompt import Prompt


def export_film(home: Path, ledger: Ledger, store: ArtifactStore, prompt: Prompt, merged: Artifact) -> Path:
    """Put the film where people look for it; left alone when it is there already. Blocking."""
    target = home / FILMS / f"{prompt.key}.mp4"
    source = store.local_path(merged)
    if not ledger.prompts.is_pinned(prompt.key, prompt.digest):
        # Another prompt was pinned while this one was made: the key's film is that one's.
        return source
    with contextlib.suppress(FileNotFoundError):
        there, wanted = target.stat(), source.stat()
        # The copy carries its source's time, so that an unchanged film is known without reading it.
        if (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns):
            return target
    store.export(merged, target, owner=ledger.owner.id)
    return target
