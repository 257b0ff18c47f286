"""What stands where in a landscape, and in which colours, once its scene is known.

Does not belong here: which scene a prompt means (`media_assets.media.draw`) and how a thing is painted
(`media_assets.media._scenery`, `media_assets.media._silhouettes`). Every number here is taste: lengths are
parts of the picture's shorter side, colours were chosen by eye.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from media_assets.media._scenery import (
    Canvas,
    Colour,
    Field,
    Lamp,
    Light,
    colour,
    line_noise,
    mixed,
    paint_clouds,
    paint_dunes,
    paint_mountains,
    paint_ridge,
    paint_sky,
    paint_water,
)
from media_assets.media._silhouettes import (
    paint_birds,
    paint_boat,
    paint_cactus,
    paint_cat,
    paint_grass,
    paint_lighthouse,
    paint_pines,
    paint_skyline,
    paint_snowfall,
)
from media_assets.media.work import Work


def _light(sky: str, lamp: str, cloud: str, haze: str, *, day: float, stars: float = 0, glow: float = 1) -> Light:
    zenith, upper, lower, horizon = (colour(code) for code in sky.split())
    lit, dark = (colour(code) for code in cloud.split())
    return Light(
        sky=(zenith, upper, lower, horizon),
        lamp=colour(lamp),
        cloud_lit=lit,
        cloud_dark=dark,
        haze=colour(haze),
        day=day,
        stars=stars,
        glow=glow,
    )


TIMES: Mapping[str, tuple[Light, ...]] = {
    "day": (
        _light("2a66a8 5f9bd0 a9cfe6 e3eef0", "fff8e0", "ffffff 9db3c9", "b4cbdc", day=1.0, glow=0.8),
        _light("3a7ca5 84b6cc cfdccb f6e6c2", "fff1cf", "fffaf0 a9b0b8", "cbd2c4", day=1.0, glow=0.9),
    ),
    "dawn": (
        _light("3a4f8a 8a83b4 e6a9a0 ffdcae", "fff0cc", "ffd0b4 776c99", "dcb0ac", day=0.62),
        _light("2f6080 86a8b4 f0c4a0 ffe6b4", "fff4d2", "ffe0c0 7f8a9c", "d9c3b0", day=0.70),
    ),
    "dusk": (
        _light("1d2350 573a78 cf5f68 ffb060", "ffe2a4", "ff9c64 41305e", "b8646c", day=0.36),
        _light("14304f 3d6182 d09a70 ffcb74", "ffe9b0", "ffb877 33435e", "a87f6c", day=0.40),
        _light("2b1d4a 7a3560 e0604f ffa04c", "ffd890", "ff8a55 4a2750", "b85a58", day=0.34),
    ),
    "night": (
        _light("050a1c 0c1838 1c2f5c 35507c", "f4f1de", "4c618a 0b1330", "2a4068", day=0.12, stars=1.0, glow=0.62),
        _light("07101c 0d2436 17455a 3f7d82", "f6f4e4", "477884 081a26", "2b5866", day=0.12, stars=1.0, glow=0.62),
    ),
    "storm": (
        _light("262f37 434f58 75817f b6b5a6", "e2dfcf", "aab0ae 29323a", "8b948f", day=0.46, glow=0.35),
        _light("2b3440 4e5a6b 848f9c bcc3c6", "e0e4e6", "b4bcc4 333c48", "949da6", day=0.46, glow=0.35),
    ),
}

_NEAR: Mapping[str, tuple[str, ...]] = {
    "hills": ("35502a", "4a5a2c", "2c4a33"),
    "lake": ("263f35", "34472e", "2b3a40"),
    "forest": ("163524", "1d3a2c", "24381f"),
    "mountains": ("2b3a44", "2e4136", "3a3f4c"),
    "desert": ("c07a42", "c9905a", "b5643c"),
    "sea": ("2a2f30", "2c3a2e", "332e2c"),
    "city": ("1a2130", "20222e", "262430"),
}
_PINE = colour("1d3a2c")
_LEVEL = {"city": 0.70, "desert": 0.62, "mountains": 0.64}
"""Of the height: where the horizon is; 0.66 elsewhere."""
_LAMPS_LIT_BELOW = 0.5
"""Of ``Light.day``."""


@dataclass(frozen=True)
class Scene:
    """What a prompt asks for."""

    land: str
    """A name in ``LANDS``."""
    time: str
    """A name in ``TIMES``."""
    clouded: bool
    water: bool | None
    """None: as chance has it. Seas, lakes and cities have it anyhow, forests, hills and deserts never."""
    things: frozenset[str]


class Painting:
    """One picture: what was chosen for it, and the order in which it is painted."""

    def __init__(self, canvas: Canvas, scene: Scene, work: Work) -> None:
        self.canvas, self.scene, self.work = canvas, scene, work
        chance = canvas.chance("composition")
        lights, colours = TIMES[scene.time], _NEAR[scene.land]
        self.light = lights[chance.randint(len(lights))]
        self.near = colour(colours[chance.randint(len(colours))])
        self.lamp_right = bool(chance.randint(2))
        self.horizon = canvas.height * (_LEVEL.get(scene.land, 0.66) + 0.05 * (chance.random_sample() - 0.5))
        self.lamp = self._placed_lamp(chance)
        usual = {"storm": 0.95, "night": 0.22}.get(scene.time, 0.30 + 0.35 * chance.random_sample())
        self.clouds = 0.92 if scene.clouded else usual
        self.coin = bool(chance.randint(2))
        self.water = self.coin if scene.water is None else scene.water
        self.shore: float | None = None
        self.ground: Field = np.full(canvas.width, canvas.height, np.float32)
        """The nearest land's line, where things can stand."""

    def paint(self) -> None:
        """Paint everything, from far to near."""
        self.work.check()
        paint_sky(self.canvas, self.light, self.lamp, self.horizon)
        self.work.check()
        paint_clouds(self.canvas, self.light, self.lamp, self.horizon, self.clouds)
        self.work.tell(0.3)
        self.work.check()
        LANDS[self.scene.land](self)
        self.work.check()
        self._paint_things()
        self.work.tell(0.8)

    def _placed_lamp(self, chance: np.random.RandomState) -> Lamp:
        unit = self.canvas.unit
        across, high, large = chance.random_sample(3)
        across = 0.16 + 0.26 * across
        low = self.scene.time in {"dusk", "dawn"}
        height = (0.10 if low else 0.36) + 0.12 * high
        if low and self.scene.land == "sea":
            height = 0.06
        return Lamp(
            x=self.canvas.width * (1 - across if self.lamp_right else across),
            y=self.horizon - unit * height,
            radius=unit * ((0.045 if low else 0.036) + 0.012 * large),
        )

    def _lit(self, base: Colour, far: float) -> Colour:
        """Return a colour of the land by this light, ``far`` (0..1) into the haze."""
        day = np.float32(self.light.day)
        near = base * (0.18 + 0.82 * day)
        if day < 1:
            near = near * (0.55 + 0.45 * self.light.lamp)
        return mixed(near, self.light.haze, far)

    def _line(self, name: str, y: float, *, swing: float, cell: float, octaves: int = 4, gain: float = 0.45) -> Field:
        """Return a line of land around row ``y``; ``swing`` and ``cell`` are parts of a unit."""
        unit = self.canvas.unit
        level = line_noise(self.canvas.chance(name), self.canvas.width, cell * unit, octaves, gain)
        return (y - 2 * swing * unit * (level - 0.5)).astype(np.float32)

    def paint_hills(self) -> None:
        """Roll green hills towards the horizon."""
        unit, below = self.canvas.unit, self.canvas.height - self.horizon
        for step, near in enumerate(np.linspace(0, 1, 5)):
            y = self.horizon - 0.06 * unit + 0.62 * below * near
            swing, cell = 0.11 - 0.03 * near, 0.75 - 0.1 * near
            line = self._line(f"hill {step}", y, swing=swing, cell=cell, gain=0.36)
            far = 0.82 * (1 - near) ** 1.25
            mist = self._lit(self.near, min(1, far + 0.22))
            paint_ridge(self.canvas, line, self._lit(self.near, far), mist, mist_unit=0.16, name=f"hill {step}")
            if 0 < near < 1:
                trees = self._lit(self.near * np.float32(0.6), far * 0.9)
                tall = 0.018 * unit * (1 + 2.2 * near)
                paint_pines(self.canvas, line, trees, height=tall, density=0.1, name=f"tree {step}")
        self._paint_front(0.08)

    def _paint_front(self, high: float, *, pale: float = 0.30) -> None:
        """Close the picture with a dark bank of grass."""
        unit = self.canvas.unit
        self.ground = self._line("ground", self.canvas.height - high * unit, swing=0.05, cell=0.9)
        dark = self._lit(self.near, 0) * np.float32(pale)
        paint_ridge(self.canvas, self.ground, dark, dark, name="front")
        paint_grass(self.canvas, self.ground, dark, 0.045 * unit)

    def paint_lake(self) -> None:
        """Put a still lake before hills or mountains."""
        if self.coin:
            self._paint_peaks()
        else:
            self._paint_ranges()
        self._paint_woods()
        self._fill_with_water(self.horizon + 0.03 * self.canvas.unit, rough=0.10)
        self._paint_front(0.05)

    def paint_mountains(self) -> None:
        """Raise snowy mountains behind a lake or woods."""
        unit = self.canvas.unit
        self._paint_peaks()
        self._paint_woods()
        if self.water:
            self._fill_with_water(self.horizon + 0.04 * unit, rough=0.08)
        else:
            for step in range(2):
                y = self.horizon + (0.06 + 0.09 * step) * unit
                line = self._line(f"foot {step}", y, swing=0.04, cell=0.7)
                paint = self._lit(_PINE, 0.16 - 0.10 * step)
                paint_ridge(self.canvas, line, paint, self._lit(_PINE, 0.4), mist_unit=0.2, name=f"foot {step}")
                tall = (0.07 + 0.03 * step) * unit
                paint_pines(self.canvas, line, paint, height=tall, density=1.5, name=f"foot tree {step}")
        self._paint_front(0.05)

    def _paint_peaks(self) -> None:
        rock = self._lit(colour("5a6270"), 0.1)
        for step, (high, swing, far) in enumerate(((0.20, 0.22, 0.42), (0.10, 0.17, 0.16))):
            y = self.horizon - high * self.canvas.unit
            line = self._line(f"peak {step}", y, swing=swing, cell=0.42 - 0.06 * step, octaves=7, gain=0.5)
            paint_mountains(self.canvas, line, self.light, self.lamp, paint=rock, far=far, name=f"peak {step}")

    def _paint_ranges(self) -> None:
        for step in range(3):
            y = self.horizon - (0.15 - 0.045 * step) * self.canvas.unit
            line = self._line(f"range {step}", y, swing=0.10 - 0.01 * step, cell=0.5, octaves=6)
            far = 0.80 - 0.22 * step
            mist = self._lit(self.near, min(1, far + 0.2))
            paint_ridge(self.canvas, line, self._lit(self.near, far), mist, mist_unit=0.12, name=f"range {step}")

    def _paint_woods(self) -> None:
        """Draw two dark lines of trees along the horizon."""
        unit = self.canvas.unit
        for step in range(2):
            y = self.horizon - (0.010 - 0.03 * step) * unit
            line = self._line(f"wood {step}", y, swing=0.022, cell=0.5)
            paint = self._lit(_PINE, 0.36 - 0.22 * step)
            paint_ridge(self.canvas, line, paint, paint, name=f"wood {step}")
            tall = (0.035 + 0.02 * step) * unit
            paint_pines(self.canvas, line, paint, height=tall, density=1.0, name=f"wood tree {step}")

    def paint_forest(self) -> None:
        """Set row after row of pines in the mist, with tall ones at the sides."""
        unit, below = self.canvas.unit, self.canvas.height - self.horizon
        line = self._line("range", self.horizon - 0.16 * unit, swing=0.14, cell=0.55, octaves=6)
        paint_ridge(self.canvas, line, self._lit(self.near, 0.86), self.light.haze, mist_unit=0.1, name="range")
        for step, near in enumerate(np.linspace(0, 1, 5)):
            y = self.horizon - 0.07 * unit + 0.80 * below * near
            line = self._line(f"wood {step}", y, swing=0.07, cell=0.6)
            far = 0.74 * (1 - near) ** 1.2
            paint, mist = self._lit(self.near, far), self._lit(self.near, min(1, far + 0.30))
            paint_ridge(self.canvas, line, paint, mist, mist_unit=0.13, name=f"wood {step}")
            tall, density = (0.055 + 0.15 * near**1.3) * unit, 2.3 - 0.9 * near
            paint_pines(self.canvas, line, paint, height=tall, density=density, name=f"tree {step}")
            self.work.check()
        dark = self._lit(self.near, 0) * np.float32(0.35)
        foot = self._line("ground", self.canvas.height - 0.06 * unit, swing=0.05, cell=0.9)
        paint_pines(self.canvas, foot, dark, height=0.62 * unit, density=1.3, name="frame", edges=0.13)
        self._paint_front(0.06, pale=0.35)

    def paint_desert(self) -> None:
        """Lay dunes before table mountains."""
        unit, below = self.canvas.unit, self.canvas.height - self.horizon
        high = self.horizon - self._line("mesa", self.horizon - 0.02 * unit, swing=0.07, cell=0.5, octaves=5)
        terrace = np.float32(0.03 * unit)
        line = self.horizon - 0.6 * np.round(high / terrace) * terrace - 0.4 * high
        mist = self._lit(self.near, 0.9)
        paint_ridge(self.canvas, line.astype(np.float32), self._lit(self.near, 0.7), mist, mist_unit=0.1, name="mesa")
        sun = np.float32(0.7 + 0.35 * self.light.day)
        lit = mixed(self._lit(self.near, 0), self.light.lamp, 0.28) * sun
        shaded = self._lit(self.near * np.float32(0.42), 0)
        for step, near in enumerate(np.linspace(0, 1, 5)):
            y = self.horizon + 0.02 * unit + 0.75 * below * near
            swing, cell = 0.055 + 0.035 * near, 0.62 + 0.3 * near
            line = self._line(f"dune {step}", y, swing=swing, cell=cell, octaves=2, gain=0.30)
            far = 0.62 * (1 - near) ** 1.2
            paint_dunes(self.canvas, line, self.lamp, lit=lit, shaded=shaded, haze=self.light.haze, far=far)
            self.ground = line
        if "cactus" in self.scene.things or self.coin:
            chance = self.canvas.chance("cactus")
            for near in (0.35, 0.55, 1.0):
                x = self.canvas.width * (0.12 + 0.76 * chance.random_sample())
                foot = self.horizon + 0.05 * unit + 0.62 * below * near
                paint = self._lit(colour("2c3a24"), 0.4 * (1 - near)) * np.float32(0.6)
                paint_cactus(self.canvas, paint, x, foot, (0.06 + 0.22 * near) * unit)

    def paint_sea(self) -> None:
        """Open the sea behind a rock, which carries the lighthouse if there is one."""
        canvas, unit = self.canvas, self.canvas.unit
        across = np.linspace(0, 1, canvas.width, dtype=np.float32)
        from_rock = across if self.lamp_right else across[::-1]
        if self.coin:
            far_line = self._line("coast", self.horizon - 0.01 * unit, swing=0.05, cell=0.7, octaves=6)
            far_line += (0.11 * from_rock - 0.05) * np.float32(unit)
            paint = self._lit(self.near, 0.72)
            paint_ridge(canvas, far_line, paint, self._lit(self.near, 0.9), mist_unit=0.06, name="coast")
        self._fill_with_water(self.horizon, rough=0.95 if self.scene.clouded else 0.55)
        rise = np.clip(1 - 2 * from_rock, 0, 1) ** np.float32(0.8)
        line = self._line("rock", canvas.height + 0.10 * unit, swing=0.05, cell=0.22, octaves=7, gain=0.52)
        self.ground = line - np.float32(0.36 * unit) * rise
        if "lighthouse" in self.scene.things:
            x = self._place(0.17)
            paint_lighthouse(canvas, self.light, x, self._ground_at(x) + 0.02 * unit, 0.52 * unit)
        dark = self._lit(self.near, 0.05) * np.float32(0.55)
        paint_ridge(canvas, self.ground, dark, dark, name="rock")
        paint_grass(canvas, self.ground, dark, 0.022 * unit)

    def paint_city(self) -> None:
        """Build three rows of towers at the water."""
        canvas, unit = self.canvas, self.canvas.unit
        dark = self.light.day < _LAMPS_LIT_BELOW
        if dark:
            warm = np.exp(-np.abs(self.horizon - canvas.rows) / np.float32(0.20 * unit))
            canvas.pixels += colour("ff9a50") * (np.float32(0.16) * warm)[..., None]
        for step, (tall, far) in enumerate(((0.34, 0.66), (0.42, 0.36), (0.30, 0.06))):
            lights = (0.10 + 0.16 * step) * (1.0 if dark else 0.12)
            paint = self._lit(self.near, far)
            paint_skyline(canvas, self.horizon, paint, height=tall * unit, lights=lights, name=f"row {step}")
        self._fill_with_water(self.horizon, rough=0.22)
        if "cat" in self.scene.things:
            self.ground = np.full(canvas.width, canvas.height - 0.07 * unit, np.float32)
            wall = self._lit(self.near, 0) * np.float32(0.4)
            paint_ridge(canvas, self.ground, wall, wall, name="wall")

    def _fill_with_water(self, shore: float, *, rough: float) -> None:
        self.work.check()
        paint_water(self.canvas, self.light, self.lamp, shore, rough=rough)
        self.shore = shore

    def _place(self, across: float) -> float:
        """Return a column, counted from the side where the lamp is not."""
        return self.canvas.width * (across if self.lamp_right else 1 - across)

    def _ground_at(self, x: float) -> float:
        return min(float(self.ground[int(x)]), self.canvas.height - 0.02 * self.canvas.unit)

    def _paint_things(self) -> None:
        canvas, unit, things = self.canvas, self.canvas.unit, self.scene.things
        dark = mixed(self._lit(self.near, 0) * np.float32(0.3), self.light.cloud_dark, 0.25)
        if "boat" in things and self.shore is not None:
            paint_boat(canvas, dark, self._place(0.60), self.shore + 0.05 * unit, 0.13 * unit)
        if "cat" in things:
            x = self._place(0.36)
            black = self._lit(self.near, 0) * np.float32(0.26)
            paint_cat(canvas, black, x, self._ground_at(x) + 0.01 * unit, 0.34 * unit)
        if "bird" in things:
            paint_birds(canvas, dark, self._place(0.55), 0.32 * self.horizon, 0.022 * unit)
        if "snowfall" in things:
            paint_snowfall(canvas)


LANDS: Mapping[str, Callable[[Painting], None]] = {
    "city": Painting.paint_city,
    "desert": Painting.paint_desert,
    "forest": Painting.paint_forest,
    "hills": Painting.paint_hills,
    "lake": Painting.paint_lake,
    "mountains": Painting.paint_mountains,
    "sea": Painting.paint_sea,
}
