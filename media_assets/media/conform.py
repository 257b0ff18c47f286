"""Make a file fit the next model: its size, its type, its sample rate. Free, and the same every time.

Each function returns its recipe, flat, for the lineage. The recipe's version is part of what a request is
identified by: raise it whenever equal input would give visibly or audibly different output, and never for what was
an error before, since a new version is a new purchase for a clip that is in flight.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageOps

from media_assets.artifact import MediaKind
from media_assets.errors import ConformError
from media_assets.media._ffmpeg import THREADS, graph_arguments, graph_input, run_ffmpeg
from media_assets.media.probe import opened_image, probe
from media_assets.media.recipes import RECIPE_VERSION, ImageRecipe, kept_ratio
from media_assets.media.sniff import DEMUXERS, EXTENSIONS
from media_assets.media.work import Work
from media_assets.request import InputRef

QUALITIES = (95, 90, 85, 80, 75, 70, 65, 60)
"""Of JPEG and WebP, tried in this order until the picture is small enough. Below the last, blocks and rings are seen,
and a model animates them."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "image/png": {"format": "PNG", "compress_level": 6},
    "image/jpeg": {"format": "JPEG", "subsampling": 0},
    "image/webp": {"format": "WEBP", "method": 4},
}
_LOSSLESS = frozenset({"image/png"})
_GREY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_CHANNEL_LAYOUTS = {1: "mono", 2: "stereo"}
_RATES_HZ = (8_000, 192_000)


def conform_image(
    source: Path,
    target: Path,
    *,
    size_px: tuple[int, int] | None,
    mime: str = "image/png",
    max_bytes: int | None = None,
) -> dict[str, object]:
    """Write ``source`` as the plain picture that every model takes: 8-bit sRGB, upright, opaque, no metadata.

    Transparent parts become black, as they are in a film. Another shape is covered and cropped at the centre,
    never padded: a model would animate the bars.

    Args:
        source: An image.
        target: The new file, whatever its name.
        size_px: Width and height to fill exactly; None keeps the size.
        mime: ``image/png``, ``image/jpeg`` or ``image/webp``.
        max_bytes: The largest file that the model takes; None for any. JPEG and WebP lose quality, step by step,
            until they fit.

    Returns:
        The recipe: what was done, how much of the picture's area was kept, and the quality it was written with.

    Raises:
        ProbeError: ``source`` cannot be decoded.
        ConformError: It is no image, or ``mime``, ``size_px`` or ``max_bytes`` cannot be made.
    """
    if mime not in _SAVE_OPTIONS:
        message = f"an image cannot be made {mime}: only {', '.join(_SAVE_OPTIONS)} can."
        raise ConformError(message)
    info = probe(source)
    if info.kind is not MediaKind.IMAGE:
        message = f"{source.name} is {info.mime}, not an image."
        raise ConformError(message)
    with opened_image(source, info.mime) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        picture = _as_srgb(upright, image.info.get("icc_profile"))
    wanted_px = size_px or picture.size
    if min(wanted_px) < 1:
        message = f"an image cannot be made {wanted_px[0]} x {wanted_px[1]} pixels."
        raise ConformError(message)
    kept = kept_ratio(picture.size, wanted_px)
    if picture.size != wanted_px:
        picture = ImageOps.fit(picture, wanted_px, Image.Resampling.LANCZOS)
    # A fresh image has none of the source's metadata, which Pillow would otherwise write along.
    plain = Image.frombytes("RGB", picture.size, picture.tobytes())
    quality = _write(plain, target, mime, max_bytes)
    return {
        "recipe": "image",
        "recipe_version": RECIPE_VERSION,
        "mime": mime,
        "quality": quality,
        "width_px": picture.width,
        "height_px": picture.height,
        "source_mime": info.mime,
        "source_width_px": info.width_px,
        "source_height_px": info.height_px,
        "flattened_on": "black" if info.has_alpha else None,
        "kept_ratio": round(kept, 4),
    }


def _write(picture: Image.Image, target: Path, mime: str, max_bytes: int | None) -> int | None:
    """Write a picture in the best quality that fits, and return that quality; None where there is only one.

    Raises:
        ConformError: It is larger than ``max_bytes`` all the same.
    """
    steps = (None,) if mime in _LOSSLESS else QUALITIES
    data = b""
    for quality in steps:
        buffer = io.BytesIO()
        options = _SAVE_OPTIONS[mime] | ({} if quality is None else {"quality": quality})
        picture.save(buffer, **options)
        data = buffer.getvalue()
        if max_bytes is None or len(data) <= max_bytes:
            target.write_bytes(data)
            return quality
    least = "" if steps[-1] is None else f" of quality {steps[-1]}, the lowest that is sent,"
    message = f"as {mime}{least} the picture has {len(data)} bytes, and the model takes at most {max_bytes}."
    raise ConformError(message)


