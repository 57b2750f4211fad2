"""Cuts a PNG or JPEG file down to what its pixels need, before a decoder sees it.

Text, colour profiles, EXIF, previews and thumbnails are where bombs hide (200 MB of inflated text,
directories that point at themselves, a second header after the data). None of it changes a pixel as we use
them, so none of it is parsed at all. Formats: W3C PNG (third edition), section 5; ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct

from hotloop.errors import UnreadableImageError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
_APP0_JFIF, _APP14_ADOBE, _COMMENT = 0xE0, 0xEE, 0xFE  # the two APPs say how colours are coded
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # those without a length


def stripped_png(data: bytes) -> bytes:
    """The PNG with one IHDR, one PLTE and tRNS, its IDATs and IEND. UnreadableImageError for an animation."""
    kept, seen, place = [PNG_MAGIC], set(), len(PNG_MAGIC)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise UnreadableImageError(f"a PNG is cut short in its {name!r} part; send it again")
        if name == b"acTL":
            raise UnreadableImageError("an animated PNG; send one still image")
        if name == b"IDAT" or (name in (b"IHDR", b"PLTE", b"tRNS") and name not in seen and b"IDAT" not in seen):
            kept.append(data[place:end])
        seen.add(name)
        place = end
        if name == b"IEND":
            break
    if b"IHDR" not in seen or b"IDAT" not in seen or data[12:16] != b"IHDR":
        raise UnreadableImageError("a PNG without a header at its beginning, or without pixels; send it again")
    kept.append(b"\0\0\0\0IEND\xaeB`\x82")
    return b"".join(kept)


def stripped_jpeg(data: bytes) -> bytes:
    """The JPEG without comments and APP segments other than JFIF's and Adobe's, which tell its colours."""
    kept, place = [data[:2]], 2
    while True:
        while data[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if place + 4 > len(data) or data[place] != 0xFF:
            raise UnreadableImageError("a JPEG is cut short or broken before its pixels; send it again")
        marker = data[place + 1]
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return b"".join((*kept, data[place:]))
        if marker in _BARE_MARKERS:
            place += 2
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        is_app = _APP0_JFIF <= marker <= _APP0_JFIF + 15
        if marker != _COMMENT and (not is_app or marker in (_APP0_JFIF, _APP14_ADOBE)):
            kept.append(data[place:end])
        place = end
