"""Files made to do harm: refused in words or handled, never a crash, and never more memory than we grant."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from mcp_image_server.pictures import NotAPictureError, Rotate, apply, embed, read_input, read_provenance
from tests.pictures.made import encoded, jpeg_with, png_chunk, png_with, scene, turned_exif

PNG, JPEG, WEBP, GIF, TIFF, AVIF = (encoded(scene(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, pixels: bytes = b"\0" * 1000, end: bool = True) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(pixels)) + (png_chunk(b"IEND", b"") if end else b"")


def black_png(edge: int) -> bytes:
    """So many true pixels in so few bytes."""
    packer = zlib.compressobj(1)
    row = b"\0" * (1 + edge * 3)
    packed = b"".join([*(packer.compress(row) for _ in range(edge)), packer.flush()])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("run.me", "harm")
    return out.getvalue()


def many_scans() -> bytes:
    data = encoded(scene(64, 64), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * 5000 + data[-2:]


def sized_jpeg(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


def sized_webp(width: int, height: int) -> bytes:
    at = WEBP.index(b"\x9d\x01\x2a") + 3
    return WEBP[:at] + struct.pack("<HH", width, height) + WEBP[at + 4 :]


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A TIFF of these tags: name, kind, count, value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + bytes(64)


def gif_frame(width: int, height: int) -> bytes:
    """A frame larger than the GIF it is in."""
    at = GIF.index(b"\x2c", 13 + 3 * 256)
    return GIF[: at + 5] + struct.pack("<HH", width, height) + GIF[at + 9 :]


def looping_exif() -> bytes:
    """Notes whose next page is their first one."""
    return jpeg_with(JPEG, 0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0")


def large_tag() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = "x" * 100_000
    data = bytearray(encoded(scene(), "TIFF", tiffinfo=tags))
    at = data.index(struct.pack("<HH", 270, 2))
    data[at + 4 : at + 8] = struct.pack("<I", 2**31)
    return bytes(data)


HANDLED = "^$"
"""Nothing is said: a picture came of it."""

HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the data is empty"),
    "SVG with a script": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "an SVG drawing"),
    "SVG behind a declaration": (b'\xef\xbb\xbf<?xml version="1.0"?><!DOCTYPE svg><svg/>', "an SVG drawing"),
    "SVG with entities": (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>', "XML"),
    "web page": (b"<!doctype html><title>Sign in</title>", "a web page"),
    "PDF": (b"%PDF-1.7\n1 0 obj", "a PDF"),
    "PostScript, which would be run": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
    "film": (b"\0\0\0\x18ftypisom" + bytes(100), "a video"),
    "layers of a painting program": (b"8BPS\0\1" + bytes(30), "data of an unknown kind"),
    "HEIC header alone": (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC|broken"),
    "PDF in a JPEG's comment": (jpeg_with(JPEG, 0xFE, b"%PDF-1.4 1 0 obj"), "a picture and a PDF"),
    "archive behind a PNG": (PNG + archive(), "a picture and a ZIP archive"),
    "archive in a JPEG's comment": (jpeg_with(JPEG, 0xFE, archive()), "a picture and a ZIP archive"),
    "web page behind a JPEG": (JPEG + b"<html><script>alert(1)</script>", "something that begins with '<html'"),
    "program behind a WebP": (WEBP + b"<?php system($_GET['c']);", "something that begins with"),
    "script that begins as a GIF": (b"GIF89a/*" + GIF[8:] + b"*/=alert(1)", HANDLED),
    "PNG cut off": (PNG[: len(PNG) // 2], "cannot be decoded to its end"),
    "PNG without an end": (PNG[:-12], HANDLED),
    "PNG, header alone": (PNG[:33], "broken"),
    "JPEG cut off": (JPEG[: len(JPEG) * 9 // 10], "cannot be decoded to its end"),
    "WebP cut off": (WEBP[: len(WEBP) // 2], "broken"),
    "AVIF cut off": (AVIF[: len(AVIF) // 2], "broken|a video"),
    "TIFF cut off": (TIFF[: len(TIFF) // 2], "broken"),
    "PNG of no width": (png(0, 10), "broken"),
    "PNG of two thousand million pixels each way": (png(2**31 - 1, 2**31 - 1), "too large to be decoded"),
    "PNG of 400 megapixels": (png(20_000, 20_000), "too large to be decoded"),
    "PNG of 60 megapixels that has none": (png(7_700, 7_700), "cannot be decoded to its end"),
    "PNG of 64 black megapixels": (black_png(8_000), HANDLED),
    "JPEG of 4 gigapixels": (sized_jpeg(65_500, 65_500), "too large to be decoded"),
    "JPEG of more pixels than it has": (sized_jpeg(4_000, 4_000), "cannot be decoded to its end|^$"),
    "JPEG of 5000 passes": (many_scans(), "more than 100 passes"),
    "WebP of 268 megapixels": (sized_webp(16_383, 16_383), "too large to be decoded"),
    "WebP that decodes to more memory than there is": (sized_webp(8_000, 8_000), "as WEBP, at most"),
    "WebP of no width": (sized_webp(0, 10), "broken"),
    "GIF of 4 gigapixels": (GIF[:6] + struct.pack("<HH", 65_535, 65_535) + GIF[10:], "too large to be decoded"),
    "GIF whose frame is 4 gigapixels": (gif_frame(65_535, 65_535), "too large to be decoded"),
    "BMP of a gigapixel": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 32_000, 32_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "too large to be decoded",
    ),
    "BMP of negative size": (b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, -9, -9, 1, 24, 0, 0, 0, 0, 0, 0), "broken|too large"),
    "TIFF with tiles of 10 gigapixels": (
        tiff(
            (256, 3, 1, 9),
            (257, 3, 1, 9),
            (258, 3, 1, 8),
            (259, 3, 1, 5),
            (262, 3, 1, 1),
            (322, 4, 1, 99_984),
            (323, 4, 1, 99_984),
            (324, 4, 1, 9),
            (325, 4, 1, 9),
        ),
        "tiles too large|broken",
    ),
    "TIFF whose pages go round": (tiff((256, 3, 1, 9), (257, 3, 1, 9))[:-68] + struct.pack("<I", 8), "broken"),
    "TIFF with a tag of 2 GB": (large_tag(), "broken|^$"),
    "TIFF in colours without a screen": (encoded(Pillow.new("LAB", (9, 9)), "TIFF"), r"colours \(LAB\) cannot be shown|^$"),
    "TIFF of numbers that are none": (
        encoded(Pillow.frombytes("F", (2, 2), struct.pack("<4f", float("nan"), float("inf"), -9e30, 9e30)), "TIFF"),
        HANDLED,
    ),
    "words that unpack to 20 MB": (png_with(PNG, png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 1))), "header is broken"),
    "profile that unpacks to 20 MB": (png_with(PNG, png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(20_000_000), 1))), "header is broken"),
    "notes that go round": (looping_exif(), HANDLED),
    "notes that are none": (jpeg_with(JPEG, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"), "broken|^$"),
    "PNG with a wrong sum": (PNG[:-60] + bytes([PNG[-60] ^ 0xFF]) + PNG[-59:], "cannot be decoded to its end"),
    "palette that is missing": (png(9, 9, colour=3, pixels=bytes(90)), "its palette is missing"),
    "a thousand frames": (
        encoded(Pillow.new("P", (9, 9)), "GIF", save_all=True, append_images=[Pillow.new("P", (9, 9), n % 2) for n in range(999)]),
        HANDLED,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_words_or_handled(name: str) -> None:
    data, words = HOSTILE[name]
    said = ""
    try:
        read_input(data)
    except NotAPictureError as refused:
        said = refused.message
    assert re.search(words, said), said


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_else_breaks_on_it(name: str) -> None:
    data, _ = HOSTILE[name]
    assert isinstance(read_provenance(embed(data, {"prompt": "a fox"})), dict)
    if len(data) < 10_000:
        with suppress(NotAPictureError):
            apply(data, [Rotate(degrees=90)])


MOST = 512 * 2**20

MEASURE = """
import json, re, sys
from pathlib import Path
from mcp_image_server.errors import RequestError
from mcp_image_server.pictures import read_input

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # the system's other number begins with that of the process that started this one
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) * 1024
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        came = str(read_input(path.read_bytes()).picture.size)
    except RequestError as error:
        came = error.code
    print(json.dumps([path.name, came, peak()]))
"""


def large() -> dict[str, tuple[bytes, str]]:
    """Honest pictures at the limits of what we take, and their sizes when they are ready."""
    return {
        "large 1 telephone photo": (encoded(Pillow.new("RGB", (8_064, 6_048), "teal"), "JPEG", exif=turned_exif(6)), "3024x4032"),
        "large 2 webp": (encoded(Pillow.new("RGB", (4_900, 4_900), "teal"), "WEBP", method=0, exif=turned_exif(6)), "4900x4900"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="it does not tell how much memory a process took")
def test_no_picture_takes_more_than_512_mb(tmp_path: Path) -> None:
    honest = large()
    expected = {name: size for name, (_, size) in honest.items()}
    for name, (data, _) in {**{f"hostile {number:02}": row for number, row in enumerate(HOSTILE.values())}, **honest}.items():
        (tmp_path / name).write_bytes(data)
    said = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120)
    results = [json.loads(line) for line in said.stdout.splitlines()]
    peaks = {name: peak for name, _, peak in results}
    print({name: f"{peak >> 20} MB" for name, peak in peaks.items()})
    assert {name: size for name, size, _ in results if name in expected} == expected
    assert max(peaks.values()) < MOST
