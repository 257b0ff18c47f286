"""A film with its script burnt in: an asset of your own behind ``merged``, in a project of your own.

Load it in place of the package's definitions::

    dagster dev -m captioned        # in this folder

``captioned`` has the same partitions as the films and no backfill policy: with the policy of ``merged`` it would land
in one run with it, and be left out silently (Dagster 1.13.27).
"""

import re
import subprocess
import tempfile
from pathlib import Path

import dagster as dg
import imageio_ffmpeg
from PIL import Image, ImageDraw, ImageFont

from media_assets.definitions import build_defs
from media_assets.defs.partitions import prompts_partitions
from media_assets.defs.resources import LedgerResource, StoreResource, opened_ledger
from media_assets.film import FILMS
from media_assets.media.caption import FONT_PATH
from media_assets.media.probe import probe

CAPTIONED = "captioned"
LINE_CHARACTERS = 48


def lines_of(script: str) -> list[str]:
    """Return a script in lines that can be read at once, broken between words."""
    lines: list[str] = []
    for word in script.split():
        fits = lines and len(lines[-1]) + len(word) < LINE_CHARACTERS and not re.search(r"[.!?]$", lines[-1])
        if fits:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def times_of(lines: list[str], duration_s: float) -> list[tuple[float, float]]:
    """Return from when to when each line is shown: as long as its share of the letters."""
    letters = sum(map(len, lines))
    ends_s = [duration_s * sum(map(len, lines[: n + 1])) / letters for n in range(len(lines))]
    return list(zip([0.0, *ends_s], ends_s, strict=False))


def draw_line(text: str, size_px: tuple[int, int], target: Path) -> None:
    """Draw a line at the foot of a transparent picture as large as the film."""
    width_px, height_px = size_px
    font = ImageFont.truetype(str(FONT_PATH), size=height_px // 18)
    picture = Image.new("RGBA", size_px, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    place = (width_px // 2, height_px - height_px // 10)
    draw.text(place, text, font=font, anchor="mm", fill="white", stroke_width=3, stroke_fill="black")
    picture.save(target)


def burn_in(film: Path, script: str, target: Path) -> int:
    """Write a copy of a film that shows its script; return how many lines it has.

    The words are drawn into pictures, so that nothing a script says is read as a command by ffmpeg. However many they
    are, ffmpeg reads one after the other. A run that is killed leaves the file as it was, never half of it.
    """
    info = probe(film)
    lines = lines_of(script)
    size_px = (info.width_px or 0, info.height_px or 0)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".captions-") as name:
        folder = Path(name)
        shown = []
        for number, (start_s, end_s) in enumerate(times_of(lines, info.duration_s or 0.0)):
            draw_line(lines[number], size_px, folder / f"{number}.png")
            shown.append(f"file {number}.png\nduration {end_s - start_s:.3f}\n")
        (folder / "lines.txt").write_text("".join(shown), encoding="utf-8")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(film), "-f", "concat"]
        command += ["-i", str(folder / "lines.txt"), "-filter_complex", "[0:v][1:v]overlay[v]", "-map", "[v]"]
        command += ["-map", "0:a", "-c:a", "copy", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
        subprocess.run([*command, str(folder / "film.mp4")], check=True)  # noqa: S603
        (folder / "film.mp4").replace(target)
    return len(lines)


@dg.asset(
    key=CAPTIONED,
    deps=["merged"],
    partitions_def=prompts_partitions,
    group_name="own",
    kinds={"mp4", "ffmpeg"},
    description="The film with its script burnt in.",
)
def captioned(
    context: dg.AssetExecutionContext, store: StoreResource, ledger: LedgerResource
) -> dg.MaterializeResult[None]:
    """Burn the script of one prompt into its film. Costs nothing."""
    key = context.partition_key
    with opened_ledger(store, ledger) as opened:
        pinned = opened.ledger.prompts.get(key)
        film, target = opened.home / FILMS / f"{key}.mp4", opened.home / CAPTIONED / f"{key}.mp4"
    if pinned is None or pinned.prompt.script is None:
        return dg.MaterializeResult(metadata={"lines": 0, "note": "there is no script to show"})
    lines = burn_in(film, pinned.prompt.script, target)
    return dg.MaterializeResult(metadata={"lines": lines, "path": dg.MetadataValue.path(str(target))})


defs = dg.Definitions.merge(build_defs(), dg.Definitions(assets=[captioned]))
