"""What is sent to services: made ready, or untouched where it is so already."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from mcp_image_server.errors import LimitError, RequestError
from mcp_image_server.models import Adjustment, Picture, Size
from mcp_image_server.pictures import NotAPictureError, Received, embed, examine, read_input, read_provenance
from tests.pictures.made import (
    encoded,
    gps_exif,
    jpeg_with,
    noise,
    opened,
    pixel,
    png_chunk,
    png_with,
    quarters,
    same,
    scene,
    turned_exif,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FILM_OF_FIRST_FRAME = "The picture moves; its first frame is used."
PLACES = "Notes in the file that tell where a picture was taken were removed, and with them the file's other notes."


def messages(received: Received) -> list[str]:
    assert {adjustment.field for adjustment in received.adjustments} <= {"images"}
    return [adjustment.message for adjustment in received.adjustments]


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/png", encoded(scene(), "PNG")),
        ("image/png", encoded(scene(mode="RGBA"), "PNG")),
        ("image/png", encoded(scene(mode="L"), "PNG")),
        ("image/png", encoded(scene().quantize(16), "PNG")),
        ("image/png", encoded(scene(), "PNG", icc_profile=SRGB)),
        ("image/png", embed(encoded(scene(), "PNG"), {"prompt": "a fox in the city"})),
        ("image/png", embed(encoded(scene(), "PNG"), {"prompt": "a map of latitude and longitude"})),
        ("image/jpeg", embed(encoded(scene(), "JPEG"), {"prompt": "a map of latitude and longitude"})),
        ("image/jpeg", encoded(scene(), "JPEG")),
        ("image/jpeg", encoded(scene(), "JPEG", progressive=True, icc_profile=SRGB)),
        ("image/jpeg", encoded(scene(mode="L"), "JPEG")),
        ("image/jpeg", encoded(scene(), "JPEG", exif=turned_exif(1))),
        ("image/webp", encoded(scene(), "WEBP")),
        ("image/webp", encoded(scene(mode="RGBA"), "WEBP", lossless=True)),
    ],
)
def test_what_is_ready_passes_byte_for_byte(media_type: str, data: bytes) -> None:
    received = read_input(data)
    assert received == Received(picture=Picture(data=data, media_type=media_type, size=Size(width=96, height=64)))
    assert received.picture.data is data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_is_turned_as_its_camera_was_held(kind: str, orientation: int) -> None:
    data = encoded(quarters(), kind, exif=turned_exif(orientation))
    expected = ImageOps.exif_transpose(opened(data)).convert("RGB")
    received = read_input(data)
    shown = opened(received.picture.data)
    assert (
        received.picture.size
        == examine(data).size
        == Size(width=shown.width, height=shown.height)
        == Size(width=expected.width, height=expected.height)
    )
    assert 0x0112 not in shown.getexif()
    for x, y in ((3, 3), (expected.width - 4, 3), (3, expected.height - 4)):
        assert all(abs(a - b) < 60 for a, b in zip(pixel(shown, x, y), pixel(expected, x, y), strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_place_is_removed_and_the_pixels_stay(kind: str) -> None:
    data = embed(encoded(scene(), kind, exif=gps_exif()), {"prompt": "a fox"})
    assert 0x8825 in opened(data).getexif()
    received = read_input(data)
    shown = opened(received.picture.data)
    assert messages(received) == [PLACES]
    assert not shown.getexif()
    assert same(shown, opened(data))
    assert read_provenance(received.picture.data) == {"prompt": "a fox"}


XMP_PLACE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>1,2N</exif:GPSLatitude></x:xmpmeta>'


@pytest.mark.parametrize(
    "data",
    [
        encoded(scene(), "JPEG", xmp=XMP_PLACE),
        encoded(scene(), "WEBP", xmp=XMP_PLACE),
        png_with(encoded(scene(), "PNG"), png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_PLACE)),
        png_with(encoded(scene(), "PNG"), png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"0a0b"))),
        png_with(encoded(scene(), "PNG"), png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(XMP_PLACE))),
        png_with(encoded(scene(), "PNG"), png_chunk(b"tEXt", b"Comment\0taken at latitude 12")),
        jpeg_with(encoded(scene(), "JPEG"), 0xFE, b"GPS 1.2.3"),
        jpeg_with(encoded(scene(), "JPEG"), 0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0b\x1c\x02\x5a\0\x05Paris\0"),
    ],
)
def test_a_place_is_removed_wherever_it_is_written(data: bytes) -> None:
    received = read_input(data)
    assert messages(received) == [PLACES]
    assert same(opened(received.picture.data), opened(data))
    assert not any(word in received.picture.data for word in (b"GPS", b"latitude", b"Paris", b"zTXt", b"iTXt"))


def test_what_follows_a_picture_is_cut_off() -> None:
    film = b"\0\0\0\x18ftypmp42" + b"\1" * 300
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(scene(), kind)
        received = read_input(data + film)
        assert messages(received) == ["312 bytes behind the end of the picture were removed, and the file's notes, which may refer to them."]
        assert len(received.picture.data) <= len(data) + 18
        assert same(opened(received.picture.data), opened(data))


def test_the_second_picture_of_a_camera_is_cut_off() -> None:
    data = encoded(scene(), "MPO", save_all=True, append_images=[scene()])
    received = read_input(data)
    assert opened(received.picture.data).format == "JPEG"
    assert received.picture.data.count(b"\xff\xd9") == 1


ALIKE = 12
"""Levels by which a colour may differ after it was compressed."""


@pytest.mark.parametrize(
    ("data", "written_as", "words"),
    [
        (encoded(scene(), "GIF"), "image/png", []),
        (encoded(scene(), "BMP"), "image/png", []),
        (encoded(scene(), "TIFF"), "image/png", []),
        (encoded(scene(), "TIFF", compression="tiff_lzw"), "image/png", []),
        (encoded(scene(), "AVIF", quality=95), "image/jpeg", []),
        (encoded(scene(mode="RGBA"), "AVIF", quality=95), "image/png", []),
        (encoded(scene().convert("1"), "PNG"), "image/png", []),
        (encoded(scene().quantize(16), "PNG", transparency=3), "image/png", []),
        (encoded(scene(mode="LA"), "PNG"), "image/png", []),
        (encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]), "image/png", [FILM_OF_FIRST_FRAME]),
        (encoded(scene(), "PNG", save_all=True, append_images=[scene().rotate(90)]), "image/png", [FILM_OF_FIRST_FRAME]),
        (encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(90)]), "image/jpeg", [FILM_OF_FIRST_FRAME]),
    ],
)
def test_anything_else_becomes_a_png_or_a_jpeg(data: bytes, written_as: str, words: list[str]) -> None:
    before = opened(data).convert("RGBA")
    received = read_input(data)
    after = opened(received.picture.data)
    assert (received.picture.media_type, received.picture.size, messages(received)) == (written_as, Size(width=96, height=64), words)
    assert after.mode in ("RGB", "RGBA")
    for x, y in ((2, 2), (48, 32), (90, 60), (20, 50)):
        assert all(abs(a - b) <= ALIKE for a, b in zip(pixel(after, x, y), pixel(before, x, y), strict=True))


def test_sixteen_bits_become_eight() -> None:
    grey = encoded(Pillow.new("I;16", (4, 4), 40_000), "PNG")
    assert pixel(opened(read_input(grey).picture.data), 1, 1) == (156, 156, 156, 255)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + bytes.fromhex("ffff00008000") * 2
    colour = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b"")
    assert read_input(colour).picture.data[24] == 8
    assert pixel(opened(read_input(colour).picture.data), 0, 0) == (255, 0, 128, 255)


@pytest.mark.parametrize(("brightest", "value"), [(1.0, 0.5), (255.0, 127.5), (65_535.0, 32_768.0)])
def test_numbers_on_any_scale_become_grey(brightest: float, value: float) -> None:
    picture = Pillow.new("F", (4, 4), brightest)
    picture.putpixel((0, 0), value)
    assert pixel(opened(read_input(encoded(picture, "TIFF")).picture.data), 0, 0)[0] in (127, 128)


def test_print_colours_become_screen_colours() -> None:
    for kind in ("JPEG", "TIFF"):
        received = read_input(encoded(Pillow.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
        red, green, blue, _ = pixel(opened(received.picture.data), 8, 8)
        assert red > 200
        assert green < 60
        assert blue < 60


def swapped_primaries() -> bytes:
    """A profile in which red means blue, and blue means red."""
    count = int.from_bytes(SRGB[128:132], "big")
    tags = {SRGB[at : at + 4]: SRGB[at + 4 : at + 12] for at in range(132, 132 + 12 * count, 12)}
    tags[b"rXYZ"], tags[b"bXYZ"] = tags[b"bXYZ"], tags[b"rXYZ"]
    table = b"".join(name + place for name, place in tags.items())
    return (SRGB[:132] + table + SRGB[132 + 12 * count :]).replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


def test_colours_are_those_that_the_profile_means() -> None:
    picture = Pillow.new("RGB", (8, 8), (250, 40, 40))
    for kind, meant in (("PNG", picture), ("TIFF", picture), ("PNG", picture.quantize(2))):
        received = read_input(encoded(meant, kind, icc_profile=swapped_primaries()))
        red, _, blue, _ = pixel(opened(received.picture.data), 4, 4)
        assert red < 80
        assert blue > 200


def test_a_profile_that_cannot_be_used_is_dropped() -> None:
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 6500)).tobytes()
    for profile in (xyz, lab, b"no profile at all"):
        received = read_input(encoded(Pillow.new("RGB", (8, 8), (90, 90, 90)), "PNG", icc_profile=profile))
        assert "icc_profile" not in opened(received.picture.data).info
        assert received.picture.media_type == "image/png"


def test_what_nobody_can_see_through_needs_no_transparency() -> None:
    opaque = scene().convert("RGBA")
    assert opened(read_input(encoded(opaque, "TIFF")).picture.data).mode == "RGB"


def test_heic_says_how_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where the extra is not installed
    with pytest.raises(NotAPictureError, match=r"HEIC picture, which this server cannot read yet\. .*image-gen-mcp-server\[heic\]") as refused:
        read_input(b"\0\0\0\x18ftypheic" + bytes(60))
    assert refused.value.code == "invalid_image"


@pytest.fixture
def heic() -> bytes:
    """A photo as a telephone stores it: taken on end, with the place in it."""
    pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed").register_heif_opener()
    exif = gps_exif()
    exif[0x0112] = 6
    return encoded(quarters(), "HEIF", quality=95, exif=exif.tobytes())


def test_heic_becomes_an_upright_jpeg_that_tells_no_place(heic: bytes) -> None:
    received = read_input(heic)
    picture = opened(received.picture.data)
    assert (received.picture.media_type, received.picture.size) == ("image/jpeg", Size(width=20, height=40))
    assert dict(picture.getexif()) == {}
    assert pixel(picture, 5, 5)[2] > 200  # what was below on the left is above on the left


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "HEIC"),
        (lambda data: data.replace(b"hvcC", b"hvcX"), "HEIC|broken"),
        (
            lambda data: re.sub(rb"ispe.{4}.{8}", b"ispe" + bytes(4) + struct.pack(">II", 60_000, 60_000), data, flags=re.DOTALL),
            "cannot be decoded to its end",
        ),
    ],
    ids=["cut off", "without its codec", "of 3600 megapixels"],
)
def test_broken_heic_is_refused(heic: bytes, damage: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(NotAPictureError, match=words):
        read_input(damage(heic))


def test_too_many_bytes_are_refused_as_they_come() -> None:
    with pytest.raises(LimitError, match="bytes, at most 100 are taken") as refused:
        read_input(encoded(scene(), "PNG"), max_bytes=100)
    assert refused.value.code == "payload_too_large"


def test_a_png_that_would_be_too_long_goes_as_a_jpeg() -> None:
    data = encoded(noise(180, 180), "BMP")
    assert read_input(data).picture.media_type == "image/png"
    assert read_input(data, max_bytes=len(data)).picture.media_type == "image/jpeg"
    with pytest.raises(LimitError):
        read_input(encoded(noise(180, 180).convert("1"), "TIFF", compression="group4"), max_bytes=9_000)


def test_the_most_pixels_are_the_callers_choice() -> None:
    data = encoded(scene(), "PNG")
    assert read_input(data, max_pixels=96 * 64).picture.data is data
    with pytest.raises(RequestError, match="at most 6,143 pixels") as refused:
        read_input(data, max_pixels=96 * 64 - 1)
    assert refused.value.code == "invalid_image"


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["GIF", "BMP", "TIFF", "AVIF", "JPEG", "WEBP"]), st.sampled_from([1, 3, 6]))
def test_no_size_is_changed_but_by_turning(width: int, height: int, kind: str, orientation: int) -> None:
    options = {"exif": turned_exif(orientation)} if kind in ("JPEG", "WEBP") else {}
    received = read_input(encoded(scene(width, height), kind, **options))
    side = orientation == 6 and bool(options)
    assert received.picture.size == (Size(width=height, height=width) if side else Size(width=width, height=height))
    assert received.adjustments == ()
    assert read_input(received.picture.data) == received


def test_an_adjustment_is_about_the_input_pictures() -> None:
    data = encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)])
    assert read_input(data).adjustments == (Adjustment(field="images", message=FILM_OF_FIRST_FRAME),)
