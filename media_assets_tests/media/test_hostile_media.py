"""What providers, proxies and attackers may send is answered clearly, within its limits, and touches nothing else."""

import contextlib
import random
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest

from media_assets.errors import ProbeError
from media_assets.media import examine as examine_module
from media_assets.media.examine import MEMORY_BYTES, Ended, examine
from media_assets.media.probe import probe
from media_assets.media.questions import AskAudio, AskImage, AskVideo, Question
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.media.hostile_makers import NO_MEDIA, PICTURES, playlists
from media_assets_tests.media.hostile_streams import SOUNDS, VIDEOS, Sources, wav_of
from media_assets_tests.media.makers import speech_like
from media_assets_tests.media.watching import HAS_PROC, Canary, canary_server, children

IMAGE = AskImage(requested_size_px=(96, 64), min_side_px=32)
UPRIGHT = AskImage(requested_size_px=(64, 96), min_side_px=32)
ANY_IMAGE = AskImage(requested_size_px=None, min_side_px=32)
VIDEO = AskVideo(requested_size_px=(160, 120), requested_duration_s=2)
ANY_VIDEO = AskVideo(requested_size_px=None, requested_duration_s=None)
VOICE = AskAudio(text="two seconds of speech here")

_DEADLINE_S = 10
_MUTATED = 2000 if LONG else 16
_MARK = "CANARY-4711"


@dataclass(frozen=True)
class Answer:
    """What a file must lead to."""

    how: str
    """good, bad (judged so) or refused (not even probed)."""
    words: str = ""
    """What the verdict or the error must say."""


GOOD = Answer("good")


def bad(words: str) -> Answer:
    """Return a bad verdict."""
    return Answer("bad", words)


def refused(words: str) -> Answer:
    """Return a refusal."""
    return Answer("refused", words)


_DAMAGED = refused("is damaged or cut short")
_CUT = refused("is cut short")
_EMPTY = refused("it has a header and nothing in it")
_TOO_MANY = refused("more pixels than the 80,000,000 that are accepted")
_NO_DECODER = refused("nothing here can decode its")
_BLACK = bad("it is black")
_STILL = bad("nothing in it moves")
_NO_IMAGE = refused("is a kind of image that is not handled")
_NO_TYPE = refused("is of no type that is handled")
_PLAYLIST = refused("is a playlist that points at other files")
_XML = refused("is XML, not a medium")

