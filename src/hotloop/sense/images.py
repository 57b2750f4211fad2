"""A bounded decoder: bytes from a camera or a stranger -> pixels, or a named error. It never runs away.

Only PNG, JPEG and uncompressed BMP are taken, each by its own reader, so that nothing in the bytes can choose
another of Pillow's dozens; and PNG and JPEG only after `strip.py` has cut away all that is not pixels. What
an image claims to be is checked before a pixel is decoded, and the claim bounds the memory: each decoder
fills a buffer of the claimed size and drops what comes after. All in all a decode takes at most about 12
bytes a pixel (a progressive CMYK JPEG's coefficients beside its pixels), so `pixels_max` is also a limit on
memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin

from hotloop.config import ImageLimits
from hotloop.errors import ImageError, ImageTooLargeError, UnreadableImageError
from hotloop.sense.strip import JPEG_MAGIC, PNG_MAGIC, stripped_jpeg, stripped_png

Pixels: TypeAlias = NDArray[np.uint8]

JPEG_SCANS_MAX = 30
"""Encoders write about 10. Each scan passes over the whole image, so thousands of nearly empty ones are an
attack.
"""
_STRIP_PIXELS = 1 << 20
_READERS: dict[bytes, tuple[type[ImageFile.ImageFile], Callable[[bytes], bytes]]] = {
    PNG_MAGIC: (PngImagePlugin.PngImageFile, stripped_png),
    JPEG_MAGIC: (JpegImagePlugin.JpegImageFile, stripped_jpeg),
    b"BM": (BmpImagePlugin.BmpImageFile, bytes),
}
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = frozenset({"1", "L"})
# All that Pillow's three readers raise on bad bytes (a Warning where the process makes warnings errors).
_DECODER_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, SyntaxError,
    TypeError, ValueError, Warning, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def decode_image(data: bytes, limits: ImageLimits | None = None) -> Pixels:
    """The pixels of a PNG, JPEG or BMP file: uint8 (H, W) if it is grey, else (H, W, 3) in RGB.

    Of 16 bits the upper 8 are kept, palettes and CMYK become RGB, and what is transparent shows white, as it
    does to the reviewer who sees the same file in a browser. An orientation tag is not applied: regions are
    in stored pixels. ImageTooLargeError over a limit (nothing was decoded); UnreadableImageError for anything
    that is no whole still image.
    """
    limits = limits or ImageLimits()
    image = _opened(data, limits)
    try:
        image.load()
        return _as_pixels(image)
    except MemoryError as error:
        raise ImageTooLargeError(
            f"an image of {image.width} x {image.height} pixels does not fit in this process's memory; "
            "lower images.pixels_max or give it more"
        ) from error
    except _DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"a {image.format} image of {image.width} x {image.height} pixels is broken or cut short "
            f"({error}); send it again from the source"
        ) from error


def image_size(data: bytes, limits: ImageLimits | None = None) -> tuple[int, int]:
    """Width and height in pixels from the file's header; no pixel is decoded. Errors as `decode_image`."""
    size = _opened(data, limits or ImageLimits()).size
    return (size[0], size[1])


def encode_png(pixels: Pixels) -> bytes:
    """A PNG file of uint8 pixels (H, W) or (H, W, 3). ImageError for any other array."""
    fits = pixels.ndim in (2, 3) and pixels.shape[2:] in ((), (3,)) and pixels.size > 0
    if pixels.dtype != np.uint8 or not fits:
        raise ImageError(f"PNG takes uint8 (H, W) or (H, W, 3), not {pixels.dtype} {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def _opened(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The image with its header read and found within the limits, its pixels not yet decoded."""
    if len(data) > limits.bytes_max:
        raise ImageTooLargeError(f"{len(data)} bytes are over images.bytes_max = {limits.bytes_max}")
    found = next((reader for magic, reader in _READERS.items() if data.startswith(magic)), None)
    if found is None:
        raise UnreadableImageError(
            f"{len(data)} bytes that begin with {data[:8].hex(' ') or 'nothing'} are no PNG, JPEG or BMP; "
            "convert the image to one of these"
        )
    reader, strip = found
    if data.startswith(JPEG_MAGIC) and data.count(b"\xff\xda") > JPEG_SCANS_MAX:
        raise UnreadableImageError(f"a JPEG of over {JPEG_SCANS_MAX} scans; save it as a plain JPEG")
    try:
        image = reader(io.BytesIO(strip(data)))
    except MemoryError as error:
        raise ImageTooLargeError("an image's header alone does not fit in this process's memory") from error
    except _DECODER_ERRORS as error:
        raise UnreadableImageError(f"an image's header cannot be read ({error}); send it again") from error
    _check_claims(image, limits)
    return image


def _check_claims(image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    """Refuse what a header says the image is, if that is too big or slow to decode."""
    width, height = image.size
    if width < 1 or height < 1:
        raise UnreadableImageError(f"an image of {width} x {height} pixels is none; send it again")
    if max(width, height) > limits.side_px_max:
        raise ImageTooLargeError(
            f"an image of {width} x {height} pixels is over images.side_px_max = {limits.side_px_max}"
        )
    if width * height > limits.pixels_max:
        raise ImageTooLargeError(
            f"an image of {width} x {height} pixels is over images.pixels_max = {limits.pixels_max}"
        )
    if any(tile.codec_name == "bmp_rle" for tile in image.tile):
        # Pillow decodes it in Python, pixel by pixel: seconds for a large one.
        raise UnreadableImageError("a run-length encoded BMP; save it uncompressed or as PNG")


def _as_pixels(image: Image.Image) -> Pixels:
    """The pixels in one of our two forms, strip by strip, so that no second whole copy is ever held."""
    width, height = image.size
    grey = image.mode in _GREY_MODES or image.mode in _DEEP_MODES or image.mode in ("LA", "La")
    pixels = np.empty((height, width) if grey else (height, width, 3), np.uint8)
    step = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, step):
        strip = image.crop((0, top, width, min(height, top + step)))
        if image.mode in _DEEP_MODES:
            pixels[top : top + step] = (np.asarray(strip).astype(np.int32) >> 8).clip(0, 255)
        else:
            pixels[top : top + step] = np.asarray(_opaque(strip).convert("L" if grey else "RGB"))
    return pixels


def _opaque(strip: Image.Image) -> Image.Image:
    """The strip over white where it has transparency, else itself."""
    if not strip.has_transparency_data:
        return strip
    clear = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
