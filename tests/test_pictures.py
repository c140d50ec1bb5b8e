"""What bytes say about themselves, and what is written into them."""

from __future__ import annotations

import hashlib
import struct
import zlib
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from mcp_image_server import pictures
from mcp_image_server.models import Size
from mcp_image_server.pictures import (
    Facts,
    NotAPictureError,
    black_is_edit,
    embed,
    examine,
    pixels,
    process,
    read_provenance,
    thumbnail,
    to_png,
    white_is_edit,
)
from tests.pictures.made import encoded, noise, opened, png_chunk, scene

PROVENANCE = {
    "prompt": 'A <fox> & "friends"\r\n狐狸 🦊',
    "provider": "openai",
    "model": "gpt-image-2",
    "seed": "7",
    "job_id": "0123456789abcdef",
    "created": "2026-11-22T08:00:00+00:00",
    "software": "image-gen-mcp-server 1.0",
    "digital_source_type": "trainedAlgorithmicMedia",
    "attribution": "Drawings: Twemoji, CC BY 4.0",
}


WRITTEN = {
    "png": encoded(scene(), "PNG"),
    "png, transparent": encoded(scene(mode="RGBA"), "PNG"),
    "png, palette": encoded(scene().quantize(16), "PNG"),
    "png, sixteen bits": encoded(Pillow.new("I;16", (40, 30), 40_000), "PNG"),
    "png, moving": encoded(scene(), "PNG", save_all=True, append_images=[scene().rotate(90)]),
    "jpeg": encoded(scene(), "JPEG"),
    "jpeg, progressive": encoded(scene(), "JPEG", progressive=True),
    "jpeg, for print": encoded(scene(mode="CMYK"), "JPEG"),
    "jpeg, with exif": encoded(scene(), "JPEG", exif=Pillow.Exif()),
    "webp": encoded(scene(), "WEBP"),
    "webp, transparent": encoded(scene(mode="RGBA"), "WEBP"),
    "webp, lossless": encoded(scene(), "WEBP", lossless=True),
    "webp, lossless and transparent": encoded(scene(mode="RGBA"), "WEBP", lossless=True),
    "webp, moving": encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(90)]),
    "webp, of one odd pixel": encoded(scene(1, 1), "WEBP"),
}
UNWRITTEN = {
    "gif": encoded(scene(), "GIF"),
    "bmp": encoded(scene(), "BMP"),
    "avif": encoded(scene(), "AVIF"),
    "tiff": encoded(scene(), "TIFF"),
}


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (WRITTEN["png"], "image/png"),
        (WRITTEN["jpeg"], "image/jpeg"),
        (WRITTEN["webp"], "image/webp"),
        (UNWRITTEN["gif"], "image/gif"),
        (UNWRITTEN["bmp"], "image/bmp"),
        (UNWRITTEN["avif"], "image/avif"),
        (UNWRITTEN["tiff"], "image/tiff"),
    ],
)
def test_the_media_type_is_what_the_bytes_are(data: bytes, media_type: str) -> None:
    assert examine(data) == Facts(
        media_type=media_type, size=Size(width=96, height=64), size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), animated=False
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_a_moving_picture_says_so_and_shows_its_first_frame(kind: str) -> None:
    data = encoded(Pillow.new("RGB", (20, 10), "red"), kind, save_all=True, append_images=[Pillow.new("RGB", (20, 10), "blue")])
    assert examine(data).animated
    assert abs(grey_at(opened(thumbnail(data).data), (10, 5)) - grey_at(Pillow.new("RGB", (1, 1), "red"), (0, 0))) < 6


def test_a_second_picture_behind_a_jpeg_is_not_movement() -> None:
    data = encoded(scene(), "MPO", save_all=True, append_images=[scene()])
    facts = examine(data)
    assert (facts.media_type, facts.animated) == ("image/jpeg", False)
    assert read_provenance(embed(data, PROVENANCE)) == PROVENANCE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "there is no picture: the data is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg/>', "an SVG drawing"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"\n<!DOCTYPE html><title>Not found</title>", "a web page (HTML)"),
        (b'{"error": {"message": "no"}}', "JSON"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\0\0\0\x18ftypheic....", "a HEIC picture"),
        (b"\0\0\0\x18ftypisom....", "a video"),
        (b"rate limit exceeded", "text"),
        (b"\x00\x01\x02", "data of an unknown kind"),
        (WRITTEN["png"][:20], "a picture whose header is broken"),
    ],
)
def test_what_is_no_picture_is_called_what_it_looks_like(data: bytes, words: str) -> None:
    with pytest.raises(NotAPictureError) as refused:
        process(data, PROVENANCE)
    assert words in str(refused.value)


