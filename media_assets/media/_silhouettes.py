"""Things with an outline: trees, towers, a lighthouse, a boat, a cat, birds, grass and falling snow.

Does not belong here: land, sky and water (`media_assets.media._scenery`). Outlines are drawn by Pillow at
three times the size and shrunk, which smooths their edges; lengths are pixels, one unit is the picture's
shorter side.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from media_assets.media._scenery import Canvas, Colour, Field, Light, colour, line_noise, mixed

_OVERSAMPLING = 3
_WARM = colour("ffd08a")

Point = tuple[float, float]


class Pen:
    """Draws outlines into a mask of some rows of a canvas; coordinates are the canvas's."""

    def __init__(self, canvas: Canvas, top: float, bottom: float) -> None:
        self.unit = canvas.unit
        self.top = int(np.clip(top, 0, canvas.height - 1))
        self.bottom = int(np.clip(math.ceil(bottom), self.top + 1, canvas.height))
        size = (canvas.width * _OVERSAMPLING, (self.bottom - self.top) * _OVERSAMPLING)
        self._image = Image.new("L", size)
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], value: int = 255) -> None:
        """Fill the outline."""
        self._draw.polygon([self._at(point) for point in points], fill=value)

    def ellipse(self, x: float, y: float, across: float, down: float) -> None:
        """Fill an ellipse with these half axes."""
        self._draw.ellipse([self._at((x - across, y - down)), self._at((x + across, y + down))], 255)

    def stroke(self, points: Sequence[Point], width: float) -> None:
        """Draw a line with round corners."""
        pixels = max(1, round(width * _OVERSAMPLING))
        self._draw.line([self._at(point) for point in points], 255, pixels, joint="curve")

    def mask(self) -> Field:
        """Return what was drawn, 0..1, for the rows from ``top``."""
        return np.asarray(self._image.reduce(_OVERSAMPLING), np.float32) / np.float32(255)

    def _at(self, point: Point) -> Point:
        return (point[0] * _OVERSAMPLING, (point[1] - self.top) * _OVERSAMPLING)


def paint_pines(
    canvas: Canvas, line: Field, paint: Colour, *, height: float, density: float, name: str, edges: float = 0.5
) -> None:
    """Plant pines along ``line``, over this part of the picture from both of its edges."""
    chance = canvas.chance(name)
    pen = Pen(canvas, line.min() - 1.6 * height, line.max() + 0.4 * height)
    count = int(2 * edges * density * canvas.width / (0.30 * height)) + 1
    for _ in range(count):
        part = (chance.random_sample() * 1.06 - 0.03) * 2 * edges
        x = (part if part < edges else 1 - 2 * edges + part) * canvas.width
        foot = float(line[int(np.clip(x, 0, canvas.width - 1))]) + 0.22 * height
        tall = height * (0.55 + 0.75 * chance.random_sample() ** 1.6)
        _draw_pine(pen, chance, x, foot, tall)
    canvas.cover(pen.mask(), paint, pen.top)


def _draw_pine(pen: Pen, chance: np.random.RandomState, x: float, foot: float, tall: float) -> None:
    half = tall * (0.15 + 0.07 * chance.random_sample())
    tiers = int(np.clip(tall / pen.unit * 60, 8, 22))
    left: list[Point] = []
    right: list[Point] = []
    lean = (chance.random_sample() - 0.5) * 0.05 * tall
    for tier in range(tiers):
        part = tier / tiers
        y = foot - tall * (1 - part) ** 1.05
        reach, other = half * (0.10 + part) * (0.75 + 0.5 * chance.random_sample(2))
        middle, drop = x + lean * (1 - part), 1.04 * tall / tiers
        left += [(middle - reach * 0.45, y + 0.15 * drop), (middle - reach, y + drop)]
        right += [(middle + other * 0.45, y + 0.15 * drop), (middle + other, y + drop)]
    pen.polygon([(x + lean, foot - tall), *right, *reversed(left)])
    pen.polygon(
        [
            (x - 0.025 * tall, foot - 0.1 * tall),
            (x + 0.025 * tall, foot - 0.1 * tall),
            (x + 0.03 * tall, foot + 0.1 * tall),
            (x - 0.03 * tall, foot + 0.1 * tall),
        ]
    )


