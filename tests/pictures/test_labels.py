"""Labels that say how a picture came about: ours, and those of others."""

from __future__ import annotations

import pytest

from mcp_image_server.pictures import (
    Compress,
    Convert,
    Flip,
    Step,
    Tile,
    aigc_label,
    apply,
    contact_sheet,
    embed,
    inspect,
    read_labels,
    read_provenance,
)
from mcp_image_server.pictures.inputs import read_input
from tests.pictures.made import encoded, gps_exif, jpeg_with, opened, png_chunk, png_with, scene

OURS = {"prompt": "a fox", "digital_source_type": "trainedAlgorithmicMedia", "aigc": aigc_label("we", "1-1")}
THEIRS = aigc_label("they", "9")


def xmp(properties: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {properties}</rdf:RDF></x:xmpmeta>'
    ).encode()


ESCAPED = THEIRS.replace('"', "&quot;")
FOREIGN = {
    "jpeg, element": encoded(scene(), "JPEG", xmp=xmp(f"><TC260:AIGC>{THEIRS}</TC260:AIGC></rdf:Description>")),
    "webp, attribute": encoded(scene(), "WEBP", xmp=xmp(f'TC260:AIGC="{ESCAPED}"/>')),
    "png, keyword": png_with(encoded(scene(), "PNG"), png_chunk(b"tEXt", b"AIGC\0" + THEIRS.encode())),
    "jpeg, inner": jpeg_with(encoded(scene(), "JPEG"), 0xFE, b'{"AIGC":' + THEIRS.encode() + b"}"),
    "avif": encoded(scene(), "AVIF", xmp=xmp(f"><TC260:AIGC>{THEIRS}</TC260:AIGC></rdf:Description>")),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_label_is_found_wherever_others_write_it_and_carried_over(name: str) -> None:
    assert read_labels(FOREIGN[name]) == {"aigc": THEIRS}
    several: list[list[Step]] = [[Flip()], [Convert(format="webp")], [Flip(), Convert(format="avif")], [Compress(max_bytes=2000)]]
    for steps in several:
        assert read_labels(apply(FOREIGN[name], steps)) == {"aigc": THEIRS}


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "avif"])
def test_a_file_has_one_label(name: str) -> None:
    written = embed(FOREIGN[name], OURS)
    assert read_labels(written)["aigc"] == THEIRS
    assert read_provenance(written) == {key: value for key, value in OURS.items() if key != "aigc"}
    assert written.count(b"ContentProducer") == 1
    again = embed(embed(encoded(scene(), "PNG"), OURS), {**OURS, "aigc": THEIRS})
    assert (read_labels(again)["aigc"], again.count(b"ContentProducer")) == (THEIRS, 1)


def test_the_label_is_where_the_rule_wants_it() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        packet = opened(embed(encoded(scene(), kind), OURS)).info["xmp"]
        words = packet.decode() if isinstance(packet, bytes) else packet
        assert 'xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"' in words
        assert f"<TC260:AIGC>{OURS['aigc']}</TC260:AIGC>" in words


def test_words_that_only_look_like_a_label_are_none() -> None:
    for words in (b'{"ContentProducer": "nobody"}', b'{"ContentProducer": broken}', b'"ContentProducer"', b'{"Label": "7", "ContentProducer": ""}'):
        data = png_with(encoded(scene(), "PNG"), png_chunk(b"tEXt", b"Comment\0" + words))
        assert read_labels(data) == {}
        assert read_labels(embed(data, OURS))["aigc"] == OURS["aigc"]


def test_what_a_lost_signature_said_is_kept_in_words() -> None:
    manifest = b"jumbc2pa" + b"\x78\x52http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" + b"msoftwareAgent"
    data = png_with(encoded(scene(), "PNG"), png_chunk(b"caBX", manifest))
    assert read_labels(data) == {"digital_source_type": "trainedAlgorithmicMedia"}
    assert read_provenance(apply(data, [Flip()])) == {"digital_source_type": "trainedAlgorithmicMedia"}


def test_a_sheet_says_what_is_on_it() -> None:
    photo, fox = encoded(scene(), "PNG"), embed(encoded(scene(), "PNG"), OURS)
    assert read_provenance(contact_sheet([Tile(data=photo), Tile(data=photo)])) == {}
    mixed = {"digital_source_type": "compositeWithTrainedAlgorithmicMedia", "aigc": OURS["aigc"]}
    assert read_provenance(contact_sheet([Tile(data=photo), Tile(data=fox)])) == mixed
    assert read_provenance(contact_sheet([Tile(data=fox), Tile(data=fox)])) == {**mixed, "digital_source_type": "trainedAlgorithmicMedia"}


def test_labels_stay_when_places_are_taken_out() -> None:
    photo = encoded(scene(), "JPEG", exif=gps_exif(), xmp=xmp(f"><TC260:AIGC>{THEIRS}</TC260:AIGC></rdf:Description>"))
    received = read_input(photo)
    assert "tell where" in received.adjustments[0].message
    assert read_labels(received.picture.data) == {"aigc": THEIRS}


def test_everything_in_a_file_is_read_back() -> None:
    found = inspect(embed(png_with(encoded(scene(), "PNG"), png_chunk(b"tEXt", b"parameters\0Steps: 20")), OURS))
    assert (found.facts.media_type, str(found.facts.size), found.signed, found.manifest) == ("image/png", "96x64", False, None)
    assert found.provenance == OURS
    assert (found.digital_source_type, found.aigc["ContentProducer"]) == ("trainedAlgorithmicMedia", "we")
    assert found.xmp["dc:description"] == "a fox"
    assert found.texts == {"Description": "a fox", "parameters": "Steps: 20"}
    photo = inspect(encoded(scene(), "JPEG", exif=gps_exif(), comment=b"by me"))
    assert photo.exif == {"Make": "Camera works", "GPSLatitudeRef": "N"}
    assert photo.texts["comment"] == "by me"
    assert (photo.aigc, photo.digital_source_type, photo.provenance) == ({}, "", {})
