"""The child process that looks at a stranger's file: what it answers, and what of that is believed."""

import json
import shutil
import signal
import sys
from pathlib import Path
from subprocess import run

import pytest
from PIL import Image

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import DefectError, ProbeError, Rerun
from media_assets.media.examine import Ended, Usage, examine, understand
from media_assets.media.probe import probe
from media_assets.media.questions import (
    AskAudio,
    AskFilm,
    AskImage,
    AskVideo,
    Question,
    question_as_dict,
    question_from_dict,
)
from media_assets_tests.media.makers import moving_clip, speech_like, textured, write_wav

ANY_IMAGE = AskImage(requested_size_px=None, min_side_px=64)
ANY_VIDEO = AskVideo(requested_size_px=None, requested_duration_s=None)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.part"
    Image.fromarray(textured(128, 96)).save(path, format="PNG")
    return path


def _sample(kind: str, folder: Path) -> tuple[Path, Question]:
    if kind == "image":
        path = folder / "a"
        Image.fromarray(textured(128, 96)).convert("RGBA").save(path, format="WEBP")
        return path, ANY_IMAGE
    if kind == "video":
        return moving_clip(folder / "a.mp4", sound_s=2), AskVideo(requested_size_px=None, requested_duration_s=9)
    if kind == "film":
        return moving_clip(folder / "a.mp4", sound_s=2), AskFilm(target_s=2)
    return write_wav(folder / "a.wav", speech_like(2)), AskAudio(text="two seconds of speech here")


@pytest.mark.parametrize("kind", ["image", "video", "audio", "film"])
def test_a_child_answers_as_this_process_would(kind: str, tmp_path: Path) -> None:
    """What is a good file must not depend on where it is looked at; good and bad verdicts alike."""
    path, question = _sample(kind, tmp_path)

    examined = examine(path, question)

    assert examined.info == probe(path)
    assert examined.verdict == question.answer(path, probe(path))
    assert examined.verdict.is_good is (kind in {"image", "audio"})
    assert 0 < examined.usage.cpu_s < 5


def test_a_refusal_is_the_one_of_this_process(tmp_path: Path) -> None:
    """The child's words reach the reader, not those of some pipe."""
    path = tmp_path / "output.png"
    path.write_bytes(b"<html>502</html>")

    with pytest.raises(ProbeError, match="a web page") as raised:
        examine(path, ANY_IMAGE)

    assert raised.value.rerun is Rerun.NEVER


@pytest.mark.parametrize(
    "question",
    [
        AskImage(requested_size_px=(1024, 576), min_side_px=300),
        AskImage(requested_size_px=None),
        AskVideo(requested_size_px=(64, 64), requested_duration_s=5, check_motion=False, min_clip_s=0.5),
        AskAudio(text="\ud800 «x»\n" * 3, silent_ok=True),
        AskAudio(text="Look up.", speed=0.25),
        AskFilm(target_s=4.2),
    ],
)
def test_a_question_survives_its_way_through_json(question: Question) -> None:
    """A size that came back as a list would be another question."""
    assert question_from_dict(json.loads(json.dumps(question_as_dict(question)))) == question


def test_a_short_clip_is_fine_where_short_clips_are_asked_for(tmp_path: Path) -> None:
    """The shortest clip is the caller's setting, not the judge's."""
    path = moving_clip(tmp_path / "a.mp4", seconds=0.75)

    verdicts = [
        AskVideo(requested_size_px=None, requested_duration_s=None, min_clip_s=shortest_s).answer(path, probe(path))
        for shortest_s in (0.5, 1.0)
    ]

    assert [verdict.problems for verdict in verdicts] == [(), ("it lasts 0.75 s; at least 1 s are needed",)]


