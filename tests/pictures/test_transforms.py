"""Each step by its pixels."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageChops, ImageOps

from mcp_image_server.errors import RequestError
from mcp_image_server.models import AspectRatio, Size
from mcp_image_server.pictures import (
    AI_LABELS,
    Box,
    Compress,
    Convert,
    Corner,
    Crop,
    Flip,
    Gravity,
    NotAPictureError,
    Resize,
    Rotate,
    Step,
    Watermark,
    apply,
    converted,
    embed,
    examine,
    read_provenance,
)
from tests.pictures.made import encoded, noise, opened, pixel, quarters, same, scene, turned_exif

RED, LIME, BLUE, WHITE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 255, 255)
NOTHING = (0, 0, 0, 0)
QUARTERS = encoded(quarters(), "PNG")


def after(data: bytes, *steps: Step) -> Pillow.Image:
    return opened(apply(data, steps))


def corners(picture: Pillow.Image) -> list[tuple[int, ...]]:
    """The colours a little inside of the four corners."""
    right, bottom = picture.width - 2, picture.height - 2
    return [pixel(picture, x, y) for x, y in ((1, 1), (right, 1), (1, bottom), (right, bottom))]


def test_no_step_changes_nothing() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "AVIF"):
        data = encoded(scene(), kind)
        assert apply(data, []) is data


# Crop -----------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [Box(x=20, y=0, width=20, height=10), Box(x=0.5, y=0, width=0.5, height=0.5), Box(x=20, y=0, width=99, height=10)])
def test_a_box_is_cut_out(box: Box) -> None:
    assert same(after(QUARTERS, Crop(to=box)), Pillow.new("RGB", (20, 10), "lime"))


@pytest.mark.parametrize(
    ("gravity", "left"), [("center", 10), ("left", 0), ("right", 20), ("top", 10), ("bottom_right", 20), ("top_left", 0), ("bottom_left", 0)]
)
def test_a_ratio_holds_on_to_one_side(gravity: Gravity, left: int) -> None:
    cut = after(QUARTERS, Crop(to=AspectRatio(width=1, height=1), gravity=gravity))
    assert same(cut, quarters().crop((left, 0, left + 20, 20)))


def test_a_size_is_cut_out() -> None:
    assert same(after(QUARTERS, Crop(to=Size(width=6, height=4), gravity="bottom_left")), Pillow.new("RGB", (6, 4), "blue"))
    with pytest.raises(RequestError, match="has no part of 41x4; resize it with fill"):
        apply(QUARTERS, [Crop(to=Size(width=41, height=4))])


edges = st.integers(1, 70)
gravities = st.sampled_from(["center", "top", "bottom", "left", "right", "top_left", "top_right", "bottom_left", "bottom_right"])


@given(edges, edges, st.integers(1, 64), st.integers(1, 64), gravities)
def test_a_ratio_is_the_largest_part_of_that_shape(width: int, height: int, across: int, down: int, gravity: Gravity) -> None:
    cut = after(encoded(Pillow.new("L", (width, height)), "PNG"), Crop(to=AspectRatio(width=across, height=down), gravity=gravity))
    assert cut.width == width or cut.height == height
    assert abs(cut.width - cut.height * across / down) <= 0.5 + 0.5 * across / down or 1 in cut.size


# Resize ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "size"),
    [
        (Resize(width=20), (20, 10)),
        (Resize(height=40), (80, 40)),
        (Resize(width=30, height=30), (30, 15)),
        (Resize(width=100, height=4), (8, 4)),
        (Resize(width=1, height=1), (1, 1)),
    ],
)
def test_fit_keeps_the_shape(step: Resize, size: tuple[int, int]) -> None:
    shown = after(QUARTERS, step)
    assert shown.size == size
    if min(size) > 8:
        assert corners(shown) == [RED, LIME, BLUE, WHITE]


def test_fill_cuts_what_does_not_fit() -> None:
    shown = after(QUARTERS, Resize(width=10, height=40, how="fill", gravity="left"))
    assert shown.size == (10, 40)
    assert corners(shown) == [RED, RED, BLUE, BLUE]


def test_pad_makes_room_of_a_colour_or_of_nothing() -> None:
    shown = after(QUARTERS, Resize(width=40, height=40, how="pad", ground="#102030"))
    assert (shown.mode, shown.size) == ("RGB", (40, 40))
    assert same(shown.crop((0, 10, 40, 30)), quarters())
    assert corners(shown) == [(16, 32, 48, 255)] * 4
    clear = after(QUARTERS, Resize(width=40, height=40, how="pad", gravity="top"))
    assert same(clear.crop((0, 0, 40, 20)), quarters())
    assert corners(clear) == [RED, LIME, NOTHING, NOTHING]


def test_pad_lays_a_cutout_on_its_ground() -> None:
    cutout = encoded(Pillow.new("RGBA", (10, 10), NOTHING), "PNG")
    assert same(after(cutout, Resize(width=20, height=10, how="pad", ground="navy")), Pillow.new("RGB", (20, 10), "navy"))


hows = st.sampled_from(["fit", "fill", "pad"])


@given(edges, edges, st.integers(1, 90), st.integers(1, 90), hows, gravities)
def test_the_size_is_what_was_asked_for(
    width: int, height: int, across: int, down: int, how: Literal["fit", "fill", "pad"], gravity: Gravity
) -> None:
    shown = after(encoded(Pillow.new("L", (width, height)), "PNG"), Resize(width=across, height=down, how=how, gravity=gravity))
    if how == "fit":
        assert shown.width == across or shown.height == down
        assert shown.width <= across
        assert shown.height <= down
    else:
        assert shown.size == (across, down)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Resize(), "Name the width, the height, or both"),
        (Resize(width=0), "at least one pixel"),
        (Resize(width=-3, height=5), "at least one pixel"),
        (Resize(width=100_000), "too large to be worked on"),
        (Resize(width=9, height=9, how="pad", ground="notacolour"), "'notacolour' is no colour"),
        (Resize(width=9, height=9, how="pad", ground="#11223344"), "can be seen through"),
        (Rotate(degrees=float("nan")), "number of degrees"),
        (Rotate(degrees=10, ground="blurple"), "no colour"),
        (Crop(to=AspectRatio(width=0, height=1)), "two numbers above zero"),
        (Convert(format="jpeg", quality=0), "between 1 and 100"),
        (Convert(format="jpeg", ground="?"), "no colour"),
        (Compress(max_bytes=0), "one byte at least"),
        (Compress(max_bytes=20), "No picture fits into 20 bytes"),
        (Watermark(mark="AI", opacity=2), "between 0 and 1"),
        (Watermark(mark="AI", height=0), "between 0 and 1"),
        (Watermark(mark="🦊"), "no letter that can be drawn"),
        (Watermark(mark=b"no picture"), "is no picture"),
    ],
)
def test_a_step_that_cannot_be_done_says_why(step: Step, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        apply(QUARTERS, [step])


# Rotate and flip ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("degrees", "colours"),
    [
        (90, [BLUE, RED, WHITE, LIME]),
        (180, [WHITE, BLUE, LIME, RED]),
        (270, [LIME, WHITE, RED, BLUE]),
        (-90, [LIME, WHITE, RED, BLUE]),
        (360, [RED, LIME, BLUE, WHITE]),
    ],
)
def test_quarters_turn_clockwise_and_change_no_pixel(degrees: float, colours: list[tuple[int, ...]]) -> None:
    data = encoded(scene(31, 17), "PNG")
    assert corners(after(QUARTERS, Rotate(degrees=degrees))) == colours
    assert same(after(data, Rotate(degrees=degrees), Rotate(degrees=-degrees)), opened(data))


def test_any_angle_keeps_the_corners_in_view() -> None:
    shown = after(QUARTERS, Rotate(degrees=45))
    assert abs(shown.width - 60 / 2**0.5) <= 4
    assert abs(shown.height - 60 / 2**0.5) <= 4
    assert corners(shown) == [NOTHING] * 4
    middle = shown.width // 2
    assert [pixel(shown, middle + x, middle + y) for x, y in ((-4, -11), (11, 4), (-11, -4), (4, 11))] == [RED, LIME, BLUE, WHITE]
    laid = after(QUARTERS, Rotate(degrees=45, ground="black"))
    assert (laid.mode, corners(laid)) == ("RGB", [(0, 0, 0, 255)] * 4)


def test_edges_of_a_turned_picture_are_smooth() -> None:
    levels = set(after(encoded(Pillow.new("RGB", (60, 60), "red"), "PNG"), Rotate(degrees=10)).getchannel("A").tobytes())
    assert len(levels) > 20


def test_flipping_mirrors() -> None:
    assert corners(after(QUARTERS, Flip())) == [LIME, RED, WHITE, BLUE]
    assert corners(after(QUARTERS, Flip(direction="vertical"))) == [BLUE, WHITE, RED, LIME]
    assert same(after(QUARTERS, Flip(), Flip()), quarters())


@given(edges, edges, st.floats(-720, 720))
def test_a_turned_picture_is_large_enough(width: int, height: int, degrees: float) -> None:
    shown = after(encoded(Pillow.new("L", (width, height)), "PNG"), Rotate(degrees=degrees))
    assert max(shown.size) + 1 >= max(width, height) * 0.7
    assert shown.width <= width + height + 6
    assert shown.height <= width + height + 6


# Formats --------------------------------------------------------------------------------------------------------------------------------------

FORMATS: dict[Literal["png", "jpeg", "webp", "avif"], str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_any_format_becomes_any_other(given: str, wanted: Literal["png", "jpeg", "webp", "avif"]) -> None:
    data = encoded(scene(), given)
    made = apply(data, [Convert(format=wanted)])
    assert (examine(made).media_type, examine(made).size) == (FORMATS[wanted], Size(width=96, height=64))
    difference = ImageChops.difference(opened(made).convert("RGB"), opened(data).convert("RGB")).convert("L")
    assert sum(difference.histogram()[24:]) < 300


def test_transparency_is_kept_or_laid_on_a_ground() -> None:
    cutout = encoded(Pillow.new("RGBA", (16, 16), NOTHING), "PNG")
    for wanted in ("png", "webp", "avif"):
        assert pixel(after(cutout, Convert(format=wanted)), 8, 8)[3] == 0
    assert pixel(after(cutout, Convert(format="jpeg")), 8, 8) == WHITE
    assert pixel(after(cutout, Convert(format="jpeg", ground="#000080")), 8, 8)[2] in range(120, 136)


def test_a_jpeg_that_becomes_transparent_becomes_a_png() -> None:
    assert examine(apply(encoded(scene(), "JPEG"), [Rotate(degrees=10)])).media_type == "image/png"
    assert examine(apply(encoded(scene(), "JPEG"), [Rotate(degrees=10, ground="white")])).media_type == "image/jpeg"


def test_a_lower_quality_takes_fewer_bytes() -> None:
    data = encoded(noise(64, 64), "PNG")
    for wanted in ("jpeg", "webp", "avif"):
        assert len(apply(data, [Convert(format=wanted, quality=20)])) < len(apply(data, [Convert(format=wanted, quality=90)]))


def test_the_result_is_upright_and_of_one_frame() -> None:
    data = encoded(quarters(), "JPEG", exif=turned_exif(6), quality=95)
    shown = after(data, Flip())
    assert shown.size == (20, 40)
    assert not shown.getexif()
    moving = encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)])
    assert not examine(apply(moving, [Flip()])).animated


def test_provenance_is_carried_over() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        data = embed(encoded(scene(), kind), {"prompt": "a fox", "model": "m"})
        ways: list[list[Step]] = [[Flip()], [Resize(width=9), Convert(format="webp")], [Convert(format="jpeg"), Compress(max_bytes=2500)]]
        for steps in ways:
            assert read_provenance(apply(data, steps)) == {"prompt": "a fox", "model": "m"}
    assert read_provenance(apply(encoded(scene(), "PNG"), [Flip()])) == {}


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(NotAPictureError):
        apply(b"%PDF-1.4", [Flip()])


# Compress -------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("most", [30_000, 6_000, 1_500])
def test_the_bytes_fit(kind: str, most: int) -> None:
    made = apply(encoded(noise(120, 90), kind), [Compress(max_bytes=most)])
    assert len(made) <= most
    assert examine(made).size.ratio == pytest.approx(4 / 3, rel=0.1)


def test_no_more_is_lost_than_must_be() -> None:
    data = encoded(noise(120, 90), "JPEG", quality=95)
    assert apply(data, [Compress(max_bytes=len(data))]) is data
    assert examine(apply(data, [Compress(max_bytes=len(data) // 2)])).size == Size(width=120, height=90)
    assert examine(apply(data, [Compress(max_bytes=len(data) // 20)])).size < Size(width=120, height=90)


def test_a_png_loses_quality_only_where_it_may() -> None:
    opaque, cutout = encoded(noise(90, 90), "PNG"), encoded(noise(90, 90).convert("RGBA"), "PNG")
    seen_through = noise(90, 90).convert("RGBA")
    seen_through.putalpha(Pillow.linear_gradient("L").resize((90, 90)))
    assert examine(apply(opaque, [Compress(max_bytes=8_000)])).media_type == "image/jpeg"
    assert examine(apply(encoded(seen_through, "PNG"), [Compress(max_bytes=8_000)])).media_type == "image/webp"
    smaller = apply(cutout, [Convert(format="png"), Compress(max_bytes=8_000)])
    assert (examine(smaller).media_type, len(smaller) <= 8_000) == ("image/png", True)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(700, 9_000))
def test_whatever_fits_is_found(width: int, height: int, most: int) -> None:
    assert len(apply(encoded(noise(width, height), "PNG"), [Compress(max_bytes=most)])) <= most


# Watermark ------------------------------------------------------------------------------------------------------------------------------------


def where_changed(before: bytes, step: Watermark) -> tuple[int, int, int, int]:
    box = ImageChops.difference(opened(before).convert("RGB"), after(before, step).convert("RGB")).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
@pytest.mark.parametrize("words", [*AI_LABELS.values(), "由人工智能生成 AI"])
def test_words_stand_in_their_corner(words: str, corner: Corner) -> None:
    left, top, right, bottom = where_changed(encoded(Pillow.new("RGB", (600, 400), "teal"), "PNG"), Watermark(mark=words, corner=corner))
    assert (left < 30, right > 570) == ("left" in corner, "right" in corner)
    assert (top < 30, bottom > 370) == ("top" in corner, "bottom" in corner)
    assert 20 <= bottom - top <= 30  # a twentieth of 400, and the rim


def test_chinese_letters_are_letters() -> None:
    ground = encoded(Pillow.new("RGB", (600, 400), "black"), "PNG")
    shown = {after(ground, Watermark(mark=words)).tobytes() for words in ("生成", "合成", "标识", "圖片")}
    assert len(shown) == 4


@pytest.mark.parametrize(("ground", "ink"), [("white", 0), ("black", 255), ("#404040", 255), ("#f0f0f0", 0)])
def test_letters_stand_out_from_any_ground(ground: str, ink: int) -> None:
    shown = after(encoded(Pillow.new("RGB", (300, 200), ground), "PNG"), Watermark(mark="AI", height=0.3, opacity=1)).convert("L")
    assert shown.histogram()[ink] > 200


def test_words_wrap_and_become_smaller_before_they_leave_the_picture() -> None:
    ground = encoded(Pillow.new("RGB", (200, 200), "teal"), "PNG")
    for words in ("Drawn by a machine, so take nothing for granted that you see here", "W" * 30, "由人工智能生成" * 9):
        left, top, right, bottom = where_changed(ground, Watermark(mark=words, height=0.1))
        assert min(left, top) >= 4
        assert max(right, bottom) <= 196
    assert where_changed(ground, Watermark(mark="short words " * 6, height=0.1))[1] < 150  # several lines


def test_a_picture_can_be_the_mark() -> None:
    mark = encoded(Pillow.new("RGBA", (30, 30), (255, 0, 0, 255)), "PNG")
    shown = after(encoded(Pillow.new("RGB", (200, 120), "white"), "PNG"), Watermark(mark=mark, corner="top_left", height=0.25, opacity=0.5))
    assert pixel(shown, 18, 18) in ((255, 127, 127, 255), (255, 128, 128, 255))
    assert same(shown.crop((40, 40, 200, 120)), Pillow.new("RGB", (160, 80), "white"))
    assert ImageOps.invert(shown.convert("L")).getbbox() == (3, 3, 33, 33)


def test_a_mark_is_seen_where_the_picture_is_not() -> None:
    clear = encoded(Pillow.new("RGBA", (300, 200), NOTHING), "PNG")
    shown = after(clear, Watermark(mark="AI生成", opacity=1))
    assert shown.getchannel("A").getextrema() == (0, 255)


@given(edges, edges, st.sampled_from(["AI", "AI生成", "a long line of words"]), st.floats(0.01, 1))
def test_a_mark_changes_no_size(width: int, height: int, words: str, share: float) -> None:
    assert after(encoded(Pillow.new("RGB", (width, height)), "PNG"), Watermark(mark=words, height=share)).size == (width, height)


# One after the other --------------------------------------------------------------------------------------------------------------------------


def test_steps_are_taken_in_order() -> None:
    one = after(QUARTERS, Crop(to=Box(x=0, y=0, width=20, height=10)), Rotate(degrees=90), Resize(width=5, height=10, how="fill"))
    assert same(one, Pillow.new("RGB", (5, 10), "red"))
    assert after(QUARTERS, Rotate(degrees=90), Crop(to=Box(x=0, y=0, width=10, height=20))).tobytes() == Pillow.new("RGB", (10, 20), "blue").tobytes()


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [(".AVIF", "image/avif"), (".jpg", "image/jpeg"), (".webp", "image/webp"), (".gif", "image/gif"), (".odd", "image/png")],
)
def test_a_copy_is_what_its_name_says_with_its_provenance(ending: str, media_type: str) -> None:
    told = {"prompt": "a fox", "aigc": '{"Label":"1","ContentProducer":"x"}'}
    copy = converted(embed(QUARTERS, told), ending)
    assert (examine(copy).media_type, read_provenance(copy)) == (media_type, told)
    assert opened(copy).size == (40, 20)


def test_the_last_word_on_writing_counts() -> None:
    made = apply(QUARTERS, [Convert(format="webp"), Flip(), Convert(format="jpeg")])
    assert examine(made).media_type == "image/jpeg"
