"""The bounded decoder: what it takes, what it makes of each mode, and what it refuses by which name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hotloop.config import ImageLimits
from hotloop.errors import ImageError, ImageTooLargeError, UnreadableImageError
from hotloop.sense.images import JPEG_SCANS_MAX, decode_image, encode_png, image_size

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (23, 37, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_formats_give_back_their_pixels(kind: str, pixels: np.ndarray) -> None:
    """A PNG or BMP decodes to exactly what was written, grey in two dimensions and colour in three."""
    decoded = decode_image(encoded(Image.fromarray(pixels), kind))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_gives_nearly_its_pixels(progressive: bool) -> None:
    """A smooth picture survives JPEG within a few grey levels, plain or progressive."""
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    decoded = decode_image(encoded(Image.fromarray(smooth), "JPEG", quality=95, progressive=progressive))
    assert decoded.shape == (64, 48)
    assert np.abs(decoded.astype(int) - smooth).max() <= 6


def test_encode_png_round_trips() -> None:
    """What encode_png writes, decode_image reads back."""
    for pixels in (GREY, COLOUR, GREY[::2, ::-1]):
        assert np.array_equal(decode_image(encode_png(pixels)), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 4, 3, 1), np.uint8),
    ],
)
def test_encode_png_refuses_other_arrays(pixels: np.ndarray) -> None:
    """Arrays that are no 8-bit grey or colour picture are refused with their form in the message."""
    with pytest.raises(ImageError, match="uint8"):
        encode_png(pixels)


def test_sixteen_bits_keep_their_upper_eight() -> None:
    """A 16-bit grey PNG decodes to its values divided by 256."""
    deep = RNG.integers(0, 65536, (11, 13), dtype=np.uint16)
    assert np.array_equal(decode_image(encoded(Image.fromarray(deep))), deep >> 8)


def test_one_bit_becomes_black_and_white() -> None:
    """A 1-bit picture decodes to 0 and 255."""
    bits = RNG.random((17, 19)) < 0.5
    assert np.array_equal(decode_image(encoded(Image.fromarray(bits))), bits * np.uint8(255))


def test_palette_becomes_colour() -> None:
    """A palette picture decodes to the colours that its palette names."""
    image = Image.fromarray(COLOUR).quantize(7)
    assert np.array_equal(decode_image(encoded(image)), np.asarray(image.convert("RGB")))


def test_transparency_shows_white() -> None:
    """A clear pixel is white, an opaque one is itself, and half of both is half way."""
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 128, 255)
    decoded = decode_image(encoded(Image.fromarray(rgba)))
    assert decoded.shape == (1, 3, 3)
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 2].tolist() == [200, 0, 0]
    assert abs(int(decoded[0, 1, 1]) - 127) <= 1


def test_transparent_grey_stays_grey() -> None:
    """A grey picture with transparency is grey over white."""
    la = np.stack((GREY, np.where(GREY > 99, 255, 0).astype(np.uint8)), axis=2)
    decoded = decode_image(encoded(Image.fromarray(la, "LA")))
    assert np.array_equal(decoded, np.where(GREY > 99, GREY, 255))


def test_a_transparent_palette_entry_shows_white() -> None:
    """A palette whose entry is clear (tRNS) gives white there."""
    image = Image.fromarray(COLOUR).quantize(5)
    decoded = decode_image(encoded(image, transparency=2))
    clear = np.asarray(image) == 2
    assert clear.any()
    assert (decoded[clear] == 255).all()


def test_cmyk_becomes_rgb() -> None:
    """A CMYK JPEG of plain red decodes to nearly plain red."""
    red = Image.new("RGB", (32, 32), (255, 0, 0)).convert("CMYK")
    decoded = decode_image(encoded(red, "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() < 12


def test_tall_pictures_are_whole_across_strips() -> None:
    """A picture larger than one strip of the conversion is put together without a seam."""
    tall = np.repeat(np.arange(2_600, dtype=np.uint32)[:, None], 900, axis=1).astype(np.uint8)
    rgba = np.dstack((tall, tall, tall, np.full_like(tall, 255)))
    assert np.array_equal(decode_image(encoded(Image.fromarray(rgba), compress_level=1))[..., 1], tall)


def test_orientation_is_not_applied() -> None:
    """An EXIF orientation leaves the stored pixels as they are: regions are in stored pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(GREY), "JPEG", exif=exif)
    assert decode_image(data).shape == GREY.shape


