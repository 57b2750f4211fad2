"""Malformed images and bombs by seed, and the child process that decodes them within bounds.

python hostile_images.py FIRST COUNT

decodes the images FIRST to FIRST + COUNT - 1 with the address space bounded to 256 MiB above what the
interpreter and the libraries take, and prints what happened as JSON. A crash of any kind is a crash of this
process.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from hotloop.config import ImageLimits
from hotloop.errors import ImageError, ImageTooLargeError
from hotloop.sense.images import JPEG_SCANS_MAX, decode_image

GROWTH_BYTES_MAX = 256 * 2**20
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
Rng = np.random.Generator


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


@cache
def honest() -> tuple[bytes, ...]:
    """Small good files of every accepted form, from which the bad ones are bent."""
    pixels = np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    grey = colour.convert("L")
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    files = [encoded(colour.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    files += [encoded(deep, "PNG"), encoded(grey, "PNG", compress_level=0)]
    files += [encoded(colour.convert(mode), "JPEG", progressive=p) for mode in ("L", "RGB", "CMYK") for p in (0, 1)]
    files += [encoded(colour.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")]
    return tuple(files)


def chunk(name: bytes, body: bytes, *, length: int | None = None, crc: int | None = None) -> bytes:
    """A PNG chunk, its length and check value true unless they are given."""
    told = len(body) if length is None else length
    return struct.pack(">I", told) + name + body + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """A PNG's IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


@cache
def zeros(size: int) -> bytes:
    """`size` zero bytes, deflated: about a thousandth of that."""
    packer, block = zlib.compressobj(9), b"\0" * (1 << 20)
    parts = [packer.compress(block) for _ in range(size >> 20)] + [packer.compress(block[: size % (1 << 20)])]
    return b"".join(parts) + packer.flush()


def png(*chunks: bytes) -> bytes:
    """A PNG file of these chunks."""
    return PNG_MAGIC + b"".join(chunks) + chunk(b"IEND", b"")


def bent(rng: Rng) -> bytearray:
    """A copy of a random honest file."""
    files = honest()
    return bytearray(files[int(rng.integers(len(files)))])


def cut_short(rng: Rng) -> bytes:
    """A file that ends too early, from one byte on."""
    data = bent(rng)
    return bytes(data[: int(rng.integers(0, len(data)))])


