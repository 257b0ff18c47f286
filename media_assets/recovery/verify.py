"""Whether what is kept is whole: the ledger's rows, the files it names, and whatever else lies beside them.

Work goes on meanwhile: what looks wrong only because somebody is just storing, recording or removing it, is looked at
once more before it is told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from media_assets.artifact import Artifact, ArtifactStore, sha256_of
from media_assets.ledger import Ledger
from media_assets.ledger.audit import Finding
from media_assets.providers.transport.spool import Spool


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Looks at one home, and changes nothing. Blocking, and free."""

    ledger: Ledger
    store: ArtifactStore
    spool: Spool
    hashes: bool = True
    """Whether every file is read whole; otherwise only its size is compared."""

    def findings(self, tell: Callable[[int], object] = lambda _bytes: None) -> Iterator[Finding]:
        """Yield what is not as it should be.

        Args:
            tell: Told how many bytes of files have been looked at since it was told last.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        # Before the rows are read: what is there then, and has no row by the time they are read, was not just stored.
        lying = set(self.store.files())
        tokens = self.spool.tokens()
        yield from self.ledger.audit.findings()
        named = set()
        for artifact in self.ledger.audit.artifacts():
            named.add(self.store.path(artifact))
            yield from self._of_file(artifact)
            tell(artifact.info.size_bytes)
        yield from self._of_orphans(sorted(lying - named))
        yield from self._of_replies(sorted(tokens))

    def _of_file(self, artifact: Artifact) -> Iterator[Finding]:
        path = self.store.path(artifact)
        try:
            size_bytes = path.stat().st_size
            is_whole = size_bytes == artifact.info.size_bytes
            is_altered = not is_whole or (self.hashes and sha256_of(path) != artifact.sha256)
        except OSError as error:
            # Unless it was collected as garbage since its row was read.
            if self.ledger.garbage.named([path.name]):
                what = f"it cannot be read: {error.strerror or error}"
                yield Finding(kind="missing-file", about=str(path), what=what, do=self._again(artifact, lost=True))
            return
        if is_altered:
            wanted = artifact.info.size_bytes
            what = (
                "its bytes are not those that were stored" if is_whole else f"it has {size_bytes} bytes, not {wanted}"
            )
            yield Finding(kind="altered-file", about=str(path), what=what, do=self._again(artifact, lost=False))

    def _again(self, artifact: Artifact, *, lost: bool) -> str:
        """Return how a file is had again."""
        buyers = self.ledger.audit.buyers(artifact.sha256)
        paid = ", ".join(key[:12] for key, is_paid in buyers if is_paid)
        if paid:
            return f"Restore it from a backup; else a new take buys it again. It was paid for, by purchase {paid}."
        if not buyers:
            return "Nothing needs it; `media-assets gc` strikes it in time."
        return f"{'Run' if lost else 'Delete it, and run'} the prompt again: it is made again, free."

    def _of_orphans(self, paths: list[Path]) -> Iterator[Finding]:
        for path in paths:
            # One with a note was stored and not recorded: just now, or by a process that died; gc sees to that.
            is_known = self.store.unrecorded([path.name]) or self.ledger.garbage.named([path.name])
            is_in_its_place = path.parent.name == path.name[:2]
            if path.exists() and not (is_known and is_in_its_place):
                do = "If another ledger uses this folder, it may be its file. If not, move it away: it is of no use."
                yield Finding(kind="orphan-file", about=str(path), what="no purchase of this ledger has it", do=do)

    def _of_replies(self, tokens: list[str]) -> Iterator[Finding]:
        if not tokens:
            return
        purchases = self.ledger.purchases
        known, ended = purchases.replies_known(tokens), purchases.replies_done_with(tokens)
        for token in tokens:
            about = str(self.spool.path(token))
            if token not in known:
                do = "It may be another ledger's of this home. `media-assets gc` removes it after a month."
                yield Finding(kind="foreign-reply", about=about, what="this ledger knows no such submission", do=do)
            elif token in ended and not self.ledger.audit.is_being_finished(token) and token in self.spool.tokens():
                do = "The next run removes it; so does `media-assets gc`."
                yield Finding(kind="left-reply", about=about, what="its purchase has come to an end", do=do)
