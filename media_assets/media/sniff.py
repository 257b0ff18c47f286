"""What a file's own bytes announce, read without any library: its type, why it is none of ours, whether it is cut.

Facts that need a decoder or a demuxer are read in ``probe``.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

HEAD_BYTES = 4096
"""How much of a file :func:`sniff` wants to see."""

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/ogg": "ogv",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/webm": "weba",
    "audio/x-matroska": "mka",
}
"""Every type this project handles, and the extension a file of it gets."""

DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "video/x-matroska": "matroska",
    "audio/x-matroska": "matroska",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "video/ogg": "ogg",
    "audio/aac": "aac",
}
"""The libav demuxer to force for each type that has streams."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
)
_RIFF_TYPES = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
_EBML = b"\x1a\x45\xdf\xa3"
_STILL_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_OTHER_IMAGES = (b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_SOUND_BRANDS = (b"M4A ", b"M4B ")
_PLAYLISTS = (b"#extm3u", b"ffconcat", b"[playlist]")

_UNKNOWN_LENGTH_BYTES = 0x7FFFF000
"""A WAV written to a pipe announces a length from here up: nobody knew it yet."""


def sniff(head: bytes) -> str | None:
    """Return the MIME type that a file's first ``HEAD_BYTES`` announce; None when we do not handle it.

    Whether an MP4 or WebM holds a picture is only known once its streams are read: ``probe`` does that.
    """
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return mime
    if head[:4] in {b"RIFF", b"RF64"}:
        return _RIFF_TYPES.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _sniff_mp4(head[8:12])
    if head.startswith(_EBML):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _sniff_sync_word(head)


def _sniff_mp4(brand: bytes) -> str | None:
    if brand in _STILL_BRANDS:
        return None
    if brand in _SOUND_BRANDS:
        return "audio/mp4"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _sniff_sync_word(head: bytes) -> str | None:
    """Tell MP3 and raw AAC by the header bits of their first frame, which is all they have.

    The bits, from the highest: 11 sync, 2 version, 2 layer, 1 protection, 4 bit rate, 2 sample rate (ISO 11172-3;
    raw AAC, ISO 13818-7, has 12 sync bits and layer 0).
    """
    bits = int.from_bytes(head[:3].ljust(3, b"\0"), "big")
    sync, version, layer = bits >> 13, bits >> 11 & 0b11, bits >> 9 & 0b11
    bit_rate, sample_rate = bits >> 4 & 0b1111, bits >> 2 & 0b11
    reserved_version, layer_3, no_bit_rate, no_sample_rate = 0b01, 0b01, 0b1111, 0b11
    all_sync_bits = 0b111_1111_1111
    if sync != all_sync_bits:
        return None
    if layer == 0:
        return "audio/aac" if version & 0b10 else None
    is_mp3 = layer == layer_3 and version != reserved_version
    is_possible = bit_rate != no_bit_rate and sample_rate != no_sample_rate
    return "audio/mpeg" if is_mp3 and is_possible else None


def describe_unknown(head: bytes) -> str:
    """Say in plain words what a file is that :func:`sniff` does not know; the sentence lacks its subject."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if not head:
        reason = "is empty"
    elif text.startswith(_PLAYLISTS):
        reason = "is a playlist that points at other files, not a medium"
    elif text.startswith(b"<"):
        is_page = b"<html" in text or b"<!doctype html" in text
        kind = "a web page (HTML)" if is_page else "XML"
        reason = f"is {kind}, not a medium: the server may have sent an error"
    elif text.startswith((b"{", b"[")):
        reason = "is JSON, not a medium: the server may have sent an error"
    elif head[4:8] == b"ftyp" or head.startswith(_OTHER_IMAGES):
        reason = "is a kind of image that is not handled: only PNG, JPEG and WebP are"
    elif _is_text(head):
        reason = "is plain text, not a medium"
    else:
        reason = "is of no type that is handled: it does not begin like an image, a video or a sound"
    return reason


def is_no_file(head: bytes) -> bool:
    """Whether a file's first ``HEAD_BYTES`` are nothing, or text: a server's word in the place of a medium."""
    # A page need not be UTF-8.
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return sniff(head) is None and (text.startswith(b"<") or _is_text(text))


def _is_text(head: bytes) -> bool:
    try:
        # An incremental decoder forgives a character that the end of the head cuts in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def describe_cut(path: Path, mime: str) -> str | None:
    """Say what is missing when a PNG, WebP, WAV or MP4 holds less than it announces; None when nothing is.

    Pillow and libav take such files for whole: a WAV that lost its end simply becomes shorter. The other types
    are checked where they are read.
    """
    size_bytes = path.stat().st_size
    if mime == "image/png":
        return None if b"IEND" in _png_chunks(path, size_bytes) else "its end is missing"
    if mime == "image/webp":
        with path.open("rb") as file:
            announced_bytes = 8 + int.from_bytes(file.read(8)[4:], "little")
    elif DEMUXERS.get(mime) == "mov":
        announced_bytes = max((end for _, end in _mp4_boxes(path)), default=0)
    elif mime == "audio/wav":
        announced_bytes = _wav_end(path, size_bytes)
    else:
        return None
    if announced_bytes > size_bytes:
        return f"{announced_bytes} bytes announced, {size_bytes} there"
    return None


def _png_chunks(path: Path, size_bytes: int) -> Iterator[bytes]:
    """Yield the type of each chunk that is there in full: length, type, data, checksum."""
    position = 8
    with path.open("rb") as file:
        while position + 12 <= size_bytes:
            file.seek(position)
            header = file.read(8)
            end = position + 12 + int.from_bytes(header[:4], "big")
            if end <= size_bytes:
                yield header[4:]
            position = end


def _wav_end(path: Path, size_bytes: int) -> int:
    """Return where the sound ends by its chunk's header; 0 when that is not known."""
    position = 12
    with path.open("rb") as file:
        while position + 8 <= size_bytes:
            file.seek(position)
            header = file.read(8)
            length_bytes = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return position + 8 + length_bytes if length_bytes < _UNKNOWN_LENGTH_BYTES else 0
            position += 8 + length_bytes + length_bytes % 2
    return 0


def has_index_first(path: Path) -> bool:
    """Whether an MP4's index (``moov``) stands before its data (``mdat``), so that it plays while it loads."""
    kinds = (kind for kind, _ in _mp4_boxes(path) if kind in {b"moov", b"mdat"})
    return next(kinds, None) == b"moov"


def _mp4_boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the type and the announced end of each outermost box."""
    size_bytes = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size_bytes:
            file.seek(position)
            header = file.read(16)
            length_bytes = int.from_bytes(header[:4], "big")
            if length_bytes == 0:
                length_bytes = size_bytes - position
            elif length_bytes == 1:
                length_bytes = int.from_bytes(header[8:16], "big")
            position += max(length_bytes, 8)
            yield header[4:8], position