@pytest.mark.parametrize("name", [*WRITTEN, *UNWRITTEN])
def test_a_picture_cut_off_is_refused(name: str) -> None:
    data = {**WRITTEN, **UNWRITTEN}[name]
    for length in (len(data) // 2, len(data) * 3 // 4):
        if name.endswith("moving"):
            length = min(length, len(data) // 3)  # the first frame is what must be whole
        with pytest.raises(NotAPictureError):
            examine(data[:length])


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("edge", [8193, 9500, 20_000, 2**31 - 1])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(edge: int) -> None:
    with pytest.raises(NotAPictureError, match="too large to be decoded safely; at most 67,108,864 pixels"):
        examine(bomb(edge, edge))


def test_the_limit_of_pixels_is_the_callers() -> None:
    assert examine(WRITTEN["png"], max_pixels=96 * 64).size == Size(width=96, height=64)
    with pytest.raises(NotAPictureError, match="of 96x64 is too large"):
        examine(WRITTEN["png"], max_pixels=96 * 64 - 1)


@given(st.data())
def test_damaged_bytes_are_refused_or_read_but_never_break_anything(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([*WRITTEN.values(), *UNWRITTEN.values()]))
    damaged = bytearray(original)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), max_size=8)):
        damaged[at] = byte
    with suppress(NotAPictureError):
        process(bytes(damaged), PROVENANCE, max_pixels=1_000_000)
    assert isinstance(embed(bytes(damaged), PROVENANCE), bytes)
    assert isinstance(read_provenance(bytes(damaged)), dict)


@given(st.binary(max_size=300))
def test_any_bytes_at_all_come_back_unchanged_where_they_are_no_picture(data: bytes) -> None:
    assert embed(data, PROVENANCE) == data
    assert read_provenance(data) == {}


@pytest.mark.parametrize("name", [*WRITTEN, *UNWRITTEN])
def test_every_kind_of_picture_has_a_thumbnail(name: str) -> None:
    data = {**WRITTEN, **UNWRITTEN}[name]
    small = thumbnail(data, edge=16)
    shown = opened(small.data)
    assert shown.format == "WEBP"
    assert max(shown.size) <= 16
    assert small.size == Size(width=shown.width, height=shown.height)
    assert len(b64decode(small.thumbhash)) in range(10, 26)


def test_a_thumbnail_is_never_larger_than_the_picture() -> None:
    assert thumbnail(WRITTEN["png"]).size == Size(width=96, height=64)