def bits_flipped(rng: Rng) -> bytes:
    """A file with a few to many bits flipped."""
    data = bent(rng)
    for place in rng.integers(0, len(data), int(2 ** rng.uniform(0, 8))):
        data[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def header_flipped(rng: Rng) -> bytes:
    """A file with bytes of its first hundred overwritten: sizes, modes, offsets."""
    data = bent(rng)
    for place in rng.integers(0, min(100, len(data)), int(rng.integers(1, 6))):
        data[int(place)] = int(rng.choice((0, 1, 127, 128, 254, 255, int(rng.integers(256)))))
    return bytes(data)


def spliced(rng: Rng) -> bytes:
    """The head of one file on the body of another, or a stretch doubled or taken out."""
    one, two = bytes(bent(rng)), bytes(bent(rng))
    a, b = sorted(int(v) for v in rng.integers(0, min(len(one), len(two)), 2))
    return (one[:a] + two[a:], one[:b] + one[a:], one[:a] + one[b:], one + two)[int(rng.integers(4))]


def noise(rng: Rng) -> bytes:
    """Random bytes, bare or behind the magic of a format."""
    magic = (b"", PNG_MAGIC, b"\xff\xd8\xff\xe0", b"BM")[int(rng.integers(4))]
    return magic + rng.bytes(int(rng.integers(0, 3000)))


def other_formats(rng: Rng) -> bytes:
    """Files of formats that are not accepted, or texts, or magic alone."""
    image = Image.new("RGB", (9, 9), "red")
    kind = ("GIF", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX")[int(rng.integers(7))]
    texts = (
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\0",
        b"B",
        PNG_MAGIC,
        b"\xff\xd8\xff",
        b"BM",
    )
    return encoded(image, kind) if rng.random() < 0.5 else texts[int(rng.integers(len(texts)))]


def lying_chunks(rng: Rng) -> bytes:
    """A PNG whose chunks lie about their length or check value, or come twice or in a wrong order."""
    body = zlib.compress(b"\0" * (49 * 64 * 3))
    idat = chunk(b"IDAT", body, length=int(rng.choice((0, 1, len(body) * 2, 2**31 - 1, 2**32 - 1))))
    parts = [
        header(64, 48),
        idat,
        chunk(b"IDAT", body),
        chunk(b"IDAT", body, crc=7),
        header(48, 64),
        chunk(b"PLTE", b"\1" * 9),
    ]
    return png(*(parts[int(i)] for i in rng.permutation(len(parts))[: int(rng.integers(1, 7))]))


def confused_modes(rng: Rng) -> bytes:
    """A PNG whose depth, colour type, palette or transparency do not belong together."""
    depth, colour = int(rng.choice((0, 1, 2, 3, 4, 8, 16, 32, 255))), int(rng.integers(0, 8))
    parts = [header(31, 17, depth, colour, int(rng.integers(0, 3)))]
    if rng.random() < 0.5:
        parts.append(chunk(b"PLTE", rng.bytes(int(rng.integers(0, 1000)))))
    if rng.random() < 0.5:
        parts.append(chunk(b"tRNS", rng.bytes(int(rng.integers(0, 300)))))
    parts.append(chunk(b"IDAT", zlib.compress(rng.bytes(int(rng.integers(0, 5000))))))
    return png(*parts)


def text_bomb(rng: Rng) -> bytes:
    """A PNG whose colour profile or text inflates to 200 MB, or which holds thousands of them."""
    packed = zeros(200_000_000 if rng.random() < 0.3 else 900_000)
    name, body = (
        (b"iCCP", b"icc\0\0" + packed),
        (b"zTXt", b"key\0\0" + packed),
        (b"iTXt", b"key\0\1\0\0\0" + packed),
    )[int(rng.integers(3))]
    count = 1 if len(packed) > 100_000 else int(rng.integers(1, 300))
    return png(header(4, 4), chunk(name, body) * count, chunk(b"IDAT", zlib.compress(b"\0" * 52)))


def exif_bomb(rng: Rng) -> bytes:
    """A JPEG or PNG whose EXIF block counts to millions, points at itself, or is noise."""
    entries = int(rng.choice((1, 9, 65535)))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", entries)
    for _ in range(min(entries, 200)):
        tag, kind = (
            int(rng.choice((0x11A, 0x8769, 0x8825, 0xA005, int(rng.integers(65536))))),
            int(rng.integers(0, 14)),
        )
        block += struct.pack(
            "<HHII", tag, kind, int(rng.choice((1, 2**31, 2**32 - 1))), int(rng.choice((0, 8, 10, 2**32 - 1)))
        )
    block += struct.pack("<I", 8)
    if rng.random() < 0.5:
        return png(header(4, 4), chunk(b"eXIf", block), chunk(b"IDAT", zlib.compress(b"\0" * 52)))
    part = b"Exif\0\0" + block
    jpeg = encoded(Image.new("RGB", (16, 16)), "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + jpeg[2:]


def animation(rng: Rng) -> bytes:
    """An animated PNG, or one that claims to have a billion frames."""
    if rng.random() < 0.5:
        frames = [Image.new("L", (8, 8), i) for i in range(3)]
        return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    count = int(rng.choice((0, 2, 2**31 - 1)))
    return png(header(4, 4), chunk(b"acTL", struct.pack(">II", count, 0)), chunk(b"IDAT", zlib.compress(b"\0" * 52)))


def overfull(rng: Rng) -> bytes:
    """A PNG that claims to be small and inflates to 200 MB."""
    side = int(rng.integers(1, 40))
    return png(header(side, side), chunk(b"IDAT", zeros(200_000_000)))


def huge_claim(rng: Rng) -> bytes:
    """A file that claims more pixels than the limit, up to 2^31 a side, with or without the data."""
    width = int(rng.choice((5_001, 7_000, 20_001, 65_535, 2**31 - 1)))
    height = int(rng.choice((4_001, 7_000, 20_001, 65_500)))
    form = int(rng.integers(4))
    if form == 0:
        return png(header(width, height, 1, 0), chunk(b"IDAT", zeros(25_000_000)))
    if form == 1:
        return png(header(width, height), chunk(b"IDAT", zeros(200_000_000)))
    if form == 2:
        bmp = bytearray(encoded(Image.new("RGB", (4, 4)), "BMP"))
        bmp[18:26] = struct.pack("<ii", width, height)
        return bytes(bmp)
    jpeg = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", min(height, 65_535), min(width, 65_535))
    return bytes(jpeg)


def long_side(rng: Rng) -> bytes:
    """An image of one row or column, longer than the limit of a side."""
    side = int(rng.integers(20_001, 3_000_000))
    return png(header(side, 1, 8, 0), chunk(b"IDAT", zeros(side + 1)))


def large_file(rng: Rng) -> bytes:
    """A file of more bytes than the limit."""
    return encoded(Image.new("L", (8, 8)), "PNG") + b"\0" * (ImageLimits().bytes_max + int(rng.integers(1, 9)))


def many_scans(rng: Rng) -> bytes:
    """A progressive JPEG that repeats its last scan over a large picture thousands of times."""
    jpeg = bytearray(encoded(Image.new("L", (64, 64)), "JPEG", progressive=True))
    start, last = jpeg.index(b"\xff\xc2"), jpeg.rindex(b"\xff\xda")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 4_000, 5_000)
    return bytes(jpeg[:last]) + bytes(jpeg[last:-2]) * int(rng.integers(40, 3_000)) + b"\xff\xd9"


def run_lengths(rng: Rng) -> bytes:
    """A run-length encoded BMP of many one-pixel runs."""
    info = struct.pack("<IiiHHIIiiII", 40, 4_000, 4_000, 1, 8, 1, 0, 0, 0, 256, 0)
    body = b"\1\7" * int(rng.integers(1_000, 300_000))
    return b"BM" + struct.pack("<IHHI", 54 + 1_024 + len(body), 0, 0, 54 + 1_024) + info + b"\0" * 1_024 + body


def largest_allowed(rng: Rng) -> bytes:
    """A file just within every limit: as much work as anybody can cause."""
    form = int(rng.integers(4))
    if form == 0:
        return png(header(5_000, 4_000, 8, 6), chunk(b"IDAT", zeros(4_000 * 20_001)))
    if form == 1:
        return png(header(5_000, 4_000, 16, 0), chunk(b"IDAT", zeros(4_000 * 10_001)))
    jpeg = bytearray(encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True, subsampling=0))
    start = jpeg.index(b"\xff\xc2")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 4_000, 5_000)
    last = jpeg.rindex(b"\xff\xda")
    more = JPEG_SCANS_MAX - jpeg.count(b"\xff\xda") if form == 2 else 0
    return bytes(jpeg[:last]) + bytes(jpeg[last:-2]) * (1 + more) + b"\xff\xd9"