EXPECTED: dict[str, tuple[Question, Answer]] = {
    "png_50k_x_50k": (IMAGE, _TOO_MANY),
    "png_profile_bomb": (IMAGE, _DAMAGED),
    "png_text_bomb": (IMAGE, _DAMAGED),
    "png_itxt_bomb": (IMAGE, _DAMAGED),
    "png_data_bomb": (IMAGE, _BLACK),
    "png_many_chunks": (IMAGE, GOOD),
    "png_of_79_million_pixels": (ANY_IMAGE, _BLACK),
    "png_animated": (IMAGE, GOOD),
    "png_animated_100k": (IMAGE, GOOD),
    "png_16_bit_grey": (IMAGE, GOOD),
    "png_16_bit_rgb": (IMAGE, GOOD),
    "png_rgba": (IMAGE, GOOD),
    "png_palette": (IMAGE, GOOD),
    "png_unseen": (IMAGE, _BLACK),
    "png_1_x_1": (IMAGE, bad("at least 32 px a side are needed")),
    "png_no_size": (IMAGE, refused("is damaged")),
    "png_wrong_checksum": (IMAGE, _DAMAGED),
    "png_and_zip": (IMAGE, GOOD),
    "jpeg_cmyk": (IMAGE, GOOD),
    "jpeg_half": (IMAGE, bad("cut short")),
    "jpeg_65k_x_65k": (IMAGE, _TOO_MANY),
    "jpeg_no_height": (IMAGE, refused("is damaged")),
    "jpeg_looping_exif": (IMAGE, GOOD),
    "jpeg_2000_scans": (IMAGE, GOOD),
    "jpeg_and_page": (IMAGE, GOOD),
    "webp_animated": (IMAGE, GOOD),
    "webp_16k_x_16k": (IMAGE, _TOO_MANY),
    "webp_8900_x_8900": (IMAGE, refused("needed more memory than 512 MB")),
    "gif_million_frames": (IMAGE, _NO_IMAGE),
    "heic": (IMAGE, _NO_IMAGE),
    "avif": (IMAGE, _NO_IMAGE),
    **{f"jpeg_turned_{number}": (IMAGE if number < 5 else UPRIGHT, GOOD) for number in range(1, 9)},
    "nothing": (IMAGE, refused("is empty")),
    "one_byte": (IMAGE, _NO_TYPE),
    "zeros": (VIDEO, _NO_TYPE),
    "page": (IMAGE, refused("is a web page (HTML)")),
    "json": (IMAGE, refused("is JSON, not a medium")),
    "xml": (IMAGE, _XML),
    "words": (VOICE, refused("is plain text")),
    "zip": (VIDEO, _NO_TYPE),
    "pdf": (IMAGE, _NO_TYPE),
    "gif_and_script": (IMAGE, _NO_IMAGE),
    "avi": (VIDEO, _NO_TYPE),
    "m3u8_file": (VIDEO, _PLAYLIST),
    "m3u8_http": (VIDEO, _PLAYLIST),
    "m3u8_concat": (VIDEO, _PLAYLIST),
    "m3u8_subfile": (VIDEO, _PLAYLIST),
    "m3u8_behind_a_mark": (VIDEO, _PLAYLIST),
    "m3u8_in_an_mp4": (VIDEO, _CUT),
    "m3u8_in_a_matroska": (VIDEO, _DAMAGED),
    "m3u8_in_an_mp3": (VOICE, _DAMAGED),
    "concat_script": (VIDEO, _PLAYLIST),
    "dash": (VIDEO, _XML),
    "sdp": (VIDEO, refused("is plain text")),
    "svg_with_entities": (IMAGE, _XML),
    "mp4_external": (VIDEO, bad("it is audio (audio/mp4), not video")),
    "mp4_no_index": (VIDEO, _DAMAGED),
    "mp4_half": (VIDEO, _CUT),
    "mp4_no_packets": (VIDEO, bad("is damaged or cut short")),
    "mp4_index_last": (VIDEO, GOOD),
    "mp4_no_length": (VIDEO, bad("at least 1 s are needed")),
    "mp4_billion_seconds": (VIDEO, bad("it lasts 999999984.00 s instead of 2.00 s")),
    "mp4_says_billion_seconds": (VIDEO, _STILL),
    "mp4_no_clock": (VIDEO, _STILL),
    "mp4_billions_of_packets": (VIDEO, _EMPTY),
    "mp4_huge_table": (VIDEO, refused("needed more memory than 512 MB")),
    "mp4_huge_box": (VIDEO, _CUT),
    "mp4_nested": (VIDEO, _DAMAGED),
    "mp4_edit_list": (VIDEO, GOOD),
    "mp4_edit_beyond_its_end": (VIDEO, bad("no picture in it can be decoded")),
    "mp4_no_sound": (VIDEO, GOOD),
    "mp4_no_picture": (VIDEO, bad("it is audio (audio/mp4), not video")),
    "mp4_uneven_pictures": (VIDEO, GOOD),
    "mp4_odd_size": (ANY_VIDEO, GOOD),
    "mp4_turned": (VIDEO, GOOD),
    "mp4_one_picture": (VIDEO, bad("at least 1 s are needed")),
    "mp4_65k_x_65k": (VIDEO, GOOD),
    "mp4_unknown_codec": (VIDEO, _NO_DECODER),
    "mp4_long_title": (VIDEO, GOOD),
    "webm_half": (VIDEO, _CUT),
    "matroska_no_end": (VIDEO, _DAMAGED),
    "wav_8_khz": (VOICE, GOOD),
    "wav_says_more": (VOICE, _CUT),
    "wav_says_less": (VOICE, bad("are too short for a text")),
    "wav_streamed": (VOICE, GOOD),
    "wav_no_channels": (VOICE, _EMPTY),
    "wav_65k_channels": (VOICE, _EMPTY),
    "wav_no_rate": (VOICE, _DAMAGED),
    "wav_4_ghz": (VOICE, _DAMAGED),
    "wav_no_block": (VOICE, GOOD),
    "wav_no_bits": (VOICE, _NO_DECODER),
    "wav_unknown_codec": (VOICE, _NO_DECODER),
    "wav_header_only": (VOICE, _EMPTY),
    "wav_nan": (VOICE, bad("it is silent")),
    "wav_infinite": (VOICE, bad("it is silent")),
    "mp3_tag_only": (VOICE, _DAMAGED),
    "mp3_tag_of_256_mb": (VOICE, _DAMAGED),
    "mp3_one_frame": (VOICE, _DAMAGED),
    "mp3_half": (VOICE, _CUT),
    "mp3_bomb_as_cover": (VOICE, GOOD),
    "mp3_large_cover": (VOICE, GOOD),
    "mp3_switching": (VOICE, GOOD),
    "flac_header_only": (VOICE, _CUT),
    "ogg_noise": (VOICE, _DAMAGED),
    "aac_noise": (VOICE, _EMPTY),
}
"""What is asked about each file, and the answer. A good picture that is odd (turned, animated, 16 bit) stays good."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources.make(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with canary_server() as canary:
        yield canary


@pytest.fixture(scope="module")
def files(sources: Sources, canary: Canary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], bytes]]:
    """Return what makes each file, by name."""
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_text(_MARK)
    streams = {name: partial(make, sources) for name, make in {**VIDEOS, **SOUNDS}.items()}
    ready = {name: partial(bytes, data) for name, data in {**NO_MEDIA, **playlists(canary.url, secret)}.items()}
    return {**PICTURES, **streams, **ready}


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Ended]:
    """Return how every child process ended; the real runner runs it."""
    seen: list[Ended] = []
    real = examine_module.run_limited

    def watched(*arguments: object, **more: object) -> Ended:
        seen.append(real(*arguments, **more))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(examine_module, "run_limited", watched)
    return seen


def _world(*folders: Path) -> dict[str, str]:
    """Return every file of some folders and of the roots that a stray write would land in, with its digest."""
    world = {str(path): sha256(path.read_bytes()).hexdigest() for folder in folders for path in folder.rglob("*")}
    for root in (Path("/"), Path.cwd(), Path.home()):
        world |= dict.fromkeys(map(str, root.iterdir()), "")
    return world


def _answer(path: Path, question: Question) -> Answer:
    try:
        verdict = examine(path, question).verdict
    except ProbeError as error:
        return refused(error.message)
    return GOOD if verdict.is_good else bad("; ".join(verdict.problems))


def _assert_modest(end: Ended) -> None:
    """Within time and memory; Linux counts this process's own peak as its child's, so that no less can be seen."""
    own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    assert end.usage.wall_s < _DEADLINE_S
    assert end.usage.peak_bytes <= max(MEMORY_BYTES, own_bytes)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_hostile_file_is_answered_clearly_and_touches_nothing(
    name: str,
    files: dict[str, Callable[[], bytes]],
    canary: Canary,
    ends: list[Ended],
    tmp_path: Path,
) -> None:
    """Bombs, lies, playlists and error pages: each was the cause of a real incident somewhere."""
    question, expected = EXPECTED[name]
    path = tmp_path / "output.part"
    path.write_bytes(files[name]())
    before, running = _world(tmp_path), children() if HAS_PROC else set()

    answer = _answer(path, question)

    assert answer.how == expected.how, answer
    assert expected.words in answer.words
    assert _MARK not in answer.words
    (end,) = ends
    _assert_modest(end)
    assert end.exit_code == 0
    assert _world(tmp_path) == before
    assert canary.asked == []
    assert not HAS_PROC or children() <= running


def test_every_hostile_file_has_an_expected_answer(files: dict[str, Callable[[], bytes]]) -> None:
    """A file nobody looks at proves nothing."""
    assert set(EXPECTED) == set(files)


def test_a_demuxer_without_our_guards_would_ask_the_canary(tmp_path: Path) -> None:
    """The corpus could otherwise pass because its playlists are harmless."""
    path = tmp_path / "output.mp4"
    unguarded = {"protocol_whitelist": "file,http,tcp", "allowed_extensions": "ALL", "extension_picky": "0"}
    with canary_server() as canary:
        path.write_bytes(playlists(canary.url, tmp_path)["m3u8_http"])
        with contextlib.suppress(av.FFmpegError):
            av.open(str(path), format="hls", options=unguarded).close()

        assert canary.asked == ["/canary.ts"]


def test_one_impossible_sample_does_not_spoil_the_numbers_of_a_voice(tmp_path: Path) -> None:
    """A model that divides by zero once still spoke the rest."""
    samples = speech_like(2).astype("<f4")
    levels = []
    for value in (samples[7], np.nan):
        samples[7] = value
        path = tmp_path / "voice.wav"
        path.write_bytes(wav_of(samples))
        levels.append(VOICE.answer(path, probe(path)).numbers["rms_dbfs"])

    assert levels[1] == pytest.approx(levels[0], abs=1)


def _mutated(data: bytes, random_: random.Random) -> bytes:
    """Return bytes with a few flipped, overwritten, removed or doubled, more often near the beginning."""
    spoilt = bytearray(data)
    for _ in range(random_.choice((1, 2, 4, 16))):
        at = random_.randrange(min(len(spoilt), random_.choice((1024, len(spoilt)))))
        extreme = random_.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        match random_.randrange(4):
            case 0:
                spoilt[at] ^= 1 << random_.randrange(8)
            case 1:
                spoilt[at : at + 4] = extreme
            case 2:
                del spoilt[at : at + random_.randrange(1, 400)]
                spoilt = spoilt or bytearray(1)
            case _:
                spoilt[at:at] = spoilt[at : at + 400]
    return bytes(spoilt)


@pytest.mark.timeout(1800 if LONG else 600)
def test_damaged_files_never_meet_a_defect_of_ours(
    sources: Sources, ends: list[Ended], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Two decoders once answered damage with errors nobody caught; a seeded sample looks for the next."""
    chance = random.Random(20261124)  # noqa: S311 - not a secret
    good: list[tuple[bytes, Question]] = [
        *((PICTURES[name](), ANY_IMAGE) for name in ("png_palette", "jpeg_turned_6", "webp_animated")),
        *((VIDEOS[name](sources), ANY_VIDEO) for name in ("mp4_index_last", "mp4_uneven_pictures")),
        *((path.read_bytes(), VOICE) for path in (sources.voice, sources.mp3)),
        (VIDEOS["mp4_no_picture"](sources), VOICE),
    ]
    path = tmp_path / "output.part"
    answers = []
    for number in range(_MUTATED):
        data, question = good[number % len(good)]
        path.write_bytes(_mutated(data, chance))
        answers.append(_answer(path, question).how)

    counts = ", ".join(f"{answers.count(how)} {how}" for how in ("good", "bad", "refused"))
    record_property(SAMPLE, f"{_MUTATED} of 2000 damaged files: {counts}")
    assert set(answers) == {"good", "bad", "refused"}
    for end in ends:
        _assert_modest(end)