def test_a_thumbnail_keeps_transparency() -> None:
    for name in ("png, transparent", "webp, transparent"):
        assert opened(thumbnail(WRITTEN[name]).data).convert("RGBA").getchannel("A").getextrema() != (255, 255)
    palette = Pillow.new("P", (20, 20), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.paste(1, (0, 0, 10, 20))
    data = encoded(palette, "PNG", transparency=0)
    assert opened(thumbnail(data).data).convert("RGBA").getchannel("A").getextrema() == (0, 255)


def test_sixteen_bits_of_grey_stay_the_same_grey() -> None:
    assert abs(grey_at(opened(thumbnail(WRITTEN["png, sixteen bits"]).data), (5, 5)) - 40_000 // 256) <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_held_any_way_is_shown_upright(orientation: int) -> None:
    picture = Pillow.new("RGB", (40, 20), "white")
    picture.paste("black", (0, 0, 20, 10))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, "JPEG", exif=exif, quality=95)
    expected = ImageOps.exif_transpose(opened(data))
    small = thumbnail(data)
    assert examine(data).size == small.size == Size(width=expected.width, height=expected.height)
    for corner in ((2, 2), (expected.width - 3, 2), (2, expected.height - 3), (expected.width - 3, expected.height - 3)):
        assert abs(grey_at(opened(small.data), corner) - grey_at(expected, corner)) < 40


def grey_at(picture: Pillow.Image, place: tuple[int, int]) -> int:
    return picture.convert("L").crop((*place, place[0] + 1, place[1] + 1)).tobytes()[0]


def test_a_thumbnail_fits_into_its_bytes_whatever_the_picture() -> None:
    small = thumbnail(encoded(noise(700, 500), "PNG"), max_bytes=5000)
    assert len(small.data) <= 5000
    assert small.size < Size(width=512, height=366)


def test_a_thumbnail_keeps_the_colours_of_a_screen_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert opened(thumbnail(encoded(scene(), "PNG", icc_profile=profile)).data).info["icc_profile"] == profile
    assert "icc_profile" not in opened(thumbnail(encoded(scene(mode="L"), "PNG", icc_profile=profile[:16] + b"GRAY" + profile[20:])).data).info


def test_the_placeholder_is_that_of_the_reference() -> None:
    # https://github.com/evanw/thumbhash: six bits each of lightness (all) and two colour axes (the middle), no waves, seven of them each way.
    assert b64decode(thumbnail(encoded(Pillow.new("RGB", (32, 32), "white"), "PNG")).thumbhash)[:5].hex() == "3f08020700"


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_into_a_picture_can_be_read_back(name: str) -> None:
    written = embed(WRITTEN[name], PROVENANCE)
    assert read_provenance(written) == PROVENANCE
    assert examine(written).size == examine(WRITTEN[name]).size


@pytest.mark.parametrize("name", WRITTEN)
def test_writing_again_replaces_what_was_written(name: str) -> None:
    once = embed(WRITTEN[name], PROVENANCE)
    assert embed(embed(WRITTEN[name], {"prompt": "something else", "model": "m"}), PROVENANCE) == once
    assert embed(once, PROVENANCE) == once


@pytest.mark.parametrize("name", WRITTEN)
def test_pixels_are_never_touched(name: str) -> None:
    before, after = opened(WRITTEN[name]), opened(embed(WRITTEN[name], PROVENANCE))
    assert (before.mode, before.size, getattr(before, "n_frames", 1)) == (after.mode, after.size, getattr(after, "n_frames", 1))
    for frame in range(getattr(before, "n_frames", 1)):
        before.seek(frame)
        after.seek(frame)
        assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("png", lambda data: data[data.index(b"IDAT") : data.index(b"IEND")]),
        ("jpeg", lambda data: data[data.index(b"\xff\xda") :]),
        ("webp", lambda data: data[data.index(b"VP8 ") :][: struct.unpack("<I", data[data.index(b"VP8 ") + 4 :][:4])[0]]),
    ],
)
def test_the_compressed_pixels_stay_byte_for_byte(name: str, pixels: Callable[[bytes], bytes]) -> None:
    assert pixels(embed(WRITTEN[name], PROVENANCE)) == pixels(WRITTEN[name])


@pytest.mark.parametrize("name", UNWRITTEN)
def test_formats_without_a_place_for_words_come_back_unchanged(name: str) -> None:
    assert embed(UNWRITTEN[name], PROVENANCE) is UNWRITTEN[name]


def test_other_programs_find_the_words_under_standard_names() -> None:
    png = opened(embed(WRITTEN["png"], PROVENANCE))
    assert png.info["Software"] == "image-gen-mcp-server 1.0"
    assert png.info["Description"] == PROVENANCE["prompt"]
    for name in ("png", "jpeg", "webp"):
        xmp = opened(embed(WRITTEN[name], PROVENANCE)).info["xmp"]
        words = xmp.decode() if isinstance(xmp, bytes) else xmp
        assert "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</" in words
        assert '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">A &lt;fox&gt; &amp; "friends"' in words
        assert "<xmp:CreatorTool>image-gen-mcp-server 1.0</xmp:CreatorTool>" in words


def test_what_others_wrote_stays_beside_ours() -> None:
    theirs = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:CreatorTool>Theirs</xmp:CreatorTool></rdf:Description>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    for kind in ("JPEG", "WEBP"):
        written = embed(encoded(scene(), kind, xmp=theirs), PROVENANCE)
        assert read_provenance(written) == PROVENANCE
        assert opened(written).info["xmp"].count(b"xmp:CreatorTool") == 2  # the opening and the closing of theirs
        assert embed(written, PROVENANCE) == written