def test_size_without_decoding() -> None:
    """image_size reads width and height, from a file whose pixels are missing too."""
    data = encoded(Image.fromarray(COLOUR), "JPEG")
    assert image_size(data) == (37, 23)
    start = data.index(b"\xff\xda")
    assert image_size(data[: start + 20]) == (37, 23)


def test_too_many_bytes_are_refused() -> None:
    """A file over bytes_max is refused before anything is read; one at the limit is not."""
    data = encoded(Image.fromarray(GREY))
    assert decode_image(data, ImageLimits(bytes_max=len(data))).shape == GREY.shape
    with pytest.raises(ImageTooLargeError, match=f"{len(data)} bytes .*bytes_max = {len(data) - 1}"):
        decode_image(data, ImageLimits(bytes_max=len(data) - 1))


def test_too_many_pixels_are_refused() -> None:
    """A picture over pixels_max is refused by its header; one at the limit is not."""
    data = encoded(Image.fromarray(GREY))
    assert decode_image(data, ImageLimits(pixels_max=23 * 37)).shape == GREY.shape
    for reader in (decode_image, image_size):
        with pytest.raises(ImageTooLargeError, match=r"37 x 23 .*pixels_max = 850"):
            reader(data, ImageLimits(pixels_max=23 * 37 - 1))


def test_too_long_a_side_is_refused() -> None:
    """A picture with a side over side_px_max is refused however few pixels it has."""
    data = encode_png(np.zeros((1, 200), np.uint8))
    with pytest.raises(ImageTooLargeError, match="side_px_max = 199"):
        decode_image(data, ImageLimits(side_px_max=199))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PPM", "ICO"])
def test_other_formats_are_refused(kind: str) -> None:
    """Formats that Pillow could read but we do not take are refused, and what to do is said."""
    with pytest.raises(UnreadableImageError, match="no PNG, JPEG or BMP; convert"):
        decode_image(encoded(Image.fromarray(COLOUR), kind))


@pytest.mark.parametrize("data", [b"", b"\0", b"B", b"\x89PNG", b"hello, world", b"\xff\xd8"])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    """Empty, tiny and textual bytes are refused, their beginning in the message."""
    with pytest.raises(UnreadableImageError, match=data[:8].hex(" ") or "nothing"):
        decode_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_file_cut_short_is_refused(kind: str, share: float) -> None:
    """A file that ends too early is no image, wherever it ends."""
    data = encoded(Image.fromarray(COLOUR), kind)
    with pytest.raises(UnreadableImageError):
        decode_image(data[: int(len(data) * share)])


def test_an_animation_is_refused() -> None:
    """An animated PNG is refused, not silently cut to its first frame."""
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 9)]
    with pytest.raises(UnreadableImageError, match="animated"):
        decode_image(encoded(frames[0], save_all=True, append_images=frames[1:]))


def test_a_jpeg_of_many_scans_is_refused() -> None:
    """A JPEG that repeats a scan more often than any encoder is refused; up to the limit it is read."""
    data = encoded(Image.fromarray(GREY), "JPEG", progressive=True)
    last, scans = data.rindex(b"\xff\xda"), data.count(b"\xff\xda")
    scan = data[last:-2]
    assert decode_image(data[:-2] + scan * (JPEG_SCANS_MAX - scans) + data[-2:]).shape == GREY.shape
    with pytest.raises(UnreadableImageError, match="scans"):
        decode_image(data[:-2] + scan * (JPEG_SCANS_MAX - scans + 1) + data[-2:])


def test_a_run_length_bmp_is_refused() -> None:
    """A run-length encoded BMP is refused: it would be decoded pixel by pixel in Python."""
    data = bytearray(encoded(Image.fromarray(GREY), "BMP"))
    data[30] = 1
    with pytest.raises(UnreadableImageError, match="run-length"):
        decode_image(bytes(data))


def test_no_memory_is_told_as_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out in the decoder, the image was too large; the process goes on."""

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", exhausted)
    with pytest.raises(ImageTooLargeError, match=r"37 x 23 .*memory"):
        decode_image(encoded(Image.fromarray(GREY)))


def test_no_memory_for_the_header_is_told_as_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out already in the header, that is told too."""

    def exhausted(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile._open", exhausted)
    with pytest.raises(ImageTooLargeError, match="header"):
        decode_image(encoded(Image.fromarray(GREY)))
