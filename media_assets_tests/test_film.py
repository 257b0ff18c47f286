"""The README's film, made as a user makes it, and looked at and listened to."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media_assets.media.merge import measure_loudness
from media_assets.media.work import Work
from media_assets.prompt_file import read_prompts
from media_assets_tests.listening import heard_words, recall

ROOT = Path(__file__).parent.parent
OTHER_SCRIPT = (
    "Fresh bread is baked before five in the morning. Two white horses pull a heavy cart along a dusty road. "
    "My brother bought an old green bicycle yesterday."
)


def _generate(home: Path, *arguments: str) -> dict[str, Any]:
    """Run the command line with nothing on PATH, so that only what the wheels bring can be used."""
    command = [str(Path(sys.executable).parent / "media-assets"), "generate", *arguments, "--json"]
    environment = {"MEDIA_ASSETS_HOME": str(home), "PATH": str(home / "nothing-here"), "HOME": os.environ["HOME"]}
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    (line,) = done.stdout.splitlines()
    made = json.loads(line)
    assert isinstance(made, dict)
    return made


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Make the README's film once for this module."""
    home = tmp_path_factory.mktemp("home")
    return home, _generate(home, "prompts/lighthouse.yaml")


def test_film_has_picture_and_sound_of_one_length(demo: tuple[Path, dict[str, Any]]) -> None:
    """A film whose sound runs on after the picture is what naive chains deliver."""
    film = demo[1]["film"]

    with av.open(film["path"]) as container:
        (picture,), (sound,) = container.streams.video, container.streams.audio
        lengths = [float(stream.duration * stream.time_base) for stream in (picture, sound)]
        codecs = picture.codec_context.name, sound.codec_context.name

    assert codecs == ("h264", "aac")
    assert abs(lengths[0] - lengths[1]) <= 0.1
    assert abs(lengths[0] - film["duration_s"]) <= 0.1


def test_every_sentence_of_the_script_is_heard_in_the_film(demo: tuple[Path, dict[str, Any]]) -> None:
    """A recogniser that knows nothing of the text must understand the voice through loudness and AAC."""
    (prompt,) = read_prompts(ROOT / "prompts" / "lighthouse.yaml")
    sentences = re.split(r"(?<=\.)\s+", prompt.script or "")
    heard = heard_words(Path(demo[1]["film"]["path"]))

    assert len(sentences) == 3
    for sentence in sentences:
        assert recall(sentence, heard) >= 0.7, (sentence, heard)


def test_another_script_is_not_heard_in_the_film(demo: tuple[Path, dict[str, Any]]) -> None:
    """Otherwise hearing the right script would prove nothing."""
    heard = heard_words(Path(demo[1]["film"]["path"]))

    assert recall(OTHER_SCRIPT, heard) < 0.3


def test_another_films_voice_says_its_own_script(tmp_path: Path) -> None:
    """The other script is a fair comparison only if the same recogniser hears it where it is spoken."""
    made = _generate(
        tmp_path, "--prompt", "A village", "--script", OTHER_SCRIPT, "--size", "512x512", "--set", "video.fps=5"
    )

    assert recall(OTHER_SCRIPT, heard_words(Path(made["film"]["path"]))) >= 0.7


def test_the_clip_moves_in_every_second(demo: tuple[Path, dict[str, Any]]) -> None:
    """A still that is called a video is the commonest way to sell nothing."""
    frames: dict[int, list[Any]] = {}
    with av.open(demo[1]["film"]["path"]) as container:
        for frame in container.decode(video=0):
            if frame.time is not None:
                frames.setdefault(int(frame.time), []).append(frame.to_ndarray(format="gray").astype(np.int16))

    # The last second may be a fragment; the caption's band stands still on purpose.
    moved = {
        second: float(np.abs(many[-1] - many[0])[: many[0].shape[0] * 3 // 4].mean())
        for second, many in frames.items()
        if len(many) > 12
    }

    assert len(moved) >= demo[1]["film"]["duration_s"] - 1
    assert min(moved.values()) > 0.3, moved


def test_the_film_is_as_loud_as_films_are(demo: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """-16 LUFS and at most -1.5 dBTP, as the README says."""
    loudness = measure_loudness(Path(demo[1]["film"]["path"]), Work(scratch=tmp_path))

    assert abs(loudness.integrated_lufs + 16) <= 1
    assert loudness.true_peak_dbtp <= -1.0


def test_second_run_finds_every_step_and_buys_nothing(demo: tuple[Path, dict[str, Any]]) -> None:
    """P5, on the README's own example."""
    home, first = demo

    second = _generate(home, "prompts/lighthouse.yaml")

    assert [step["cached"] for step in second["steps"]] == [True] * 4
    assert [step["attempts"] for step in second["steps"]] == [1] * 4
    assert second["film"] == first["film"]


def test_two_working_directories_share_one_ledger(tmp_path: Path) -> None:
    """Two ledgers by accident would be two purchases."""
    for name in ("workspace.yaml", "prompts"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    command = [str(Path(sys.executable).parent / "media-assets"), "generate", "--json", "--clip-s", "1"]
    command += ["--size", "512x512", "--set", "video.fps=4", "--prompt", "A harbour", "--key", "harbour"]
    lines = [
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, env={"PATH": "", "HOME": str(tmp_path)}
        ).stdout
        for folder in (tmp_path, tmp_path / "prompts")
    ]
    first, second = (json.loads(line) for line in lines)

    assert first["home"] == second["home"] == str(tmp_path / ".media_assets")
    assert [step["cached"] for step in first["steps"]] == [False] * 4
    assert [step["cached"] for step in second["steps"]] == [True] * 4