def paint_skyline(canvas: Canvas, base: float, paint: Colour, *, height: float, lights: float, name: str) -> None:
    """Build a row of towers on ``base``; ``lights`` of their windows, 0..1, are lit."""
    chance = canvas.chance(name)
    pen = Pen(canvas, base - 1.5 * height, base + 2)
    unit = canvas.unit
    pane = max(1.0, unit / 300)
    spots: list[tuple[float, float]] = []
    x = -0.05 * unit
    middle = canvas.width * (0.35 + 0.3 * chance.random_sample())
    while x < canvas.width:
        wide = unit * (0.035 + 0.055 * chance.random_sample())
        swell = 0.55 + 0.65 * math.exp(-(((x - middle) / (0.45 * canvas.width)) ** 2))
        tall = height * swell * (0.30 + 0.70 * chance.random_sample() ** 1.5)
        _draw_tower(pen, chance, (x, base - tall, x + wide, base + 2))
        if lights:
            spots += _windows(chance, (x, base - tall, x + wide, base), pane, lights)
        x += wide * (0.80 + 0.45 * chance.random_sample())
    mask = pen.mask()
    canvas.cover(mask, paint, pen.top)
    if spots:
        _paint_windows(canvas, chance, spots, pane)


def _draw_tower(pen: Pen, chance: np.random.RandomState, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    wide, kind = right - left, chance.random_sample()
    pen.polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
    if kind < 0.22:  # noqa: PLR2004 - a mast
        middle = (left + right) / 2
        pen.polygon([(middle - 0.03 * wide, top), (middle, top - 0.9 * wide), (middle + 0.03 * wide, top)])
        pen.polygon(
            [
                (left + 0.2 * wide, top),
                (left + 0.2 * wide, top - 0.12 * wide),
                (right - 0.2 * wide, top - 0.12 * wide),
                (right - 0.2 * wide, top),
            ]
        )
    elif kind < 0.42:  # noqa: PLR2004 - a second, narrower storey
        step = 0.18 * wide
        pen.polygon(
            [(left + step, top), (left + step, top - 0.5 * wide), (right - step, top - 0.5 * wide), (right - step, top)]
        )
    elif kind < 0.54:  # noqa: PLR2004 - a slanted roof
        pen.polygon([(left, top), (right, top - 0.45 * wide), (right, top)])


def _windows(
    chance: np.random.RandomState, box: tuple[float, float, float, float], pane: float, lights: float
) -> list[Point]:
    left, top, right, bottom = box
    share = lights * (0.35 + 0.9 * chance.random_sample())
    columns = int((right - left - 2 * pane) / (2.6 * pane))
    rows = int((bottom - top - 3 * pane) / (3.4 * pane))
    if columns < 1 or rows < 1:
        return []
    margin = (right - left - columns * 2.6 * pane + 1.3 * pane) / 2
    lit = chance.random_sample((rows, columns)) < share
    return [(left + margin + column * 2.6 * pane, top + (1.5 + row * 3.4) * pane) for row, column in np.argwhere(lit)]


def _paint_windows(canvas: Canvas, chance: np.random.RandomState, spots: Sequence[Point], pane: float) -> None:
    glow = Image.new("L", (canvas.width, canvas.height))
    draw = ImageDraw.Draw(glow)
    for x, y in spots:
        value = 110 + int(145 * chance.random_sample())
        draw.rectangle((round(x), round(y), round(x) + round(pane) - 1, round(y) + round(1.5 * pane) - 1), value)
    lit = np.asarray(glow, np.float32) / 255
    soft = np.asarray(glow.filter(ImageFilter.GaussianBlur(2.5 * pane)), np.float32) / 255
    canvas.pixels += (_WARM - canvas.pixels) * lit[..., None]
    canvas.pixels += _WARM * (0.55 * soft)[..., None]


def paint_lighthouse(canvas: Canvas, light: Light, x: float, foot: float, tall: float) -> None:
    """Stand a lighthouse at (``x``, ``foot``), its beam reaching across the sky when it is not broad day."""
    lantern = (x, foot - 0.90 * tall)
    if light.day < 0.9:  # noqa: PLR2004 - no beam is seen at noon
        _paint_beam(canvas, lantern, tall, strength=0.95 - 0.6 * light.day)
    pen = Pen(canvas, foot - 1.1 * tall, foot + 0.12 * tall)
    low, high = 0.105 * tall, 0.062 * tall
    pen.polygon(
        [
            (x - low, foot + 0.1 * tall),
            (x - high, foot - 0.80 * tall),
            (x + high, foot - 0.80 * tall),
            (x + low, foot + 0.1 * tall),
        ]
    )
    white = mixed(light.haze, np.ones(3, np.float32), 0.25 + 0.5 * light.day) * np.float32(0.35 + 0.6 * light.day)
    red = colour("a8322a") * np.float32(0.30 + 0.6 * light.day)
    tower = pen.mask()
    rows = canvas.rows[pen.top : pen.bottom]
    stripe = ((foot - rows) / np.float32(0.2 * tall)).astype(np.int64) % 2 == 1
    round_shade = 1.0 - 0.55 * np.clip((canvas.columns - (x - low)) / (2 * low), 0, 1)
    paint = np.where(stripe[..., None], red, white) * round_shade[..., None]
    canvas.cover(tower, paint.astype(np.float32), pen.top)
    pen = Pen(canvas, foot - 1.1 * tall, foot + 0.12 * tall)
    pen.polygon(
        [
            (x - 0.10 * tall, foot - 0.80 * tall),
            (x + 0.10 * tall, foot - 0.80 * tall),
            (x + 0.085 * tall, foot - 0.775 * tall),
            (x - 0.085 * tall, foot - 0.775 * tall),
        ]
    )
    for side in (-1, 1):
        pen.stroke(
            [(x + side * 0.095 * tall, foot - 0.80 * tall), (x + side * 0.095 * tall, foot - 0.835 * tall)],
            0.006 * tall,
        )
        pen.stroke(
            [(x + side * 0.048 * tall, foot - 0.80 * tall), (x + side * 0.048 * tall, foot - 0.94 * tall)], 0.010 * tall
        )
    pen.stroke([(x - 0.097 * tall, foot - 0.835 * tall), (x + 0.097 * tall, foot - 0.835 * tall)], 0.006 * tall)
    pen.ellipse(x, foot - 0.94 * tall, 0.060 * tall, 0.045 * tall)
    pen.stroke([(x, foot - 0.97 * tall), (x, foot - 1.04 * tall)], 0.010 * tall)
    canvas.cover(pen.mask(), mixed(light.cloud_dark, np.zeros(3, np.float32), 0.6), pen.top)
    _paint_lamp(canvas, lantern, tall, strength=1.0 - 0.5 * light.day)


def _paint_lamp(canvas: Canvas, at: Point, tall: float, *, strength: float) -> None:
    distance = np.hypot(canvas.columns - np.float32(at[0]), canvas.rows - np.float32(at[1])) / np.float32(tall)
    glow = np.exp(-((distance / 0.030) ** 2)) + 0.45 * np.exp(-distance / 0.085)
    shine = np.clip(glow * np.float32(strength), 0, 1)
    canvas.pixels += (colour("fff3cf") * 1.1 - canvas.pixels) * shine[..., None]


def _paint_beam(canvas: Canvas, at: Point, tall: float, *, strength: float) -> None:
    across = (canvas.columns - np.float32(at[0])) / np.float32(tall)
    down = (canvas.rows - np.float32(at[1])) / np.float32(tall)
    side = 1.0 if at[0] < canvas.width / 2 else -1.0
    for direction, tilt, share in ((side, -0.10, 1.0), (-side, 0.10, 0.65)):
        along = across * direction
        off = (down - tilt * along) / (0.018 + 0.10 * np.maximum(along, 0))
        beam = np.exp(-(off**2)) * np.exp(-np.maximum(along, 0) / 1.9) * (along > 0)
        canvas.pixels += colour("ffe9b0") * (np.float32(0.62 * strength * share) * beam)[..., None]


def paint_boat(canvas: Canvas, paint: Colour, x: float, water: float, tall: float) -> None:
    """Sail a small boat whose keel is at row ``water``."""
    pen = Pen(canvas, water - 1.1 * tall, water + 0.1 * tall)
    pen.polygon(
        [
            (x - 0.36 * tall, water - 0.10 * tall),
            (x + 0.44 * tall, water - 0.12 * tall),
            (x + 0.30 * tall, water + 0.02 * tall),
            (x - 0.26 * tall, water + 0.02 * tall),
        ]
    )
    pen.stroke([(x, water - 0.1 * tall), (x, water - tall)], 0.018 * tall)
    pen.polygon(
        [
            (x + 0.02 * tall, water - 0.98 * tall),
            (x + 0.20 * tall, water - 0.55 * tall),
            (x + 0.38 * tall, water - 0.17 * tall),
            (x + 0.02 * tall, water - 0.17 * tall),
        ]
    )
    pen.polygon(
        [
            (x - 0.03 * tall, water - 0.90 * tall),
            (x - 0.14 * tall, water - 0.5 * tall),
            (x - 0.30 * tall, water - 0.17 * tall),
            (x - 0.03 * tall, water - 0.17 * tall),
        ]
    )
    canvas.cover(pen.mask(), paint, pen.top)


def paint_cat(canvas: Canvas, paint: Colour, x: float, ground: float, tall: float) -> None:
    """Let a cat sit on ``ground`` and look at the view."""
    pen = Pen(canvas, ground - 1.1 * tall, ground + 0.15 * tall)
    pen.polygon(
        _curve(
            [
                (-0.30, 0.03),
                (-0.335, -0.12),
                (-0.29, -0.30),
                (-0.19, -0.50),
                (-0.135, -0.62),
                (0.135, -0.62),
                (0.19, -0.50),
                (0.29, -0.30),
                (0.335, -0.12),
                (0.30, 0.03),
            ],
            x,
            ground,
            tall,
        )
    )
    pen.ellipse(x, ground - 0.735 * tall, 0.205 * tall, 0.170 * tall)
    for side in (-1, 1):
        pen.polygon(
            [
                (x + side * 0.200 * tall, ground - 0.74 * tall),
                (x + side * 0.185 * tall, ground - 1.02 * tall),
                (x + side * 0.030 * tall, ground - 0.87 * tall),
            ]
        )
    tail = [(0.24, -0.02), (0.40, 0.015), (0.54, -0.02), (0.62, -0.12), (0.61, -0.22), (0.54, -0.27)]
    pen.stroke(_curve(tail, x, ground, tall), 0.085 * tall)
    pen.ellipse(x + 0.54 * tall, ground - 0.27 * tall, 0.042 * tall, 0.042 * tall)
    canvas.cover(pen.mask(), paint, pen.top)


def _curve(points: Sequence[Point], x: float, y: float, size: float) -> list[Point]:
    """Return a smooth line (Catmull-Rom) through ``points``, scaled and moved into place."""
    ends = [points[0], *points, points[-1]]
    smooth: list[Point] = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(8):
            t = step / 8
            smooth.append(
                tuple(  # type: ignore[arg-type]
                    0.5
                    * (
                        2 * b[n]
                        + (c[n] - a[n]) * t
                        + (2 * a[n] - 5 * b[n] + 4 * c[n] - d[n]) * t * t
                        + (3 * b[n] - a[n] - 3 * c[n] + d[n]) * t**3
                    )
                    for n in range(2)
                )
            )
    return [(x + px * size, y + py * size) for px, py in [*smooth, points[-1]]]


def paint_cactus(canvas: Canvas, paint: Colour, x: float, foot: float, tall: float) -> None:
    """Grow a saguaro."""
    pen = Pen(canvas, foot - 1.1 * tall, foot + 0.1 * tall)
    thick = 0.14 * tall

    def limb(points: Sequence[Point], width: float) -> None:
        places = [(x + a * tall, foot + b * tall) for a, b in points]
        pen.stroke(places, width)
        for place in (places[0], places[-1]):
            pen.ellipse(*place, width / 2, width / 2)

    limb([(0, 0.03), (0, -0.93)], thick)
    limb([(0, -0.36), (-0.19, -0.38), (-0.22, -0.42), (-0.22, -0.66)], 0.70 * thick)
    limb([(0, -0.48), (0.16, -0.50), (0.19, -0.54), (0.19, -0.80)], 0.66 * thick)
    canvas.cover(pen.mask(), paint, pen.top)


def paint_birds(canvas: Canvas, paint: Colour, x: float, y: float, wing: float) -> None:
    """Let a few birds fly far away."""
    chance = canvas.chance("birds")
    pen = Pen(canvas, y - 12 * wing, y + 12 * wing)
    for _ in range(7):
        size = wing * (0.5 + 0.7 * chance.random_sample())
        left = x + (chance.random_sample() - 0.5) * 16 * wing
        high = y + (chance.random_sample() - 0.5) * 8 * wing
        lift = 0.25 + 0.35 * chance.random_sample()
        for side in (-1, 1):
            shape = [(0, 0), (side * 0.35, -lift), (side * 0.7, -0.9 * lift), (side * 1.1, -0.25 * lift)]
            pen.stroke(_curve(shape, left, high, size), max(0.5, 0.13 * size))
    canvas.cover(pen.mask(), paint, pen.top)


def paint_grass(canvas: Canvas, line: Field, paint: Colour, height: float) -> None:
    """Fringe ``line`` with blades of grass."""
    chance = canvas.chance("grass")
    pen = Pen(canvas, line.min() - 1.6 * height, line.max() + 0.3 * height)
    tuft = line_noise(chance, canvas.width, 0.12 * canvas.unit, 4)
    for _ in range(int(canvas.width / height * 9)):
        x = chance.random_sample() * canvas.width
        place = int(np.clip(x, 0, canvas.width - 1))
        tall = height * (0.25 + 1.5 * float(tuft[place]) ** 2 * (0.4 + chance.random_sample()))
        bend = (chance.random_sample() - 0.45) * 0.8 * tall
        foot = float(line[place]) + 0.2 * height
        pen.polygon(
            [
                (x - 0.035 * height, foot),
                (x + 0.45 * bend, foot - 0.7 * tall),
                (x + bend, foot - tall),
                (x + 0.40 * bend + 0.03 * height, foot - 0.65 * tall),
                (x + 0.045 * height, foot),
            ]
        )
    canvas.cover(pen.mask(), paint, pen.top)


def paint_snowfall(canvas: Canvas) -> None:
    """Let snow fall in front of everything."""
    chance = canvas.chance("snowfall")
    for count, radius, blur, share in (
        (420, 0.0016, 0.0008, 0.75),
        (110, 0.0035, 0.0022, 0.6),
        (26, 0.008, 0.006, 0.4),
    ):
        flakes = Image.new("L", (canvas.width, canvas.height))
        draw = ImageDraw.Draw(flakes)
        size = max(0.6, radius * canvas.unit)
        for x, y in chance.random_sample((int(count * canvas.width / canvas.unit), 2)):
            left, top = x * canvas.width, y * canvas.height
            draw.ellipse((left - size, top - size, left + size, top + size), 255)
        soft = flakes.filter(ImageFilter.GaussianBlur(max(0.5, blur * canvas.unit)))
        canvas.cover(np.asarray(soft, np.float32) / np.float32(255) * np.float32(share), colour("f6f9ff"))