def test_a_signed_picture_is_left_alone() -> None:
    png = WRITTEN["png"][:33] + struct.pack(">I", 4) + b"caBXjumb" + struct.pack(">I", zlib.crc32(b"caBXjumb")) + WRITTEN["png"][33:]
    jpeg = WRITTEN["jpeg"][:2] + b"\xff\xeb\x00\x10JP\x00\x01jumbc2pa.." + WRITTEN["jpeg"][2:]
    webp = WRITTEN["webp"] + b"C2PA\x02\x00\x00\x00ab"
    webp = webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:]
    for data in (png, jpeg, webp):
        assert embed(data, PROVENANCE) is data


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_bytes_behind_the_picture_stay_where_they_are(name: str) -> None:
    tail = b"PK\x03\x04 a second file"
    written = embed(WRITTEN[name] + tail, PROVENANCE)
    assert written == embed(WRITTEN[name], PROVENANCE) + tail
    assert examine(written).media_type == f"image/{name}"


def test_a_long_prompt_is_whole_in_a_png_and_cut_in_a_jpeg() -> None:
    provenance = {**PROVENANCE, "prompt": "狐" * 32_000}
    assert read_provenance(embed(WRITTEN["png"], provenance)) == provenance
    cut = read_provenance(embed(WRITTEN["jpeg"], provenance))
    assert cut["prompt"].endswith("…")
    assert len(cut["prompt"]) > 15_000
    assert {**cut, "prompt": ""} == {**provenance, "prompt": ""}


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    assert read_provenance(embed(WRITTEN["png"], {"prompt": "a\0b\x1bc\ud800d"})) == {"prompt": "a�b�c�d"}


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no name for a part"):
        embed(WRITTEN["png"], {"a b": "c"})


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True), st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]))))
def test_any_provenance_can_be_read_back(provenance: dict[str, str]) -> None:
    provenance.pop("xmlns", None)
    for name in ("png", "jpeg", "webp"):
        assert read_provenance(embed(WRITTEN[name], provenance)) == provenance


def test_entities_in_a_packet_are_not_expanded() -> None:
    packet = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>'
    assert read_provenance(encoded(scene(), "WEBP", xmp=packet)) == {}


def test_processing_is_all_three_about_the_final_bytes() -> None:
    for data in (WRITTEN["png"], WRITTEN["jpeg"], WRITTEN["webp"], UNWRITTEN["avif"]):
        processed = process(data, PROVENANCE)
        assert processed.data == embed(data, PROVENANCE)
        assert processed.facts == examine(processed.data)
        assert processed.thumbnail == thumbnail(data)


def test_without_provenance_the_bytes_stay_as_they_are() -> None:
    assert process(WRITTEN["png"]).data is WRITTEN["png"]


@pytest.mark.parametrize("name", [*WRITTEN, *UNWRITTEN])
def test_every_kind_of_picture_becomes_a_png(name: str) -> None:
    data = {**WRITTEN, **UNWRITTEN}[name]
    assert (opened(to_png(data)).format, opened(to_png(data)).size) == ("PNG", opened(data).size)


def test_pixels_are_rows_of_colours_on_black() -> None:
    picture = Pillow.new("RGBA", (2, 2), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 255, 255, 0))
    red, black = (255, 0, 0), (0, 0, 0)
    assert pixels(encoded(picture, "PNG"), 2, 2) == [[red, black], [red, red]]
    assert [len(row) for row in pixels(WRITTEN["png"], 30, 30)] == [30] * 20


def test_a_mask_is_translated_into_white_and_black_either_way() -> None:
    mask = Pillow.new("RGBA", (3, 1), (9, 9, 9, 255))
    mask.putpixel((1, 0), (255, 255, 255, 0))
    mask.putpixel((2, 0), (0, 0, 0, 100))
    data = encoded(mask, "PNG")
    for translated, grey in (
        (white_is_edit(data), [0, 255, 155]),
        (white_is_edit(data, hard=True), [0, 255, 255]),
        (black_is_edit(data), [255, 0, 100]),
        (black_is_edit(data, hard=True), [255, 0, 0]),
    ):
        assert (opened(translated).format, opened(translated).mode, list(opened(translated).tobytes())) == ("PNG", "L", grey)


def test_the_default_limit_fits_the_largest_pictures_services_make() -> None:
    assert pictures.MAX_PIXELS == 8192 * 8192
