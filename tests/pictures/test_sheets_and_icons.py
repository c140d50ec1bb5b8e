"""Many pictures on one sheet, and one picture in many sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import IcoImagePlugin
from PIL import Image as Pillow

from mcp_image_server.errors import RequestError
from mcp_image_server.models import Size
from mcp_image_server.pictures import NotAPictureError, Tile, contact_sheet, embed, examine, icon_set, read_provenance
from tests.pictures.made import encoded, opened, pixel, quarters, scene, turned_exif


def plain(colour: str, size: tuple[int, int] = (40, 20)) -> bytes:
    return encoded(Pillow.new("RGB", size, colour), "PNG")


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 20 for a, b in zip(one, other, strict=True))


def test_pictures_lie_in_rows() -> None:
    sheet = opened(contact_sheet([Tile(data=plain(colour)) for colour in ("red", "blue", "lime")], columns=2, edge=64))
    assert (sheet.format, sheet.size) == ("JPEG", (4 + 2 * 68, 4 + 2 * 68))
    assert near(pixel(sheet, 36, 36), (255, 0, 0, 255))
    assert near(pixel(sheet, 104, 36), (0, 0, 255, 255))
    assert near(pixel(sheet, 36, 104), (0, 255, 0, 255))
    assert near(pixel(sheet, 104, 104), (244, 244, 242, 255))


def test_captions_stand_beneath() -> None:
    bare = opened(contact_sheet([Tile(data=plain("red"))], edge=128))
    for caption in ("A fox", "一只狐狸", "so many words that they cannot all stand on one line beneath this picture"):
        sheet = opened(contact_sheet([Tile(data=plain("red"), caption=caption)], edge=128))
        assert sheet.width == bare.width
        assert sheet.height > bare.height
        beneath = sheet.convert("L").crop((8, 137, 136, sheet.height - 8))
        assert beneath.getextrema()[0] < 120  # type: ignore[operator] # of one band, it is a number
        margin = sheet.convert("L").crop((0, 137, 5, sheet.height))
        assert margin.getextrema()[0] > 220  # type: ignore[operator]


def test_one_that_cannot_be_read_spoils_no_sheet() -> None:
    sheet = opened(contact_sheet([Tile(data=b"broken", caption="broken"), Tile(data=plain("red"))], edge=64))
    assert near(pixel(sheet, 104, 36), (255, 0, 0, 255))


def test_pictures_stand_upright_and_clear_ones_have_a_ground() -> None:
    held = encoded(quarters(60, 40), "JPEG", exif=turned_exif(6), quality=95)
    clear = encoded(Pillow.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG")
    sheet = opened(contact_sheet([Tile(data=held), Tile(data=clear)], edge=64))
    assert near(pixel(sheet, 30, 10), (0, 0, 255, 255))
    assert near(pixel(sheet, 104, 36), (226, 226, 222, 255))


@given(st.integers(1, 9), st.integers(1, 5), st.integers(16, 80))
def test_the_sheet_is_as_large_as_its_rows(count: int, columns: int, edge: int) -> None:
    gap = max(4, edge // 16)
    across, down = min(columns, count), -(-count // min(columns, count))
    assert examine(contact_sheet([Tile(data=plain("red", (3, 3)))] * count, columns, edge)).size == Size(
        width=gap + across * (edge + gap), height=gap + down * (edge + gap)
    )


@pytest.mark.parametrize(("count", "columns", "edge"), [(0, 4, 64), (1, 0, 64), (1, 1, 8), (1, 1, 4096), (900, 30, 2048)])
def test_a_sheet_that_cannot_be_is_refused(count: int, columns: int, edge: int) -> None:
    with pytest.raises(RequestError, match=r"A contact sheet needs|too large"):
        contact_sheet([Tile(data=plain("red"))] * count, columns, edge)


SIZES = {
    "apple-touch-icon.png": (180, 180),
    "icon-192.png": (192, 192),
    "icon-512.png": (512, 512),
    "icon-maskable-192.png": (192, 192),
    "icon-maskable-512.png": (512, 512),
    "open-graph.jpg": (1200, 630),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_icon_has_its_size(mode: str) -> None:
    icons = icon_set(embed(encoded(scene(120, 80, mode), "PNG"), {"prompt": "a fox"}))
    assert {name: opened(data).size for name, data in icons.items() if name != "favicon.ico"} == SIZES
    favicon = opened(icons["favicon.ico"])
    assert isinstance(favicon, IcoImagePlugin.IcoImageFile)
    assert favicon.info["sizes"] == {(16, 16), (32, 32), (48, 48)}
    assert {name for name, data in icons.items() if read_provenance(data) == {"prompt": "a fox"}} == SIZES.keys()


def test_of_an_opaque_picture_the_middle_is_used() -> None:
    picture = Pillow.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    icons = icon_set(encoded(picture, "PNG"))
    for name in ("apple-touch-icon.png", "icon-192.png", "icon-maskable-512.png"):
        shown = opened(icons[name])
        assert shown.mode == "RGB"
        assert near(pixel(shown, 5, 5), (0, 0, 255, 255))


def test_a_cutout_is_placed_whole_on_its_ground() -> None:
    picture = Pillow.new("RGBA", (300, 100), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (120, 20, 180, 80))
    icons = {name: opened(data) for name, data in icon_set(encoded(picture, "PNG"), ground="navy").items()}
    assert pixel(icons["icon-512.png"], 5, 5) == (255, 0, 0, 255)  # the empty room at its sides is gone
    for name in ("apple-touch-icon.png", "icon-maskable-512.png", "open-graph.jpg"):
        assert near(pixel(icons[name], 3, 3), (0, 0, 128, 255))
        assert near(pixel(icons[name], icons[name].width // 2, icons[name].height // 2), (255, 0, 0, 255))
    red = icons["icon-maskable-512.png"].convert("RGB").getchannel("R").getbbox()
    assert red is not None
    assert all((x - 256) ** 2 + (y - 256) ** 2 <= (0.4 * 512 + 2) ** 2 for x in red[::2] for y in red[1::2])


def test_an_empty_picture_has_empty_icons() -> None:
    icons = icon_set(encoded(Pillow.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG"))
    assert pixel(opened(icons["icon-192.png"]), 90, 90)[3] == 0


def test_what_gives_no_icons_is_refused() -> None:
    with pytest.raises(NotAPictureError):
        icon_set(b"<svg/>")
    with pytest.raises(RequestError, match="no colour"):
        icon_set(plain("red"), ground="sunny")
