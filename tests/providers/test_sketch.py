"""The embedded scene composer: what it paints."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass, field, replace
from io import BytesIO

import anyio
import pytest
from PIL import Image, ImageChops, ImageStat

from mcp_image_server.models import AspectRatio, ImageRequest, Operation, Picture, Size
from mcp_image_server.pictures.lettering import font, showable
from mcp_image_server.providers.sketch import ATTRIBUTION, CATALOGUE, Sketch, load
from mcp_image_server.providers.sketch.lettering import word_poster
from mcp_image_server.providers.sketch.looks import STYLE_OF, STYLES
from mcp_image_server.providers.sketch.paint import Spec, encode, paint, random_for, render
from mcp_image_server.providers.sketch.styles import renderers

pytestmark = pytest.mark.anyio

MODEL = CATALOGUE.models[0]


@dataclass
class Watcher:
    """A job's ear: keeps all that the provider says."""

    fractions: list[float] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)

    async def report(self, fraction: float, words: str) -> None:
        assert words
        self.fractions.append(fraction)

    async def accepted(self, task_id: str) -> None:
        raise AssertionError("sketch has no tasks")

    async def preview(self, data: bytes) -> None:
        self.previews.append(data)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def small(prompt: str, **changes: object) -> Spec:
    return Spec(**{"prompt": prompt, "width": 128, "height": 128, "seed": 7, **changes})  # type: ignore[arg-type]


def different(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox() is not None


async def test_a_request_becomes_distinct_pictures_with_their_seeds_and_rising_progress() -> None:
    provider, watcher = load({}), Watcher()
    request = ImageRequest(prompt="two cats in a meadow", count=3, seed=40, shape=Size(width=160, height=96))
    done = await provider.generate(request, MODEL, watcher)
    await provider.aclose()
    assert [drawn.seed for drawn in done.images] == [40, 41, 42]
    assert len({drawn.data for drawn in done.images}) == 3
    assert {opened(drawn.data).size for drawn in done.images} == {(160, 96)}
    assert watcher.fractions == sorted(watcher.fractions)
    assert watcher.fractions[-1] == 1.0
    assert [opened(data).format for data in watcher.previews] == ["WEBP"]
    assert done.adjustments == ()


async def test_a_request_without_seed_is_repeatable_and_names_the_seed_it_used() -> None:
    provider, request = Sketch(), ImageRequest(prompt="a boat on a lake", shape=Size(width=96, height=96))
    first, second = [(await provider.generate(request, MODEL, Watcher())).images[0] for _ in range(2)]
    assert first == second
    assert isinstance(first.seed, int)


async def test_a_ratio_gets_about_as_many_pixels_as_the_default_size() -> None:
    from mcp_image_server.providers.sketch import _size

    assert _size(ImageRequest(prompt="", shape=AspectRatio(width=16, height=9))) == Size(width=1368, height=768)
    assert _size(ImageRequest(prompt="")) == Size(width=1024, height=1024)


async def test_transparency_that_cannot_be_is_said() -> None:
    request = ImageRequest(prompt="a cat", background="transparent", output_format="jpeg", shape=Size(width=64, height=64))
    done = await Sketch().generate(request, MODEL, Watcher())
    assert [a.field for a in done.adjustments] == ["background"]
    assert opened(done.images[0].data).format == "JPEG"


async def test_cancelling_ends_promptly() -> None:
    request = ImageRequest(prompt="a forest full of foxes", style="oil_painting", count=10, shape=Size(width=2048, height=2048))
    with anyio.fail_after(10):
        with anyio.move_on_after(0.6) as scope:
            await Sketch().generate(request, MODEL, Watcher())
        assert scope.cancelled_caught


async def test_an_input_picture_is_restyled() -> None:
    data = paint(small("a red car in the city"))
    request = ImageRequest(prompt="make it a mosaic", images=(Picture(data=data, media_type="image/png", size=Size(width=128, height=128)),))
    assert request.operation in MODEL.operations
    done = await Sketch().generate(ImageRequest(**{**vars(request), "shape": Size(width=128, height=128)}), MODEL, Watcher())
    assert different(opened(done.images[0].data), opened(data))


def painted_into(prompt: str, source: bytes, mask: Image.Image) -> Image.Image:
    out = BytesIO()
    mask.save(out, "PNG")
    return opened(paint(replace(small(prompt), source=source, mask=out.getvalue())))


def test_under_a_mask_things_are_put_in_and_the_rest_stays_as_it_was() -> None:
    source = paint(small("the sea at dusk"))
    mask = Image.new("RGBA", (128, 128), "black")
    mask.paste((0, 0, 0, 0), (16, 64, 80, 112))
    for prompt in ("a red boat", "watercolor", "the night sky"):
        box = ImageChops.difference(painted_into(prompt, source, mask).convert("RGB"), opened(source).convert("RGB")).getbbox()
        assert box is not None
        assert (box[0] >= 16, box[1] >= 64, box[2] <= 80, box[3] <= 112) == (True,) * 4


def test_beyond_its_edges_a_picture_goes_on_out_of_focus() -> None:
    source = Image.new("RGBA", (128, 128))
    source.paste((200, 40, 40, 255), (32, 0, 96, 128))
    out = BytesIO()
    source.save(out, "PNG")
    mask = Image.new("RGBA", (128, 128))
    mask.paste((0, 0, 0, 255), (32, 0, 96, 128))
    assert painted_into("wider", out.getvalue(), mask).getpixel((4, 64)) == (200, 40, 40, 255)


def test_into_a_picture_that_is_seen_through_things_are_put_as_well_and_the_rest_stays() -> None:
    source = Image.new("RGBA", (128, 128), (40, 90, 200, 32))
    out = BytesIO()
    source.save(out, "PNG")
    mask = Image.new("RGBA", (128, 128), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 64, 128))
    painted = painted_into("a red balloon", out.getvalue(), mask)
    assert painted.crop((64, 0, 128, 128)).tobytes() == source.crop((64, 0, 128, 128)).tobytes()
    assert painted.getchannel("A").getextrema() == (32, 255)
    jpeg = opened(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), replace(small("x"), format="jpeg")))
    assert jpeg.getextrema() == ((255, 255),) * 3


