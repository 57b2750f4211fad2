"""Cutting PNG and JPEG files down to their pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from hotloop.errors import UnreadableImageError
from hotloop.sense.images import decode_image
from hotloop.sense.strip import PNG_MAGIC, stripped_jpeg, stripped_png

PIXELS = np.random.default_rng(8).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def names(data: bytes) -> list[bytes]:
    """The names of a PNG's chunks."""
    place, found = 8, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found.append(data[place + 4 : place + 8])
        place += 12 + length
    return found


def test_png_keeps_pixels_and_nothing_else() -> None:
    """Text, profile, EXIF and time are gone; header, palette, transparency and pixels stay."""
    info = PngImagePlugin.PngInfo()
    info.add_text("key", "text" * 99, zip=True)
    info.add_itxt("other", "text")
    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.fromarray(PIXELS).quantize(4)
    data = encoded(image, "PNG", pnginfo=info, exif=exif, icc_profile=b"p" * 300, dpi=(9, 9), transparency=1)
    stripped = stripped_png(data)
    assert set(names(data)) > {b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"pHYs"}
    assert names(stripped) == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    assert np.array_equal(decode_image(data), decode_image(stripped))


def test_a_png_as_plain_as_can_be_is_unchanged() -> None:
    """There is nothing to cut from a plain PNG."""
    data = encoded(Image.fromarray(PIXELS), "PNG")
    assert stripped_png(data) == data


def test_what_follows_the_end_of_a_png_is_dropped() -> None:
    """Bytes after IEND go: a file can carry anything there."""
    data = encoded(Image.fromarray(PIXELS), "PNG")
    assert stripped_png(data + b"MZ" * 100) == data


def test_a_second_header_is_dropped() -> None:
    """A second IHDR, before or after the pixels, does not change the size that was checked."""
    small, large = (struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0) for side in (2, 60_000))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 6))
    for parts in ((small, large, None), (small, None, large)):
        data = PNG_MAGIC + b"".join(body if part is None else chunk(b"IHDR", part) for part in parts)
        assert decode_image(data + chunk(b"IEND", b"")).shape == (2, 2)


def test_a_png_without_pixels_or_header_is_refused() -> None:
    """A PNG must begin with its header and have pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 6))
    for parts in (b"", header, body, body + header, chunk(b"tEXt", b"a\0b") + header + body):
        with pytest.raises(UnreadableImageError, match="without a header"):
            stripped_png(PNG_MAGIC + parts)


def test_a_chunk_longer_than_its_file_is_refused() -> None:
    """A chunk that claims to go on beyond the file is named."""
    data = PNG_MAGIC + struct.pack(">I", 2**32 - 1) + b"iCCP" + b"\0" * 50
    with pytest.raises(UnreadableImageError, match="iCCP"):
        stripped_png(data)


def test_jpeg_loses_exif_profile_and_comment() -> None:
    """APP1, APP2 and comments are gone, the pixels are the same."""
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    data = encoded(Image.fromarray(PIXELS), "JPEG", exif=exif, icc_profile=b"p" * 300, comment=b"by ann")
    stripped = stripped_jpeg(data)
    assert b"secret" in data
    assert not any(word in stripped for word in (b"secret", b"pppp", b"ann", b"Exif"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), decode_image(stripped))


def test_jpeg_keeps_what_tells_its_colours() -> None:
    """Adobe's APP14 stays: without it CMYK and untransformed RGB would come out in false colours."""
    data = encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG")
    assert b"Adobe" in stripped_jpeg(data)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), decode_image(data))


def test_fill_bytes_between_segments_are_skipped() -> None:
    """Any number of 0xFF may stand before a marker."""
    data = encoded(Image.fromarray(PIXELS), "JPEG")
    padded = data[:2] + b"\xff" * 7 + data[2:]
    assert np.array_equal(decode_image(padded), decode_image(data))


def test_bare_markers_have_no_length() -> None:
    """A restart marker before the frame is passed over, as decoders do."""
    data = encoded(Image.fromarray(PIXELS), "JPEG")
    assert stripped_jpeg(data[:2] + b"\xff\xd0" + data[2:]) == stripped_jpeg(data)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\x00\x09abc", b"\xff\xd8\xff\xe0\x00\x02zz\0\0\0\0"]
)
def test_a_jpeg_broken_before_its_pixels_is_refused(data: bytes) -> None:
    """A segment that leads out of the file, or to no marker, ends the reading."""
    with pytest.raises(UnreadableImageError, match="before its pixels"):
        stripped_jpeg(data)


def test_every_prefix_of_a_jpeg_header_ends_in_a_named_error() -> None:
    """Cut anywhere before the scan, a JPEG is refused by name and not read beyond its end."""
    data = encoded(Image.fromarray(PIXELS), "JPEG")
    for end in range(2, data.index(b"\xff\xda")):
        with pytest.raises(UnreadableImageError):
            stripped_jpeg(data[:end])
