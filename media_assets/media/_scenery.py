"""What a landscape is made of, as arrays: noise, sky, clouds, ridges, mountains, dunes and water.

Does not belong here: which of these a prompt asks for (`media_assets.media.draw`) and things with an outline
(`media_assets.media._silhouettes`). Colours are float32 in 0..1, sRGB-coded, the last axis red, green, blue;
lengths are in pixels unless a name says ``unit``: one unit is the shorter side of the picture.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Field = npt.NDArray[np.float32]
"""Shape (height, width), or (width,) for a line along the picture."""
Colour = npt.NDArray[np.float32]
"""Shape (3,)."""


def colour(code: str) -> Colour:
    """Return the colour of an ``rrggbb`` code."""
    return np.array([int(code[n : n + 2], 16) for n in (0, 2, 4)], np.float32) / np.float32(255)


@dataclass
class Canvas:
    """A picture in the making and where its chances come from."""

    width: int
    height: int
    key: str
    """What the picture depends on besides its size."""
    pixels: Field = field(init=False)
    """Shape (height, width, 3)."""

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.height, self.width, 3), np.float32)
        self.unit = float(min(self.width, self.height))
        self.rows: Field = np.arange(self.height, dtype=np.float32)[:, None] + np.float32(0.5)
        self.columns: Field = np.arange(self.width, dtype=np.float32)[None, :] + np.float32(0.5)

    def chance(self, thing: str) -> np.random.RandomState:
        """Return the chances of one thing, so that adding another thing does not change it.

        ``RandomState`` because numpy promises that its streams never change (NEP 19, read 2026-11-23).
        """
        digest = hashlib.sha256(f"{thing}\0{self.key}".encode()).digest()
        return np.random.RandomState(np.frombuffer(digest, "<u4").astype(np.uint32))

    def cover(self, mask: Field, paint: Field | Colour, top: int = 0) -> None:
        """Lay ``paint`` over the rows from ``top`` where ``mask`` (0..1) says so."""
        below = self.pixels[top : top + mask.shape[0]]
        below += (paint - below) * mask[..., None]


def line_noise(chance: np.random.RandomState, length: int, cell: float, octaves: int, gain: float = 0.5) -> Field:
    """Return fractal noise along a line, about 0..1, whose largest waves are ``cell`` pixels long."""
    total = np.zeros(length, np.float32)
    strength, whole = 1.0, 0.0
    for _ in range(octaves):
        place = np.arange(length, dtype=np.float32) / np.float32(max(cell, 1.0))
        index = place.astype(np.int64)
        part = place - index
        part = part * part * (3 - 2 * part)
        points = chance.random_sample(int(index[-1]) + 2).astype(np.float32)
        total += np.float32(strength) * (points[index] * (1 - part) + points[index + 1] * part)
        whole += strength
        strength *= gain
        cell /= 2
    return total / np.float32(whole)


def noise(
    chance: np.random.RandomState,
    shape: tuple[int, int],
    cell: tuple[float, float],
    octaves: int,
    gain: float = 0.5,
) -> Field:
    """Return fractal noise, about 0..1, whose largest spots are ``cell`` (down, across) pixels large."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    strength, whole = 1.0, 0.0
    down, across = (max(2.0, length) for length in cell)
    for _ in range(octaves):
        counts = (int(height / down) + 4, int(width / across) + 4)
        lattice = Image.fromarray(chance.random_sample(counts).astype(np.float32))
        box = (1.0, 1.0, 1.0 + width / across, 1.0 + height / down)
        layer = lattice.resize((width, height), Image.Resampling.BICUBIC, box)
        total += np.float32(strength) * np.asarray(layer)
        whole += strength
        strength *= gain
        down, across = down / 2, across / 2
        if min(down, across) < 2:  # noqa: PLR2004 - finer than two pixels is not seen
            break
    return total / np.float32(whole)


