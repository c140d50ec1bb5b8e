"""Negotiation as properties: for every request and every model."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcp_image_server.errors import RequestError, UnsupportedError
from mcp_image_server.models import AspectRatio, Edges, ImageRequest, Model, Operation, Picture, Size, SizeList, SizeRange, Style, parse_shape
from mcp_image_server.negotiate import Fitted, fits, nearest_size, negotiate

STYLES = {key: Style(key=key, label=key, phrase=phrase) for key, phrase in (("anime", "anime style"), ("natural", ""), ("ink", "ink wash"))}
FORMATS = ("png", "jpeg", "webp")
BACKGROUNDS = ("auto", "opaque", "transparent")

sizes = st.builds(lambda w, h: Size(width=w, height=h), st.integers(1, 5000), st.integers(1, 5000))
shapes = st.one_of(st.none(), sizes, st.builds(lambda w, h: AspectRatio(width=w, height=h), st.integers(1, 64), st.integers(1, 64))).filter(
    lambda shape: shape is None or 1 / 16 <= shape.ratio <= 16
)
ranges = st.builds(
    lambda multiple, low, high, fewest, most, ratio: SizeRange(
        min_edge=low, max_edge=max(high, low), multiple=multiple, min_pixels=min(fewest, most), max_pixels=most, max_ratio=ratio
    ),
    st.sampled_from([1, 2, 8, 16, 32]),
    st.integers(1, 600),
    st.integers(600, 3000),
    st.integers(1, 4_000_000),
    st.integers(300_000, 9_000_000),
    st.floats(1, 20),
).filter(lambda sizes: any(True for _ in _some(sizes)))


def _some(sizes: SizeRange) -> list[Size]:
    from mcp_image_server.negotiate import _sizes_near

    return list(_sizes_near(1.0, sizes, sizes.multiple))[:1]


def subset(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(st.sampled_from(values)).map(lambda chosen: tuple(sorted(chosen)))


models = st.builds(
    Model,
    provider=st.just("p"),
    id=st.just("m"),
    sizes=st.one_of(st.none(), ranges, st.lists(sizes, min_size=1, max_size=5).map(lambda some: SizeList(sizes=tuple(some)))),
    max_count=st.integers(1, 10),
    seed=st.booleans(),
    negative_prompt=st.booleans(),
    styles=st.sets(st.sampled_from([*STYLES, "own"])).map(frozenset),
    qualities=subset(("low", "medium", "high", "max")),
    backgrounds=subset(BACKGROUNDS),
    formats=subset(FORMATS),
    compression=st.sets(st.sampled_from(FORMATS)).map(frozenset),
    moderation=subset(("auto", "low")),
    polled=st.booleans(),
)
requests = st.builds(
    ImageRequest,
    prompt=st.text(min_size=1, max_size=60).filter(str.strip),
    negative_prompt=st.one_of(st.none(), st.text(max_size=20)),
    shape=shapes,
    count=st.integers(1, 20),
    seed=st.one_of(st.none(), st.integers(0, 2**31)),
    style=st.one_of(st.none(), st.sampled_from(list(STYLES))),
    quality=st.one_of(st.none(), st.sampled_from(["low", "medium", "high", "hd", "max", "splendid"])),
    background=st.one_of(st.none(), st.sampled_from(BACKGROUNDS)),
    output_format=st.one_of(st.none(), st.sampled_from([*FORMATS, "jpg", "tiff"])),
    output_compression=st.one_of(st.none(), st.integers(0, 100)),
    moderation=st.one_of(st.none(), st.sampled_from(["auto", "low", "none"])),
    polling=st.dictionaries(st.sampled_from(["interval", "attempts"]), st.floats(1, 9), max_size=2),
    options=st.dictionaries(st.sampled_from(["steps", "cfg", "狐狸", ""]), st.integers(), max_size=2),
)


@given(requests, models)
def test_what_comes_out_fits(request: ImageRequest, model: Model) -> None:
    fitted = negotiate(request, model, styles=STYLES).request
    assert fits(fitted.shape, model.sizes)
    assert fitted.count <= model.max_count
    assert fitted.seed is None or model.seed
    assert fitted.negative_prompt is None or model.negative_prompt
    assert fitted.style is None or fitted.style in model.styles
    assert fitted.quality is None or fitted.quality in model.qualities
    assert fitted.background is None or fitted.background in model.backgrounds
    assert fitted.output_format is None or fitted.output_format in model.formats
    assert fitted.output_compression is None or fitted.output_format in model.compression
    assert fitted.moderation is None or fitted.moderation in model.moderation
    assert not (fitted.background == "transparent" and fitted.output_format == "jpeg")
    assert fitted.options == request.options
    assert not fitted.polling or model.polled


@given(requests, models)
def test_fitting_twice_changes_nothing(request: ImageRequest, model: Model) -> None:
    once = negotiate(request, model, styles=STYLES)
    assert negotiate(once.request, model, styles=STYLES) == Fitted(request=once.request, adjustments=())


NAMES = {"shape": "resolution", "count": "n"}


@given(requests, models)
def test_nothing_changes_without_a_word(request: ImageRequest, model: Model) -> None:
    fitted = negotiate(request, model, styles=STYLES)
    changed = {each.name for each in fields(request) if each.compare and getattr(request, each.name) != getattr(fitted.request, each.name)}
    words = {adjustment.field for adjustment in fitted.adjustments}
    expected = {NAMES.get(name, name) for name in changed - {"prompt"}}
    assert expected == words
    if "prompt" in changed:
        assert words & {"style", "negative_prompt"}
        assert fitted.request.prompt.startswith(request.prompt)


@given(shapes, ranges)
def test_a_size_is_found_wherever_one_exists(shape: Size | AspectRatio | None, sizes: SizeRange) -> None:
    assume(shape is not None)
    assert shape is not None
    assert fits(nearest_size(shape, sizes), sizes)


OPENAI_LIKE = SizeRange(min_edge=16, max_edge=3840, min_pixels=655_360, max_pixels=8_294_400, multiple=16, max_ratio=3)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ("16:9", "1360x768"),
        ("1024:768", "1024x768"),
        ("512x512", "816x816"),
        ("1000x1000", "1008x1008"),
        ("4:1", "1776x592"),
        ("8000x8000", "2880x2880"),
    ],
)
def test_sizes_keep_their_proportion_before_their_area(asked: str, drawn: str) -> None:
    shape = parse_shape(asked)
    assert shape is not None
    assert str(shape if fits(shape, OPENAI_LIKE) else nearest_size(shape, OPENAI_LIKE, Size(width=1024, height=1024))) == drawn


def test_a_size_that_the_model_names_is_right_however_steep() -> None:
    banner = Size(width=2000, height=100)
    model = Model(provider="p", id="m", sizes=SizeList(sizes=(banner,)))
    assert negotiate(ImageRequest(prompt="x", shape=banner), model, styles={}) == Fitted(request=ImageRequest(prompt="x", shape=banner))


PLAIN = Model(provider="p", id="m")
PICTURE = Picture(data=b"", media_type="image/png", size=Size(width=1, height=1))


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (ImageRequest(prompt="  "), "invalid_arguments", "Describe the picture"),
        (ImageRequest(prompt="x", count=0), "invalid_parameters", "at least 1"),
        (ImageRequest(prompt="x", shape=Size(width=99999, height=1)), "invalid_resolution", "Try 1024x1024"),
        (ImageRequest(prompt="x", shape=Size(width=4000, height=100)), "invalid_resolution", "at most 16 times"),
        (ImageRequest(prompt="x", style="cubist-ish"), "invalid_style", "Available styles: anime, ink, natural"),
        (ImageRequest(prompt="x", output_compression=101), "invalid_parameters", "between 0 and 100"),
        (ImageRequest(prompt="x" * 32_001), "invalid_arguments", "takes 32000"),
        (ImageRequest(prompt="x", action=Operation.UPSCALE), "invalid_parameters", "Name the picture"),
        (ImageRequest(prompt="x", extend=Edges(left=8)), "invalid_parameters", "Name the picture"),
        (ImageRequest(prompt="x", images=(PICTURE,), extend=Edges()), "invalid_parameters", "some pixels"),
        (ImageRequest(prompt="x", images=(PICTURE,), extend=Edges(left=9, top=-9)), "invalid_parameters", "some pixels"),
        (
            ImageRequest(prompt="x", images=(PICTURE,), mask=PICTURE, extend=Edges(left=9)),
            "invalid_parameters",
            "To inpaint, there is no use for extend",
        ),
        (ImageRequest(prompt="x", images=(PICTURE,), mask=PICTURE, action=Operation.UPSCALE), "invalid_parameters", "no use for mask"),
        (
            ImageRequest(prompt="x", images=(PICTURE,), style_image=PICTURE, action=Operation.VARIATION),
            "invalid_parameters",
            "no use for style_image",
        ),
        (ImageRequest(prompt="x", images=(PICTURE,), action=Operation.GENERATE), "invalid_parameters", "no use for images"),
    ],
)
def test_nonsense_is_refused_with_what_would_work(request_: ImageRequest, code: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        negotiate(request_, PLAIN, styles=STYLES)
    assert caught.value.code == code
    assert words in caught.value.message


def test_content_is_never_dropped_and_models_that_can_are_named() -> None:
    able = replace(PLAIN, id="painter", operations=frozenset({Operation.GENERATE, Operation.EDIT}), max_images=2)
    with pytest.raises(UnsupportedError, match=r"p/m cannot edit\. Models that can: p/painter\."):
        negotiate(ImageRequest(prompt="x", images=(PICTURE,)), PLAIN, styles={}, others=[PLAIN, able])
    with pytest.raises(UnsupportedError, match="takes at most 2 input image"):
        negotiate(ImageRequest(prompt="x", images=(PICTURE,) * 3), able, styles={})
    assert negotiate(ImageRequest(prompt="x", images=(PICTURE,)), able, styles={}).adjustments == ()


def test_a_style_picture_is_not_left_aside_for_a_mask() -> None:
    inpainter = replace(PLAIN, operations=frozenset({Operation.INPAINT}), max_images=1, mask=True)
    both = replace(inpainter, id="both", operations=frozenset({Operation.INPAINT, Operation.STYLE_TRANSFER}))
    request = ImageRequest(prompt="x", images=(PICTURE,), mask=PICTURE, style_image=PICTURE)
    with pytest.raises(UnsupportedError, match=r"p/m cannot take over the look of a picture\. Models that can: p/both\."):
        negotiate(request, inpainter, styles={}, others=[inpainter, both])
    assert negotiate(request, both, styles={}) == Fitted(request=request)


@given(st.text(max_size=20).map(lambda text: f"x{text}"), st.sampled_from([None, "anime", "ink"]), st.sampled_from([None, "rain", "a. b"]))
def test_what_was_written_into_a_prompt_can_be_taken_out_again(prompt: str, style: str | None, unwanted: str | None) -> None:
    request = ImageRequest(prompt=prompt.strip(), style=style, negative_prompt=unwanted)
    fitted = negotiate(request, PLAIN, styles=STYLES)
    assert fitted.request.in_own_words == request
    assert (fitted.request.wording is None) == (style is None and unwanted is None)


def test_a_style_and_a_negative_prompt_go_into_the_prompt_of_a_model_without_them() -> None:
    fitted = negotiate(ImageRequest(prompt="a cat", style="anime", negative_prompt="rain"), PLAIN, styles=STYLES)
    assert fitted.request == ImageRequest(prompt="a cat, anime style. Avoid: rain")