def conform_audio(
    source: Path,
    target: Path,
    *,
    sample_rate_hz: int,
    channels: int,
    work: Work,
    deadline_s: float,
) -> dict[str, object]:
    """Write the sound of ``source`` as 16-bit PCM WAV, which every model takes.

    Args:
        source: A sound, or a video with one.
        target: The new file, whatever its name.
        sample_rate_hz: 8,000 to 192,000.
        channels: 1 or 2.
        work: Where to write messages and when to stop.
        deadline_s: Seconds after which ffmpeg is killed.

    Returns:
        The recipe.

    Raises:
        ProbeError: ``source`` cannot be read.
        ConformError: It has no sound, or the rate or the channels cannot be made.
        FfmpegError: ffmpeg failed or passed the deadline.
        StoppedError: ``work.stop`` was set.
    """
    if channels not in _CHANNEL_LAYOUTS or not _RATES_HZ[0] <= sample_rate_hz <= _RATES_HZ[1]:
        message = f"a sound cannot be made {sample_rate_hz} Hz with {channels} channels here."
        raise ConformError(message)
    info = probe(source)
    if info.audio_codec is None:
        message = f"{source.name} ({info.mime}) has no sound."
        raise ConformError(message)
    sound = graph_input(source, demuxer=DEMUXERS[info.mime])["a:0"]
    sound = sound.filter("aresample", sample_rate_hz)
    sound = sound.filter("aformat", sample_fmts="s16", channel_layouts=_CHANNEL_LAYOUTS[channels])
    options: dict[str, str | int | None] = {
        "format": "wav",
        "c:a": "pcm_s16le",
        "threads": THREADS,
        "bitexact": None,
        "fflags": "+bitexact",
        "map_metadata": -1,
        "map_chapters": -1,
    }
    run_ffmpeg(graph_arguments([sound], target, options), deadline_s=deadline_s, work=work)
    return {
        "recipe": "audio",
        "recipe_version": RECIPE_VERSION,
        "mime": "audio/wav",
        "sample_rate_hz": sample_rate_hz,
        "channels": channels,
        "source_mime": info.mime,
        "source_sample_rate_hz": info.sample_rate_hz,
        "source_channels": info.channels,
    }


def _as_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return 8-bit RGB: colours by the embedded profile if it is a usable one, transparent parts black."""
    if image.mode in _GREY_16_BIT_MODES:
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        image = image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), opaque).convert("RGB")
    elif image.mode == "P":
        # The profile is that of the palette's colours.
        image = image.convert("RGB")
    return _by_profile(image, profile) or image.convert("RGB")


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    if not profile or image.mode not in {"RGB", "CMYK", "L"}:
        return None
    try:
        return ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # A broken profile, or one for another colour space than the picture's, is as good as none.
        return None


def conformed(
    inputs: Sequence[InputRef], files: Mapping[str, Path], scratch: Path
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Conform the files that a request builds on; blocking, and free.

    Args:
        inputs: The request's inputs, each with its recipe or none.
        files: The file of each role.
        scratch: Where conformed files are written.

    Returns:
        The file to send for each role, and what was done to it, for people.
    """
    made: dict[str, Path] = {}
    notes = []
    for ref in inputs:
        source = files[ref.role]
        if ref.recipe is None:
            made[ref.role] = source
            continue
        recipe = ImageRecipe.parse(ref.recipe)
        target = scratch / f"{source.stem[:16]}-conformed.{EXTENSIONS[recipe.mime]}"
        facts = conform_image(source, target, size_px=recipe.size_px, mime=recipe.mime, max_bytes=recipe.max_bytes)
        notes.append(_note(ref.role, facts))
        made[ref.role] = target
    return made, tuple(notes)


def _note(role: str, facts: Mapping[str, object]) -> str:
    before = f"{facts['source_width_px']}x{facts['source_height_px']} {facts['source_mime']}"
    after = f"{facts['width_px']}x{facts['height_px']} {facts['mime']}"
    kept = facts["kept_ratio"]
    cut = f", {kept:.0%} of it kept" if isinstance(kept, float) and kept < 1 else ""
    quality = facts["quality"]
    lowered = "" if quality in {None, QUALITIES[0]} else f" of quality {quality}, to be small enough"
    return f"{role} conformed from {before} to {after}{lowered}{cut}"