def smoothstep(low: float, high: float, values: Field) -> Field:
    """Return 0 below ``low``, 1 above ``high`` and a smooth way between them."""
    part = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    smooth: Field = part * part * (3 - 2 * part)
    return smooth


def mixed(first: Field | Colour, second: Field | Colour, part: Field | float) -> Field:
    """Return ``first`` where ``part`` is 0, ``second`` where it is 1; the shapes are numpy's to match."""
    return first + (second - first) * part


@dataclass(frozen=True, kw_only=True)
class Light:
    """A time of day: the colours that everything else takes its own from."""

    sky: tuple[Colour, Colour, Colour, Colour]
    """From the zenith to the horizon."""
    lamp: Colour
    """The sun or the moon."""
    cloud_lit: Colour
    cloud_dark: Colour
    haze: Colour
    """What far things fade into."""
    day: float
    """How much of its own colour near land shows, 0..1."""
    stars: float = 0.0
    glow: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """Where the sun or the moon stands."""

    x: float
    y: float
    radius: float


def paint_sky(canvas: Canvas, light: Light, lamp: Lamp, horizon: float) -> None:
    """Fill the picture with the sky, brighter and warmer towards the lamp."""
    part = np.clip(canvas.rows[:, 0] / np.float32(horizon), 0, 1)
    stops = np.stack(light.sky)
    column = np.stack([np.interp(part, (0, 0.42, 0.78, 1), stops[:, n]) for n in range(3)], axis=-1)
    canvas.pixels[:] = column[:, None, :]
    if light.stars:
        _paint_stars(canvas, light.stars, horizon)
    across = (canvas.columns - np.float32(lamp.x)) / np.float32(canvas.unit)
    down = (canvas.rows - np.float32(lamp.y)) / np.float32(canvas.unit)
    distance = np.hypot(across, down)
    band = np.exp(-((across / 0.75) ** 2)) * np.exp(
        -(((canvas.rows - np.float32(horizon)) / np.float32(0.22 * canvas.unit)) ** 2)
    )
    glow = 0.50 * np.exp(-distance / 0.07) + 0.30 * np.exp(-distance / 0.30) + 0.22 * band
    glow = np.float32(light.glow) * glow
    canvas.pixels += (1.04 - canvas.pixels) * light.lamp * np.clip(glow, 0, 1)[..., None]
    disc = np.clip((lamp.radius / canvas.unit - distance) * canvas.unit + 0.5, 0, 1)
    face = light.lamp * np.float32(1.06)
    if light.glow < 0.5:  # noqa: PLR2004 - behind a closed sky only the glow is seen
        return
    if light.stars:
        spots = noise(canvas.chance("moon"), disc.shape, (lamp.radius, lamp.radius), 3)
        canvas.cover(disc, face * (0.80 + 0.24 * smoothstep(0.36, 0.62, spots))[..., None])
    else:
        canvas.cover(disc, face)


