"""Files nobody should send, built byte by byte or by spoiling good ones: pictures, and what is no medium at all.

The moving and sounding ones are in ``hostile_streams``. What each of them must lead to is in ``test_hostile_media``.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from media_assets_tests.media.makers import textured

PNG = b"\x89PNG\r\n\x1a\n"
SIZE_PX = (96, 64)
MB = 1 << 20


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width_px: int, height_px: int, *, bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG's first chunk; colour 0 is grey, 2 is RGB."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0))


def png(*more: bytes, size_px: tuple[int, int] = SIZE_PX, data: bytes | None = None) -> bytes:
    """Return an RGB PNG with more chunks before its picture.

    Args:
        *more: The chunks.
        size_px: What the header announces.
        data: The compressed picture; without it, a real one of ``SIZE_PX``.
    """
    if data is None:
        rows = textured(*SIZE_PX)
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"".join((PNG, header(*size_px), *more, chunk(b"IDAT", data), chunk(b"IEND")))


@lru_cache
def bomb(megabytes: int) -> bytes:
    """Return a zlib stream, a thousandth of the size of the zeros it holds."""
    packer = zlib.compressobj(9)
    zeros = bytes(MB)
    return b"".join([packer.compress(zeros) for _ in range(megabytes)]) + packer.flush()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image's file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    """Return a colourful picture of ``SIZE_PX``."""
    return Image.fromarray(textured(*SIZE_PX)).convert(mode)


def turned(orientation: int) -> bytes:
    """Return a photo that is to be shown turned or mirrored, as cameras write it (EXIF tag 0x0112, 1 to 8)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture(), "JPEG", exif=exif)


def looping_exif() -> bytes:
    """Return a photo whose EXIF directory names itself as the next one, and as its own sub-directory."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    return saved(picture(), "JPEG", exif=b"Exif\0\0" + tiff)


def frames(count: int) -> list[Image.Image]:
    """Return pictures that differ."""
    return [picture().rotate(9 * number) for number in range(1, count)]


def animated_png(count: int, announced: int) -> bytes:
    """Return an APNG of empty frames after its picture.

    Args:
        count: How many frames there are.
        announced: How many its header says.
    """
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, *SIZE_PX, 0, 0, 1, 10, 0, 0))
    whole = png(chunk(b"acTL", struct.pack(">II", announced, 0)), control)
    end = chunk(b"IEND")
    return whole.removesuffix(end) + control * count + end


def gif(count: int) -> bytes:
    """Return a GIF of very many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2D\1\0"
    return head + frame * count + b";"