async def test_picture_and_mask_are_cut_to_another_shape_alike_and_it_is_said() -> None:
    out = BytesIO()
    Image.new("RGB", (256, 128), (60, 120, 200)).save(out, "PNG")
    mask = Image.new("RGBA", (256, 128), "black")
    mask.paste((0, 0, 0, 0), (160, 0, 192, 128))
    box = ImageChops.difference(
        painted_into("watercolor", out.getvalue(), mask).convert("RGB"), Image.new("RGB", (128, 128), (60, 120, 200))
    ).getbbox()
    assert box is not None
    assert (box[0] >= 96, box[2] <= 128) == (True, True)
    picture = Picture(data=out.getvalue(), media_type="image/png", size=Size(width=256, height=128))
    cut = ImageRequest(prompt="mosaic", images=(picture,), shape=Size(width=128, height=128))
    done = await Sketch().generate(cut, MODEL, Watcher())
    assert [(each.field, each.message) for each in done.adjustments][1:] == [
        ("resolution", "The picture was cut to the shape of 128x128; its middle was kept.")
    ]


def test_the_colours_of_another_picture_are_taken() -> None:
    source = paint(small("a red car in the city"))
    blue = BytesIO()
    Image.linear_gradient("L").convert("RGB").point([value // 8 for value in range(256)] * 2 + list(range(256))).save(blue, "PNG")
    toned = opened(paint(replace(small("as at night"), source=source, colours_of=blue.getvalue()))).convert("RGB")
    red, green, azure = (ImageStat.Stat(band).mean[0] for band in toned.split())
    assert azure > 2 * max(red, green)


async def test_what_is_not_heard_is_said() -> None:
    data = paint(small("a red car in the city"))
    picture = Picture(data=data, media_type="image/png", size=Size(width=128, height=128))
    restyled = await Sketch().generate(ImageRequest(prompt="add a dog", images=(picture,), shape=picture.size), MODEL, Watcher())
    toned = await Sketch().generate(ImageRequest(prompt="", images=(picture,), style_image=picture), MODEL, Watcher())
    assert [each.field for each in (*restyled.adjustments, *toned.adjustments)] == ["prompt", "style_image"]
    assert opened(toned.images[0].data).size == (128, 128)


async def test_the_check_says_that_it_is_ready() -> None:
    assert (await Sketch().check()).startswith("Ready")


def test_the_catalogue_says_what_it_is() -> None:
    assert "not by an AI model" in CATALOGUE.title
    assert MODEL.operations == {Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.STYLE_TRANSFER}
    assert MODEL.price is None
    assert "Twemoji" in ATTRIBUTION
    assert "CC BY 4.0" in ATTRIBUTION
    assert next(iter(CATALOGUE.styles)) == "picture_book"


def test_listing_loads_nothing_that_draws() -> None:
    code = "import sys, mcp_image_server.providers.sketch as s; s.load({}); print([m for m in ('PIL', 'resvg_py', 'anyio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_two_processes_paint_the_same_bytes() -> None:
    code = (
        "import hashlib; from mcp_image_server.providers.sketch.paint import Spec, paint;"
        "print(hashlib.sha256(paint(Spec(prompt='三只猫 in a rainy village', width=128, height=128, seed=7, style='watercolor'))).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout.strip()
        for seed in "12"
    }
    assert runs == {hashlib.sha256(paint(small("三只猫 in a rainy village", style="watercolor"))).hexdigest()}


@pytest.mark.parametrize("size", [(64, 64), (65, 201), (300, 64), (64, 640), (257, 255)])
def test_the_size_is_exact(size: tuple[int, int]) -> None:
    assert opened(paint(small("a castle at sunset", width=size[0], height=size[1]))).size == size


@pytest.mark.parametrize(("name", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_the_bytes_are_of_the_wanted_format(name: str, magic: bytes) -> None:
    assert paint(small("a cat", format=name)).startswith(magic)


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_less_quality_makes_smaller_files(name: str) -> None:
    assert len(paint(small("a cat in a city", format=name, compression=20))) < len(paint(small("a cat in a city", format=name, compression=95)))


@pytest.mark.parametrize("prompt", ["a cat and a dog", "hello, nothing to draw"])
def test_a_transparent_background_has_empty_corners_and_a_subject(prompt: str) -> None:
    alpha = opened(paint(small(prompt, transparent=True))).getchannel("A")
    assert [alpha.getpixel(corner) for corner in ((0, 0), (127, 0), (0, 127), (127, 127))] == [0, 0, 0, 0]
    assert alpha.getextrema() == (0, 255)


@pytest.mark.parametrize("style", [key for key in STYLES if key != "picture_book"])
def test_every_style_has_a_look_of_its_own(style: str) -> None:
    prompt = "a fox beside a cottage in the meadow"
    assert different(render(small(prompt, style=style)), render(small(prompt)))


def test_every_style_key_leads_to_a_look() -> None:
    assert set(renderers()) == set(STYLES)
    assert {look for look in STYLE_OF.values() if look} <= set(STYLES)
    assert MODEL.styles == set(STYLES) | set(STYLE_OF)


def test_a_style_named_in_the_prompt_is_the_style() -> None:
    assert render(small("水墨画，一只猫")).tobytes() == render(small("水墨画，一只猫", style="shuimo")).tobytes()


def test_words_are_lettered_with_true_glyphs() -> None:
    missing = bytes(font(40).getmask("\U0010fffe"))
    shapes = [bytes(font(40).getmask(character)) for character in "春夏秋冬欢迎光临ABC"]
    assert len(set(shapes)) == len(shapes)
    assert missing not in shapes
    numbers = random_for(small("x"))
    state = numbers.getstate()
    spring = word_poster("春", 200, 200, numbers)
    numbers.setstate(state)
    assert different(spring, word_poster("秋", 200, 200, numbers))


def test_what_the_font_cannot_show_is_left_out() -> None:
    assert showable("Hi 🦊 مرحبا\x07 你好") == "Hi 你好"


def test_quoted_words_are_put_into_the_scene() -> None:
    assert different(render(small("a cafe with a sign saying 'OPEN'")), render(small("a cafe with a sign saying 'SHUT'")))


HOSTILE = [
    "",
    "   \n\t",
    "word " * 6400,
    "猫" * 32_000,
    "🦊🐱🏳️‍🌈👩‍🚀",
    "مرحبا بالعالم שלום",
    "\x00\x01\x1b[31m\u202e\ud800 cat",
    "</svg><script>alert(1)</script> a cat & a dog <g>",
    "a poster saying '</svg><script>' & \"]]>\"",
    "between between between a cat on a cat on a cat in it under them",
    "999999999999999999 cats",
]


@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_prompts_still_become_pictures(prompt: str) -> None:
    assert opened(paint(small(prompt, negative=prompt, width=96, height=64))).size == (96, 64)


@pytest.mark.parametrize(
    "place",
    [
        "meadow",
        "garden",
        "park",
        "farm",
        "village",
        "mountains",
        "snow field",
        "forest",
        "sea",
        "beach",
        "lake",
        "desert",
        "city",
        "space",
        "on the moon",
        "underwater",
        "sky",
        "bedroom",
        "still life",
    ],
)
@pytest.mark.parametrize("more", ["with a dog, a boat, a bird and an apple", "at night in the rain, storm, fog, snow, aurora, rainbow in autumn"])
def test_every_place_can_be_painted(place: str, more: str) -> None:
    assert opened(paint(small(f"{place} {more}", style="flat", width=96, height=80))).size == (96, 80)
