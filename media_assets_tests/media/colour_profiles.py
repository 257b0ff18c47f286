"""Small ICC profiles, written byte by byte: the colours of cameras, screens and presses, with no file to be shipped.

A profile is a header, a table of tags and their data (ICC.1:2010, sections 7 and 10). Primaries are adapted to the
white of the profile's own space, D50, after Bradford.
"""

import struct
from collections.abc import Sequence

Xyz = tuple[float, float, float]

_D50: Xyz = (0.9642, 1.0, 0.8249)
_ADOBE_RGB: tuple[Xyz, Xyz, Xyz] = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
"""Of Adobe RGB (1998) Color Image Encoding, version 2005-05."""
_DISPLAY_P3: tuple[Xyz, Xyz, Xyz] = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
"""Of SMPTE RP 431-2:2011 with the white D65, as Apple names it."""


def adobe_rgb() -> bytes:
    """Return the profile of cameras: its greens are far outside sRGB."""
    return _matrix_profile(_ADOBE_RGB, _gamma(2.19921875))


def display_p3() -> bytes:
    """Return the profile of phones and new screens: wider primaries, sRGB's own curve."""
    return _matrix_profile(_DISPLAY_P3, _srgb_curve())


def linear_grey() -> bytes:
    """Return a profile of greys in which a level is the light itself."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0)})


def odd_press() -> bytes:
    """Return a profile of a press whose magenta ink is a medium grey; every other ink, and every mixture, is black."""
    paper, grey, black = (255, 128, 128), (128, 128, 128), (0, 128, 128)
    magenta_alone = 0b0100
    table = b"".join(bytes({0: paper, magenta_alone: grey}.get(inks, black)) for inks in range(16))
    straight = bytes(range(256))
    unit = struct.pack(">9i", *(65_536 * (row == column) for row in range(3) for column in range(3)))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + unit + straight * 4 + table + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _matrix_profile(primaries: Sequence[Xyz], curve: bytes) -> bytes:
    tags = {name + b"XYZ": _xyz(value) for name, value in zip((b"r", b"g", b"b"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | {name + b"TRC": curve for name in (b"r", b"g", b"b")})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made by a test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(12 + 67),
        b"cprt": b"text\0\0\0\0" + text,
        b"wtpt": _xyz(_D50),
    } | tags
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    header = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(data), b"\0" * 4, 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2017, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", *map(_fixed, _D50))
    return header.ljust(128, b"\0") + table + data


def _fixed(value: float) -> int:
    return round(value * 65_536)


def _xyz(value: Xyz) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *map(_fixed, value))


def _gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def _srgb_curve() -> bytes:
    """Return IEC 61966-2-1's curve as 1,024 points."""
    points = [level / 1023 for level in range(1024)]
    lights = [point / 12.92 if point <= 0.04045 else ((point + 0.055) / 1.055) ** 2.4 for point in points]
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(light * 65_535) for light in lights))