def _paint_stars(canvas: Canvas, strength: float, horizon: float) -> None:
    chance = canvas.chance("stars")
    count = int(1100 * canvas.width / canvas.unit)
    across = (chance.random_sample(count) * canvas.width).astype(int)
    down = (chance.random_sample(count) ** 1.3 * horizon * 0.97).astype(int)
    bright = (0.06 + 0.94 * chance.random_sample(count) ** 7).astype(np.float32)
    shine = np.zeros((canvas.height, canvas.width), np.float32)
    np.maximum.at(shine, (down, across), bright)
    radius = max(0.45, canvas.unit / 1300)
    soft = Image.fromarray((shine * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    halo = Image.fromarray((np.clip(shine - 0.5, 0, 1) * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(radius * 4)
    )
    sparks = np.asarray(soft, np.float32) / 255 * 3.0 + np.asarray(halo, np.float32) / 255 * 5.0
    fade = 1 - smoothstep(0.55, 1.0, canvas.rows / np.float32(horizon))
    milk = noise(canvas.chance("milky way"), shine.shape, (canvas.unit / 3, canvas.unit / 3), 5, 0.6)
    slope = 0.5 + 0.9 * (chance.random_sample() - 0.5)
    way = canvas.rows / canvas.unit - slope * canvas.columns / canvas.width - 0.05
    milk = smoothstep(0.35, 0.75, milk) * np.exp(-((way / 0.16) ** 2)) * np.float32(0.20)
    light = (sparks + milk) * fade * np.float32(strength)
    canvas.pixels += light[..., None] * np.array([0.92, 0.95, 1.0], np.float32)


def paint_clouds(canvas: Canvas, light: Light, lamp: Lamp, horizon: float, amount: float) -> None:
    """Lay clouds over the sky that close up towards the horizon and shine where the lamp meets them."""
    height, width = max(2, int(horizon) // 2), max(2, canvas.width // 2)
    unit = canvas.unit / 2
    tall = int(height * 1.3) + 8
    chance = canvas.chance("clouds")
    field = noise(chance, (tall, width), (unit * 0.36, unit * 1.05), 8, 0.56)
    drift = (noise(chance, (tall, width), (unit * 0.20, unit * 0.34), 4, 0.5) - 0.5) * unit
    rows = np.arange(tall, dtype=np.float32)[:, None] + drift * 0.12
    columns = np.arange(width, dtype=np.float32)[None, :] + drift[::-1] * 0.40
    # Bending the noise by other noise frees the clouds from its square cells.
    field = field[np.clip(rows, 0, tall - 1).astype(np.int64), np.clip(columns, 0, width - 1).astype(np.int64)]
    # The sky is a ceiling: rows near the horizon are further away and so closer together.
    level = np.linspace(0, 1, height, dtype=np.float32)
    place = -np.log(1.12 - level) + np.float32(np.log(1.12))
    place = place / place[-1] * (tall - 2)
    index = place.astype(np.int64)
    part = (place - index)[:, None]
    field = field[index] * (1 - part) + field[index + 1] * part
    cut = 0.62 - 0.24 * amount
    density = smoothstep(cut, cut + 0.20, field)
    step = max(1, int(unit * 0.03)) * (1 if lamp.y < 0.6 * horizon else -1)
    towards = np.clip(np.arange(height) - step, 0, height - 1)
    relief = field - field[towards]
    across = (np.arange(width, dtype=np.float32) - lamp.x / 2)[None, :] / unit
    down = (np.arange(height, dtype=np.float32) - lamp.y / 2)[:, None] / unit
    near = np.exp(-np.hypot(across, 1.6 * down) / 0.55)
    lit = np.clip(0.42 + 5.0 * relief + 0.55 * near - 0.35 * density, 0, 1)
    fade = smoothstep(0.0, 0.12, level)[:, None] * 0.35 + 0.65
    fade = fade * (1 - 0.75 * smoothstep(0.80, 1.0, level)[:, None])
    layers = np.dstack([lit, density * fade * np.float32(0.92)])
    lit, alpha = (_enlarged(layers[..., n], (int(horizon), canvas.width)) for n in range(2))
    canvas.cover(alpha, mixed(light.cloud_dark, light.cloud_lit, lit[..., None]))


def _enlarged(values: Field, shape: tuple[int, int]) -> Field:
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    large: Field = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    return large.clip(0, 1)


def _ridge_mask(canvas: Canvas, line: Field) -> tuple[int, Field, Field]:
    """Return the first row of the land below ``line``, its mask and the depth below the line in pixels."""
    top = int(np.clip(line.min() - 2, 0, canvas.height - 1))
    depth = canvas.rows[top:] - line[None, :]
    steep = np.gradient(line) if line.size > 1 else np.zeros_like(line)
    mask = np.clip(depth / np.sqrt(1 + steep * steep)[None, :] + 0.5, 0, 1)
    return top, mask, depth


def paint_ridge(canvas: Canvas, line: Field, paint: Colour, mist: Colour, *, mist_unit: float = 0.0, name: str) -> None:
    """Lay land below ``line``: its own colour at the crest, ``mist`` towards its foot."""
    top, mask, depth = _ridge_mask(canvas, line)
    unit = canvas.unit
    grain = noise(canvas.chance(name), depth.shape, (unit * 0.03, unit * 0.09), 4, 0.6) - 0.5
    part = 1 - np.exp(-np.maximum(depth, 0) / np.float32(max(mist_unit, 1e-3) * unit))
    part = part[..., None] * np.float32(0.85 if mist_unit else 0.0)
    canvas.cover(mask, mixed(paint * (1 + 0.22 * grain[..., None]), mist, part), top)


def paint_mountains(
    canvas: Canvas, line: Field, light: Light, lamp: Lamp, *, paint: Colour, far: float, name: str
) -> None:
    """Lay mountains with lit and shaded flanks, and snow on what is high.

    Args:
        canvas: The picture.
        line: The crest.
        light: The time of day.
        lamp: Its side decides which flanks are lit.
        paint: The colour of the rock.
        far: 0 near to 1 far: how much of the haze lies over them.
        name: Of their chances.
    """
    top, mask, depth = _ridge_mask(canvas, line)
    unit = canvas.unit
    chance = canvas.chance(name)
    # Each flank goes on below the crest it starts at, bent more the deeper it is.
    bend = noise(chance, depth.shape, (unit * 0.16, unit * 0.10), 6, 0.55) - 0.5
    place = canvas.columns + bend * np.clip(depth * 2.6, 0, 0.42 * unit)
    height = int(max(2, unit * 0.012))
    broad = np.convolve(np.pad(line, height, "edge"), np.full(2 * height + 1, 1 / (2 * height + 1)), "valid")
    crest = np.gradient(broad)[np.clip(place, 0, line.size - 1).astype(np.int64)]
    fine = np.gradient(bend, axis=1) * np.float32(unit)
    side = 1 if lamp.x > canvas.width / 2 else -1
    shade = smoothstep(-0.75, 0.75, side * (crest - 0.14 * fine) + 0.05)
    rough = noise(chance, depth.shape, (unit * 0.06, unit * 0.03), 5, 0.6)
    lowest = float(line.min())
    above_foot = (depth + line[None, :] - lowest) / np.float32(0.34 * unit)
    snow = smoothstep(0.05, 0.35, 0.62 + 0.9 * (rough - 0.5) - above_foot + 0.25 * (shade - 0.5))
    white = mixed(mixed(light.sky[0], light.sky[2], 0.45), np.float32(1) * light.cloud_lit, shade[..., None])
    white = mixed(white, np.ones(3, np.float32) * light.lamp, 0.35 * light.day * shade[..., None])
    rock = paint * (0.55 + 0.75 * shade + 0.5 * (rough - 0.5))[..., None]
    face = mixed(rock, white, (snow * np.float32(0.55 + 0.45 * light.day))[..., None])
    veil = np.clip(far + (1 - far) * 0.75 * smoothstep(0.1, 1.0, above_foot), 0, 1)
    canvas.cover(mask, mixed(face, light.haze, veil[..., None]), top)


def paint_dunes(
    canvas: Canvas, line: Field, lamp: Lamp, *, lit: Colour, shaded: Colour, haze: Colour, far: float
) -> None:
    """Lay a dune whose side away from the lamp is dark, parted by its crest."""
    top, mask, depth = _ridge_mask(canvas, line)
    unit = canvas.unit
    side = 1 if lamp.x > canvas.width / 2 else -1
    slope = np.gradient(line) if line.size > 1 else np.zeros_like(line)
    # The border between the sides leaves the crest at a slant, as wind leaves it.
    sheared = canvas.columns - np.float32(side * 1.1) * np.maximum(depth, 0)
    index = np.clip(sheared.astype(np.int64), 0, line.size - 1)
    bright = smoothstep(-0.10, 0.10, side * slope[index] * (1 - np.exp(-depth / (0.01 * unit))) + 0.02)
    ripple = noise(canvas.chance(f"sand {far}"), depth.shape, (unit * 0.012, unit * 0.12), 2) - 0.5
    face = mixed(shaded, lit, (bright * np.exp(-np.maximum(depth, 0) / (0.9 * unit)))[..., None])
    face = face * (1 + 0.10 * ripple[..., None])
    canvas.cover(mask, mixed(face, haze, far), top)


def paint_water(canvas: Canvas, light: Light, lamp: Lamp, shore: float, *, rough: float) -> None:
    """Turn everything below ``shore`` into water that mirrors what is above it.

    Args:
        canvas: The picture, finished above the shore.
        light: The time of day.
        lamp: Its path glitters on the water.
        shore: The row of the water's far edge.
        rough: 0 a still lake to 1 an open sea.
    """
    top = int(shore)
    height = canvas.height - top
    if height < 2 or top < 2:  # noqa: PLR2004 - no room for a mirror
        return
    chance = canvas.chance("water")
    depth = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / np.float32(canvas.unit)
    waves = _wave_field(chance, canvas, depth)
    reach = (0.012 + 0.11 * rough) * canvas.unit * depth / (depth + 0.10)
    row = top - 1 - (depth * canvas.unit * (1.0 - 0.35 * rough)) + waves * reach * 2.2
    column = canvas.columns - 0.5 + waves * reach * 0.35
    mirrored = canvas.pixels[
        np.clip(row, 0, top - 1).astype(np.int64), np.clip(column, 0, canvas.width - 1).astype(np.int64)
    ]
    body = mixed(light.sky[1], light.sky[0], np.clip(depth * 1.6, 0, 1)[..., None]) * np.float32(0.62)
    # Water mirrors less where one looks down into it.
    mirror = np.clip(0.86 - 0.62 * depth, 0.30, 0.86) * np.float32(1 - 0.25 * rough)
    picture = mixed(body, mirrored, mirror[..., None])
    picture *= 1 + (0.10 + 0.16 * rough) * waves[..., None]
    across = np.abs(canvas.columns - np.float32(lamp.x)) / np.float32(canvas.unit)
    path = np.exp(-((across / (0.05 + 0.22 * depth)) ** 2))
    glitter = smoothstep(0.10, 0.55, waves + 0.25 * path) * path * np.float32(0.85 * min(1.0, light.glow))
    picture += (1.05 * light.lamp - picture) * glitter[..., None]
    shoreline = np.exp(-depth * np.float32(canvas.unit) / 2.0)[..., None]
    canvas.pixels[top:] = mixed(picture, light.haze, 0.30 * shoreline)


def _wave_field(chance: np.random.RandomState, canvas: Canvas, depth: Field) -> Field:
    """Return waves, about -1..1, that are longer the nearer they are."""
    size = 512
    tile = noise(chance, (size, size), (size / 26, size / 9), 4, 0.6)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    near = depth + np.float32(0.035)
    across = (canvas.columns - canvas.width / 2) / np.float32(canvas.unit)
    u = (across / near * 70 + 300) % (2 * size - 1)
    v = (40 / near) % (2 * size - 1) + 0 * across
    i, j = v.astype(np.int64), u.astype(np.int64)
    a, b = v - i, u - j
    right, down = (j + 1) % (2 * size), (i + 1) % (2 * size)
    upper = tile[i, j] * (1 - b) + tile[i, right] * b
    lower = tile[down, j] * (1 - b) + tile[down, right] * b
    waves = (upper * (1 - a) + lower * a - 0.5) * 4.5
    near_waves: Field = np.clip(waves, -1, 1) * np.clip(0.25 + depth * 6, 0, 1)
    return near_waves
