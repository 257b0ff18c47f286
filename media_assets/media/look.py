"""Looking at what was made, before anything is built on it: what it is, and whether it is good enough."""

from dataclasses import replace
from pathlib import Path

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import JudgeError, ProbeError, Rerun
from media_assets.media.examine import Examined, examine
from media_assets.media.judge import OF_THE_FILE, Verdict
from media_assets.media.probe import probe
from media_assets.media.questions import Question
from media_assets.media.sniff import EXTENSIONS, HEAD_BYTES, is_no_file, sniff


def look(path: Path, question: Question, *, what: str, from_outside: bool) -> tuple[MediaInfo, JudgeError | None]:
    """Return what a file is and measures, and why it is not good enough, if it is not. Blocks; costs no money.

    Args:
        path: The file.
        question: What it has to be.
        what: What it is called in the error, for example "the clip".
        from_outside: Whether somebody else made it: then it is looked at in a child process with limits.

    Raises:
        ProbeError: It is no medium that is handled; with ``rerun`` RESUME nothing is said about the file.
    """
    if from_outside:
        examined = _examined(path, question)
        info, verdict = examined.info, examined.verdict
    else:
        info = probe(path)
        verdict = question.answer(path, info)
    measured = {name: value for name, value in verdict.numbers.items() if name in OF_THE_FILE}
    return replace(info, measured=measured), _fault(verdict, what)


def look_from_afar(path: Path, kind: MediaKind) -> MediaInfo | None:
    """Return what is known of a file that cannot be read, so that it can be kept; None where it is nothing but words.

    Args:
        path: The file; nothing but its size and its first bytes is read.
        kind: What it should be.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_no_file(head):
        return None
    mime = sniff(head) or "application/octet-stream"
    extension = EXTENSIONS.get(mime, "bin")
    return MediaInfo(kind=kind, mime=mime, extension=extension, size_bytes=path.stat().st_size)


def _examined(path: Path, question: Question) -> Examined:
    try:
        return examine(path, question)
    except ProbeError as error:
        if error.rerun is not Rerun.RESUME:
            raise
    # The machine was at fault, and what is paid for is worth a second look.
    return examine(path, question)


def _fault(verdict: Verdict, what: str) -> JudgeError | None:
    try:
        verdict.require(what)
    except JudgeError as error:
        return error
    return None
