"""Masks of every kind become ours: transparent where the picture is painted anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from mcp_image_server.errors import LimitError, RequestError
from mcp_image_server.models import Edges, Size
from mcp_image_server.pictures import (
    Box,
    NotAPictureError,
    canvas,
    embed,
    mask_from_alpha,
    mask_from_boxes,
    mask_from_white,
    read_mask,
    read_provenance,
    white_is_edit,
)
from tests.pictures.made import encoded, opened, pixel, quarters, same, scene, turned_exif

FORTY_BY_TWENTY = Size(width=40, height=20)


def opacity(mask: bytes) -> list[list[int]]:
    """Rows of opacity; the mask is as ours are."""
    shown = opened(mask)
    assert (shown.format, shown.mode) == ("PNG", "RGBA")
    flat = list(shown.getchannel("A").tobytes())
    return [flat[at : at + shown.width] for at in range(0, len(flat), shown.width)]


def cutout() -> bytes:
    """Left half transparent, right half opaque."""
    picture = quarters().convert("RGBA")
    picture.paste((1, 2, 3, 0), (0, 0, 20, 20))
    return encoded(picture, "PNG")


def painted(background: int = 0, brush: int = 255) -> Pillow.Image:
    """White on the left, on black."""
    picture = Pillow.new("L", (40, 20), background)
    picture.paste(brush, (0, 0, 20, 20))
    return picture


LEFT = [[0] * 20 + [255] * 20] * 20


def test_what_is_transparent_is_painted_anew() -> None:
    assert opacity(mask_from_alpha(cutout())) == LEFT


def test_what_is_white_is_painted_anew() -> None:
    for mode in ("L", "RGB", "1", "P"):
        assert opacity(mask_from_white(encoded(painted().convert(mode), "PNG"))) == LEFT


def test_flecks_of_a_jpeg_do_not_matter() -> None:
    assert opacity(mask_from_white(encoded(painted(5, 250), "PNG"))) == LEFT


def test_soft_edges_stay_soft() -> None:
    picture = painted()
    picture.putpixel((20, 0), 100)
    assert opacity(mask_from_white(encoded(picture, "PNG")))[0][18:22] == [0, 0, 155, 255]


def test_a_photo_is_no_mask() -> None:
    with pytest.raises(RequestError, match="a picture rather than a mask") as refused:
        mask_from_white(encoded(scene(), "PNG"))
    assert refused.value.code == "invalid_image"


def test_boxes_are_painted_anew_in_pixels_or_fractions() -> None:
    expected = [[255] * 10 + [0] * 20 + [255] * 10 if 5 <= row < 10 else [255] * 40 for row in range(20)]
    assert opacity(mask_from_boxes(FORTY_BY_TWENTY, [Box(x=10, y=5, width=20, height=5)])) == expected
    assert opacity(mask_from_boxes(FORTY_BY_TWENTY, [Box(x=0.25, y=0.25, width=0.5, height=0.25)])) == expected
    assert opacity(mask_from_boxes(FORTY_BY_TWENTY, [Box(x=10, y=5, width=9, height=5), Box(x=19, y=5, width=11, height=5)])) == expected


def test_a_box_is_cut_off_at_the_picture() -> None:
    assert opacity(mask_from_boxes(FORTY_BY_TWENTY, [Box(x=-5, y=-5, width=25, height=500)])) == LEFT


@pytest.mark.parametrize(
    "box",
    [
        Box(x=40, y=0, width=5, height=5),
        Box(x=0, y=0, width=0, height=1),
        Box(x=5, y=5, width=-3, height=2),
        Box(x=0.5, y=0.5, width=0.001, height=0.001),
        Box(x=float("nan"), y=0, width=1, height=1),
        Box(x=0, y=0, width=float("inf"), height=1),
    ],
)
def test_a_box_without_a_pixel_is_refused(box: Box) -> None:
    with pytest.raises(RequestError, match=r"holds nothing of the picture of 40x20|has four numbers"):
        mask_from_boxes(FORTY_BY_TWENTY, [box])


@pytest.mark.parametrize("box", [Box(x=0, y=0, width=1.02, height=1), Box(x=0.1, y=0.1, width=1.2, height=0.5)])
def test_a_fraction_that_is_too_large_is_not_taken_for_a_pixel(box: Box) -> None:
    with pytest.raises(RequestError, match="neither in pixels nor in fractions"):
        mask_from_boxes(FORTY_BY_TWENTY, [box])


def test_no_box_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one box"):
        mask_from_boxes(FORTY_BY_TWENTY, [])


fractions = st.floats(0, 1, allow_nan=False)


@given(st.integers(1, 300), st.integers(1, 300), fractions, fractions, fractions, fractions)
def test_a_box_lies_within_the_picture_or_is_refused(width: int, height: int, x: float, y: float, across: float, down: float) -> None:
    try:
        left, top, right, bottom = Box(x=x, y=y, width=across, height=down).within(Size(width=width, height=height))
    except RequestError:
        return
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_mask_of_ours_is_read_as_it_is() -> None:
    received = read_mask(cutout(), FORTY_BY_TWENTY)
    assert (opacity(received.picture.data), received.picture.media_type, received.picture.size) == (LEFT, "image/png", FORTY_BY_TWENTY)
    assert received.adjustments == ()


def test_a_black_and_white_mask_is_read_as_most_services_mean_it() -> None:
    for kind in ("PNG", "JPEG", "GIF"):
        received = read_mask(encoded(painted(), kind), FORTY_BY_TWENTY)
        rows = opacity(received.picture.data)
        assert [row[5] for row in rows] + [row[35] for row in rows] == [0] * 20 + [255] * 20
        assert [adjustment.field for adjustment in received.adjustments] == ["mask"]
        assert received.adjustments[0].message == "The mask has no transparency; its white is painted anew, its black stays."


def test_there_and_back_is_the_same_mask() -> None:
    ours = mask_from_boxes(FORTY_BY_TWENTY, [Box(x=3, y=4, width=5, height=6)])
    assert opacity(read_mask(white_is_edit(ours), FORTY_BY_TWENTY).picture.data) == opacity(ours)


def test_a_smaller_mask_of_the_same_shape_is_brought_to_the_pictures_size() -> None:
    received = read_mask(cutout(), Size(width=80, height=41))
    assert opened(received.picture.data).size == (80, 41)
    assert [adjustment.message for adjustment in received.adjustments] == ["The mask of 40x20 was brought to the picture's size, 80x41."]


@pytest.mark.parametrize("size", [Size(width=20, height=40), Size(width=40, height=40), Size(width=1000, height=600)])
def test_a_mask_of_another_shape_is_refused(size: Size) -> None:
    with pytest.raises(RequestError, match=f"The mask is 40x20, but the picture is {size}"):
        read_mask(cutout(), size)


@given(st.integers(8, 200), st.integers(8, 200), st.integers(1, 8))
def test_a_mask_made_smaller_still_fits(width: int, height: int, times: int) -> None:
    small = Pillow.new("RGBA", (max(1, round(width / times)), max(1, round(height / times))), (0, 0, 0, 0))
    assert read_mask(encoded(small, "PNG"), Size(width=width, height=height)).picture.size == Size(width=width, height=height)


@pytest.mark.parametrize("mask", [encoded(Pillow.new("L", (40, 20), 0), "PNG"), encoded(Pillow.new("RGBA", (40, 20), (0, 0, 0, 250)), "PNG")])
def test_a_mask_that_leaves_nothing_to_paint_is_refused(mask: bytes) -> None:
    with pytest.raises(RequestError, match="leaves nothing to paint"):
        read_mask(mask, FORTY_BY_TWENTY)


def test_what_is_no_mask_at_all_is_refused() -> None:
    with pytest.raises(NotAPictureError):
        read_mask(b"<svg/>", FORTY_BY_TWENTY)
    with pytest.raises(LimitError):
        read_mask(cutout(), FORTY_BY_TWENTY, max_bytes=10)


def test_a_canvas_has_room_and_the_mask_of_it() -> None:
    picture = embed(encoded(quarters(), "PNG"), {"prompt": "a fox"})
    made = canvas(picture, Edges(left=3, top=2, right=1))
    shown = opened(made.picture)
    assert made.size == Size(width=44, height=22)
    assert shown.size == opened(made.mask).size == (44, 22)
    assert same(shown.crop((3, 2, 43, 22)), quarters())
    assert [pixel(shown, x, y)[3] for x, y in ((0, 0), (2, 21), (43, 5), (10, 1))] == [0, 0, 0, 0]
    assert opacity(made.mask) == [[0] * 44] * 2 + [[0] * 3 + [255] * 40 + [0]] * 20
    assert read_provenance(made.picture) == {"prompt": "a fox"}


def test_a_canvas_holds_the_picture_upright() -> None:
    assert canvas(encoded(quarters(), "JPEG", exif=turned_exif(6)), Edges(top=5)).size == Size(width=20, height=45)


@pytest.mark.parametrize("edges", [Edges(), Edges(left=-1, right=5), Edges(bottom=2_000_000)])
def test_a_canvas_that_cannot_be_is_refused(edges: Edges) -> None:
    with pytest.raises(RequestError, match=r"Extend the picture by some pixels|too large to be worked on"):
        canvas(cutout(), edges)