def png_16_bit_rgb() -> bytes:
    """Return a PNG with 16 bits a channel, which Pillow reads but cannot write."""
    wide = textured(*SIZE_PX).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    return b"".join((PNG, header(*SIZE_PX, bits=16), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND")))


def grey_16_bit() -> bytes:
    """Return a PNG of 16-bit grey, all of whose levels are white to whoever cuts them at 255."""
    levels = textured(*SIZE_PX)[..., 0].astype(np.uint16) * 250 + 256
    return saved(Image.fromarray(levels), "PNG")


def unseen() -> bytes:
    """Return a colourful picture of which every pixel is fully transparent."""
    image = picture("RGBA")
    image.putalpha(0)
    return saved(image, "PNG")


def wrong_checksum() -> bytes:
    """Return a PNG one bit of whose picture has flipped."""
    data = bytearray(png())
    data[len(data) // 2] ^= 1
    return bytes(data)


def jpeg_of(width_px: int, height_px: int) -> bytes:
    """Return a JPEG whose header announces another size than it holds."""
    data = bytearray(saved(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height_px, width_px)
    return bytes(data)


def webp_of(width_px: int, height_px: int) -> bytes:
    """Return an animated WebP whose canvas is larger than its frames."""
    data = bytearray(saved(picture(), "WEBP", save_all=True, append_images=frames(2)))
    canvas = data.index(b"VP8X") + 12
    data[canvas : canvas + 6] = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return bytes(data)


def progressive_scans(count: int) -> bytes:
    """Return a progressive JPEG that refines its picture again and again: much work for few bytes."""
    data = saved(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def zip_behind(data: bytes) -> bytes:
    """Return a file that is also a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil.py", "raise SystemExit")
    return data + buffer.getvalue()


def jpeg_with_page() -> bytes:
    """Return a JPEG that a browser which guesses would run as a page."""
    page = b"<html><script>fetch('/')</script></html>"
    return saved(picture(), "JPEG", comment=page) + page


def still_head(brand: bytes) -> bytes:
    """Return the head of a HEIC or AVIF, and noise."""
    box = struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0" + b"mif1" + brand
    return box + np.random.default_rng(1).bytes(2000)


SVG = b"""<?xml version="1.0"?>
<!DOCTYPE svg [<!ENTITY leak SYSTEM "file:///etc/passwd"><!ENTITY call SYSTEM "%s">]>
<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512"><text>&leak;&call;</text></svg>"""

PICTURES: dict[str, Callable[[], bytes]] = {
    "png_50k_x_50k": lambda: png(size_px=(50_000, 50_000)),
    "png_profile_bomb": lambda: png(chunk(b"iCCP", b"icc\0\0" + bomb(256))),
    "png_text_bomb": lambda: png(chunk(b"zTXt", b"Comment\0\0" + bomb(256))),
    "png_itxt_bomb": lambda: png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb(256))),
    "png_data_bomb": lambda: png(data=bomb(256)),
    "png_many_chunks": lambda: png(chunk(b"tEXt", b"a\0b") * 100_000),
    "png_of_79_million_pixels": lambda: saved(Image.new("1", (8900, 8900)), "PNG"),
    "png_animated": lambda: saved(picture(), "PNG", save_all=True, append_images=frames(3), duration=40),
    "png_animated_100k": lambda: animated_png(100_000, announced=2**31 - 1),
    "png_16_bit_grey": grey_16_bit,
    "png_16_bit_rgb": png_16_bit_rgb,
    "png_rgba": lambda: saved(picture("RGBA"), "PNG"),
    "png_palette": lambda: saved(picture().quantize(16), "PNG", transparency=3),
    "png_unseen": unseen,
    "png_1_x_1": lambda: saved(Image.new("RGB", (1, 1)), "PNG"),
    "png_no_size": lambda: png(size_px=(0, 0)),
    "png_wrong_checksum": wrong_checksum,
    "png_and_zip": lambda: zip_behind(png()),
    "jpeg_cmyk": lambda: saved(picture("CMYK"), "JPEG"),
    "jpeg_half": lambda: saved(picture(), "JPEG")[:1500],
    "jpeg_65k_x_65k": lambda: jpeg_of(65_500, 65_500),
    "jpeg_no_height": lambda: jpeg_of(96, 0),
    "jpeg_looping_exif": looping_exif,
    "jpeg_2000_scans": lambda: progressive_scans(2000),
    "jpeg_and_page": jpeg_with_page,
    "webp_animated": lambda: saved(picture(), "WEBP", save_all=True, append_images=frames(5)),
    "webp_16k_x_16k": lambda: webp_of(16_383, 16_383),
    "webp_8900_x_8900": lambda: webp_of(8900, 8900),
    "gif_million_frames": lambda: gif(1_000_000),
    "heic": lambda: still_head(b"heic"),
    "avif": lambda: still_head(b"avif"),
    **{f"jpeg_turned_{orientation}": partial(turned, orientation) for orientation in range(1, 9)},
}
"""Everything that a picture model might send, by name."""

NO_MEDIA: dict[str, bytes] = {
    "nothing": b"",
    "one_byte": b"\x89",
    "zeros": bytes(MB),
    "page": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "json": b'{"detail": "not found"}',
    "xml": b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "words": b"Internal Server Error\n",
    "zip": zip_behind(b""),
    "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n\0\1\2",
    "gif_and_script": b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)//;",
    "avi": b"RIFF\x24\0\0\0AVI LIST" + bytes(200),
}
"""What error pages, proxies and attackers send in place of a medium."""


def playlists(canary: str, secret: Path) -> dict[str, bytes]:
    """Return texts that make an unguarded demuxer open something else.

    Args:
        canary: A URL nobody may ask for.
        secret: A file nobody may read.
    """

    def list_of(*lines: str) -> bytes:
        return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", *lines, "#EXT-X-ENDLIST"]).encode()

    ftyp = b"\0\0\0\x18ftypisom\0\0\2\0isommp41"
    return {
        "m3u8_file": list_of(f"file://{secret}"),
        "m3u8_http": list_of(canary),
        "m3u8_concat": list_of(f"concat:{canary}|file://{secret}"),
        "m3u8_subfile": list_of(f"subfile,,start,0,end,100,,:{secret}"),
        "m3u8_behind_a_mark": b"\xef\xbb\xbf\n\n" + list_of(canary),
        "m3u8_in_an_mp4": ftyp + list_of(canary),
        "m3u8_in_a_matroska": b"\x1a\x45\xdf\xa3" + list_of(canary),
        "m3u8_in_an_mp3": b"ID3\4\0\0\0\0\0\0" + list_of(canary),
        "concat_script": f"ffconcat version 1.0\nfile '{canary}'\nfile '{secret}'\n".encode(),
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{canary}</BaseURL></MPD>'.encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "svg_with_entities": SVG % canary.encode(),
        "mp4_external": external_data(canary, secret),
    }


def boxes(kind: bytes, *parts: bytes) -> bytes:
    """Return an MP4 box."""
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def external_data(canary: str, secret: Path) -> bytes:
    """Return a QuickTime film whose sound lies elsewhere: at a URL, and in a file of this machine."""
    elsewhere = boxes(b"url ", bytes(4), canary.encode(), b"\0")
    alias = boxes(b"alis", bytes(4), str(secret).encode().ljust(200, b"\0"))
    dinf = boxes(b"dinf", boxes(b"dref", bytes(4), struct.pack(">I", 2), elsewhere, alias))
    entry = boxes(b"sowt", bytes(6), struct.pack(">H", 1), bytes(8), struct.pack(">HHHHI", 1, 16, 0, 0, 8000 << 16))
    tables = _sound_tables(entry, samples=8000)
    media = boxes(
        b"mdia",
        boxes(b"mdhd", bytes(12), struct.pack(">IIHH", 8000, 8000, 0, 0)),
        boxes(b"hdlr", bytes(4), b"mhlrsoun", bytes(13)),
        boxes(b"minf", boxes(b"smhd", bytes(8)), dinf, tables),
    )
    moov = boxes(b"moov", boxes(b"mvhd", bytes(12), struct.pack(">II", 8000, 8000), bytes(80)), boxes(b"trak", media))
    return b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + moov + boxes(b"mdat", bytes(20_000))


def _sound_tables(entry: bytes, *, samples: int) -> bytes:
    def table(kind: bytes, *numbers: int) -> bytes:
        return boxes(kind, bytes(4), struct.pack(f">{len(numbers)}I", *numbers))

    return boxes(
        b"stbl",
        boxes(b"stsd", bytes(4), struct.pack(">I", 1), entry),
        table(b"stts", 1, samples, 1),
        table(b"stsc", 1, 1, samples, 1),
        table(b"stsz", 2, samples),
        table(b"stco", 1, 0),
    )


def spoiled(source: Path, *changes: tuple[bytes, int, bytes]) -> bytes:
    """Return a file's bytes with some overwritten.

    Args:
        source: The good file.
        *changes: Each a mark that is in the file, how far behind its beginning to write, and what.
    """
    data = bytearray(source.read_bytes())
    for mark, offset, new in changes:
        at = data.index(mark) + offset
        data[at : at + len(new)] = new
    return bytes(data)