def test_a_poisoned_folder_is_not_imported_from(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A work folder may hold a file called json.py."""
    for name in ("json", "resource", "signal", "numpy", "PIL", "media_assets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('poisoned')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ".", *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert examine(Path(picture.name), ANY_IMAGE).verdict.is_good


def test_a_package_that_is_not_installed_is_found(picture: Path, tmp_path: Path) -> None:
    """A wheel unpacked to a folder on the path, a user's site folder: the child finds what its parent found."""
    package = tmp_path / "somewhere" / "media_assets"
    (package / "media").mkdir(parents=True)
    source = Path(sys.modules["media_assets"].__file__ or "").parent
    shutil.copytree(source, package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    # A module of ours may one day be called like one of Python's own, and lies beside the child's script.
    (package / "media" / "json.py").write_text("raise SystemExit('not the json that was meant')")
    read_only = tmp_path / "read_only"
    read_only.mkdir(mode=0o555)
    path = [str(package.parent), *(entry for entry in sys.path if entry and Path(entry) != source.parent)]
    code = (
        f"import sys; sys.path[:] = {path!r}\n"
        "from pathlib import Path\n"
        "from media_assets.media.examine import COMMAND, examine\n"
        "from media_assets.media.questions import AskImage\n"
        f"found = examine(Path({str(picture)!r}), AskImage(requested_size_px=None, min_side_px=64))\n"
        "print(found.verdict.is_good, COMMAND[-1])"
    )

    ended = run(
        [sys.executable, "-I", "-S", "-c", code], check=False, cwd=read_only, capture_output=True, text=True, timeout=60
    )

    assert ended.stderr == ""
    assert ended.stdout.split() == ["True", str(package / "media" / "examine_child.py")]


def _ended(**more: object) -> Ended:
    usage = Usage(wall_s=1, cpu_s=float(str(more.pop("cpu_s", 1))), peak_bytes=1)
    values = {"exit_code": 0, "was_late": False, "reply": b"", "messages": "", "usage": usage, **more}
    return Ended(**values)  # type: ignore[arg-type]


def _reply(picture: Path, **changes: object) -> bytes:
    info = {**probe(picture).as_dict(), **changes}
    return json.dumps({"info": info, "problems": [], "numbers": {"mean_luma": 3.0}}).encode()


def test_a_whole_reply_is_believed(picture: Path) -> None:
    """The facts come back as they were, for the ledger to keep."""
    reply = understand(_ended(reply=_reply(picture)), picture, deadline_s=10)

    assert reply.info == probe(picture)
    assert MediaInfo.from_dict(json.loads(json.dumps(probe(picture).as_dict()))) == reply.info


@pytest.mark.parametrize(
    "changes",
    [
        {"extension": "png/../../evil"},
        {"extension": "jpg"},
        {"mime": "text/html", "extension": "html"},
        {"kind": "program"},
        {"width_px": "128"},
        {"width_px": 1.5},
        {"fps": float("nan")},
        {"duration_s": float("inf")},
        {"size_bytes": 1},
    ],
)
def test_a_reply_with_made_up_facts_is_not_believed(picture: Path, changes: dict[str, object]) -> None:
    """Whoever takes a decoder over writes the reply: its extension would become part of a path."""
    with pytest.raises(DefectError, match="no usable answer"):
        understand(_ended(reply=_reply(picture, **changes)), picture, deadline_s=10)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"refused": ""}',
        b'{"refused": 3}',
        b'{"refused": "x", "more": 1}',
        b'{"problems": ["x"]}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"numbers": {"a": NaN}, "refused": "x"}',
    ],
)
def test_a_reply_that_is_none_is_a_defect(picture: Path, reply: bytes) -> None:
    """Silence is no verdict: the file stays as it is, and the log says why."""
    with pytest.raises(DefectError, match="no usable answer"):
        understand(_ended(reply=reply), picture, deadline_s=10)


def test_a_whole_reply_from_a_child_that_failed_is_not_believed(picture: Path) -> None:
    """It said one thing and then went wrong."""
    with pytest.raises(DefectError, match="exit code 1"):
        understand(_ended(reply=_reply(picture), exit_code=1), picture, deadline_s=10)


@pytest.mark.parametrize(("cpu_s", "rerun"), [(9.8, Rerun.NEVER), (5.1, Rerun.NEVER), (4.9, Rerun.RESUME)])
def test_a_late_child_is_the_files_fault_only_if_it_worked(picture: Path, cpu_s: float, rerun: Rerun) -> None:
    """On a crowded machine ten seconds of the clock may be one of work."""
    killed = _ended(was_late=True, exit_code=-signal.SIGKILL, cpu_s=cpu_s)
    ended_by_its_own_clock = _ended(exit_code=-signal.SIGALRM, cpu_s=cpu_s)

    for late in (killed, ended_by_its_own_clock):
        with pytest.raises(ProbeError) as raised:
            understand(late, picture, deadline_s=10)
        assert raised.value.rerun is rerun


def test_a_defect_in_the_child_is_told_as_one(picture: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A question this version cannot answer ends the child with a traceback, which belongs in the log."""
    question = AskImage(requested_size_px=(0, 0))

    with pytest.raises(DefectError, match="exit code 1"):
        examine(picture, question)

    assert "ZeroDivisionError" in caplog.text


def test_the_answer_to_a_still_asked_for_a_video_names_what_it_is(picture: Path) -> None:
    """A provider that sends the input picture back is told from one that sends a broken clip."""
    examined = examine(picture, ANY_VIDEO)

    assert examined.info.kind is MediaKind.IMAGE
    assert examined.verdict.problems == ("it is image (image/png), not video",)