Maker = Callable[[Rng], bytes]
KINDS: tuple[tuple[Maker, int], ...] = (
    (cut_short, 100), (bits_flipped, 120), (header_flipped, 120), (spliced, 60), (noise, 40),
    (other_formats, 30), (lying_chunks, 40), (confused_modes, 60), (text_bomb, 4), (exif_bomb, 30),
    (animation, 10), (overfull, 3), (huge_claim, 30), (long_side, 10), (large_file, 2), (many_scans, 10),
    (run_lengths, 10), (largest_allowed, 1),
)  # fmt: skip
EXPECTED = {
    "huge_claim": "too large", "long_side": "too large", "large_file": "too large",
    "many_scans": "unreadable", "run_lengths": "unreadable", "animation": "unreadable",
    "overfull": "decoded",
}  # fmt: skip
"""What must come of these kinds whatever the seed: a limit that was taken away shows here."""


def draw(seed: int) -> tuple[str, bytes]:
    """The hostile image of a seed, and its kind. 680 seeds in a row hold each kind at its share."""
    total = sum(share for _, share in KINDS)
    place = seed * 257 % total  # 257 is prime to the total: neighbours are of different kinds
    for maker, share in KINDS:
        if place < share:
            return maker.__name__, maker(np.random.default_rng(seed))
        place -= share
    raise AssertionError(seed)


def attempt(seed: int) -> dict[str, object]:
    """Decode one image: what came of it, and the seconds of processor time that it took."""
    kind, data = draw(seed)
    began = time.process_time()
    try:
        outcome, cause = f"decoded {decode_image(data).shape}", None
    except ImageTooLargeError as error:
        outcome, cause = "too large", error.__cause__
    except ImageError:
        outcome, cause = "unreadable", None
    except BaseException as error:  # whatever else comes out is what this looks for
        outcome, cause = f"leaked {error!r}"[:300], None
    if isinstance(cause, MemoryError):
        outcome = "out of memory"
    return {"seed": seed, "kind": kind, "outcome": outcome, "cpu_s": time.process_time() - began}


def wrong(results: list[dict[str, object]]) -> list[dict[str, object]]:
    """The attempts that ended as none may: an error that is not ours, no memory, or a limit that did not hold."""
    bad = [r for r in results if str(r["outcome"]).startswith(("leaked", "out of"))]
    return bad + [r for r in results if not str(r["outcome"]).startswith(EXPECTED.get(str(r["kind"]), ""))]


def check_hostile_images(first: int, count: int) -> None:
    """The same in this process, without its limits: what a sabotaged decoder must fail."""
    assert wrong([attempt(seed) for seed in range(first, first + count)]) == []


def main(first: int, count: int) -> None:
    """Decode them all under the limits and print the tally."""
    for data in honest():
        decode_image(data)
    for size in (200_000_000, 4_000 * 20_001, 4_000 * 10_001, 25_000_000):
        zeros(size)  # kept from here on: what the attacker needs is not counted against the decoder
    with open("/proc/self/statm") as statm:
        base = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (base + GROWTH_BYTES_MAX, base + GROWTH_BYTES_MAX))
    results = [attempt(seed) for seed in range(first, first + count)]
    tally = Counter(str(r["outcome"]).split()[0] for r in results)
    bad = wrong(results)
    slow = sorted(results, key=lambda r: -float(str(r["cpu_s"])))[:5]
    print(json.dumps({"count": len(results), "tally": tally, "bad": bad[:20], "slowest": slow}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
