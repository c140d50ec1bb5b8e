"""Prompts with gaps: how files describe them, how they are filled, and what they say besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_image_server.errors import NotFoundError, RequestError
from mcp_image_server.library import FOLDER, Library, Template, Variable
from mcp_image_server.library.templates import BUILTIN
from mcp_image_server.models import AspectRatio, ImageRequest, Size
from mcp_image_server.negotiate import language_of
from mcp_image_server.studio import Studio
from tests.easel import Easel

from .test_styles import ME, write

pytestmark = pytest.mark.anyio

CARD = """
title: 贺卡 Greeting card
description: A card.
prompt: >-
  {mood} card with {number} {thing}s {{in braces}} { alone
variables:
  thing:
    description: What is on it.
  mood:
    choices: [Calm, Lively]
    default: Calm
  number:
    min: 1
    max: 9.5
    default: 3
  greeting:
    default:
negative_prompt: no {greeting}
resolution: 16:9
style: watercolor
quality: no
background: transparent
output_format: png
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(lambda: [tmp_path / FOLDER])


@pytest.fixture
def card(library: Library, tmp_path: Path) -> Template:
    write(tmp_path, "templates", "card.yaml", CARD)
    assert library.problems() == ()
    return library.template("card")


def test_a_file_is_read_as_it_looks(card: Template, tmp_path: Path) -> None:
    assert card == Template(
        key="card",
        title="贺卡 Greeting card",
        description="A card.",
        prompt="{mood} card with {number} {thing}s {{in braces}} { alone",
        variables=(
            Variable(name="thing", description="What is on it."),
            Variable(name="mood", kind="choice", choices=("Calm", "Lively"), default="Calm"),
            Variable(name="number", kind="number", least=1, most=9.5, default="3"),
            Variable(name="greeting", default=""),
        ),
        negative_prompt="no {greeting}",
        resolution="16:9",
        style="watercolor",
        quality="no",
        background="transparent",
        output_format="png",
        source=tmp_path / ".mcp-image" / "templates" / "card.yaml",
    )


@pytest.mark.parametrize(
    ("values", "prompt"),
    [
        ({"thing": "fox"}, "Calm card with 3 foxs {in braces} { alone"),
        ({"thing": " {mood} ", "mood": "", "number": None}, "Calm card with 3 {mood}s {in braces} { alone"),
        ({"thing": 7, "mood": "LIVELY", "number": 4.0}, "Lively card with 4 7s {in braces} { alone"),
        ({"thing": "狐狸", "number": "2.5"}, "Calm card with 2.5 狐狸s {in braces} { alone"),
    ],
)
def test_gaps_are_filled_once(card: Template, values: dict[str, object], prompt: str) -> None:
    filled = card.filled(values)
    assert (filled.prompt, filled.negative_prompt, filled.variables) == (prompt, "no ", ())


def test_whatever_is_wrong_is_said_at_once(card: Template) -> None:
    with pytest.raises(RequestError) as caught:
        card.filled({"mood": "angry", "number": "ten", "colour": "red", "greeting": ["x"]})
    error = caught.value
    assert error.code == "invalid_variables"
    assert error.message == (
        "Template 'card' cannot be filled: missing: thing; mood is 'angry'; choose one of: Calm, Lively; number is 'ten'; write a number from 1 to 9.5; "
        "greeting is ['x']; write text; it has no variable 'colour'. "
        "Its variables: thing (required); mood (Calm|Lively, default 'Calm'); number (number, default '3'); greeting (default '')."
    )
    assert error.details["missing"] == ["thing"]
    assert error.details["unknown"] == ["colour"]
    assert error.details["variables"] == ["thing", "mood", "number", "greeting"]


@pytest.mark.parametrize("number", ["nan", "inf", 0, 10, True, {}])
def test_a_number_is_a_number_within_its_bounds(card: Template, number: object) -> None:
    with pytest.raises(RequestError, match="write a number"):
        card.filled({"thing": "fox", "number": number})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: x", "prompt: Field required"),
        ("prompt: a {thing}", "the prompt has {thing}, which variables does not name"),
        ("prompt: a fox\nvariables: {thing: }", "the prompt has no place for {thing}"),
        ("prompt: '{x}'\nvariables: {x: {type: choice}}", "variable x: a choice has choices, and nothing else has"),
        ("prompt: '{x}'\nvariables: {x: {type: string, choices: [a]}}", "variable x: a choice has choices, and nothing else has"),
        ("prompt: '{x}'\nvariables: {x: {type: string, max: 3}}", "variable x: min and max are for numbers"),
        ("prompt: '{x}'\nvariables: {x: {choices: [a], default: b}}", "x is 'b'; choose one of: a"),
        ("prompt: '{x}'\nvariables: {x: {max: 3, default: 4}}", "x is '4'; write a number to 3"),
        ("prompt: '{x}'\nvariables: {x: {type: colour}}", "variables → x → type: Input should be 'string', 'choice' or 'number'"),
        ("prompt: a fox\nresolution: large", "'large' is no size"),
        ("prompt: a fox\noutput_format: tiff", "output_format: Input should be"),
        ("prompt: a fox\nn: 3", "n: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_cannot_work_is_left_out_with_the_reason(library: Library, tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, "templates", "bad.yaml", text)
    [problem] = library.problems()
    assert problem.startswith(f"{path} was left out: ")
    assert words in problem
    assert "bad" not in library.templates()


def test_a_name_is_the_files_or_part_of_the_title(library: Library, card: Template, tmp_path: Path) -> None:
    write(tmp_path, "templates", "logo.yaml", "prompt: our logo")
    assert library.template("logo").prompt == "our logo"
    assert library.template("小红书封面").key == "xiaohongshu_cover"
    assert library.template("Product Photo").key == library.template("product-photo").key == "product_photo"
    assert library.template("greeting") == card
    with pytest.raises(NotFoundError, match=r"There is no template 'nope'. Templates: app_icon, ") as caught:
        library.template("nope")
    assert caught.value.code == "template_not_found"
    with pytest.raises(NotFoundError, match=r"\d templates are called 'page'. Templates: childrens_book_page, "):
        library.template("page")


BUILTINS = Library(list).templates()


@pytest.mark.parametrize("template", BUILTINS.values(), ids=BUILTINS.keys())
def test_what_comes_along_is_whole(template: Template) -> None:
    chinese, _, english = template.title.partition(" ")
    assert language_of(chinese) == "zh"
    assert english
    assert template.description
    filled = template.filled({variable.name: "something" for variable in template.variables if variable.default is None})
    assert "{" not in filled.prompt
    assert "， " not in filled.prompt
    assert len(filled.prompt) < 600
    assert (template.source.parent, template.is_own) == (BUILTIN, False)
    assert all(variable.description or variable.default is not None for variable in template.variables)


def test_a_dozen_comes_along() -> None:
    assert len(BUILTINS) == 12
    assert Library(list).problems() == ()


async def test_a_request_leaves_open_what_the_template_says(studio: Studio, easel: Easel, card: Template) -> None:
    open_one = await studio.library.from_template(ME, ImageRequest(prompt="", count=2), "card", {"thing": "fox", "greeting": "rain"})
    assert open_one == ImageRequest(
        prompt="Calm card with 3 foxs {in braces} { alone",
        count=2,
        negative_prompt="no rain",
        style="watercolor",
        shape=AspectRatio(width=16, height=9),
        quality="no",
        background="transparent",
        output_format="png",
    )
    size = Size(width=64, height=64)
    said = ImageRequest(prompt="At night.", style="ink", shape=size, quality="high", background="opaque", output_format="webp", negative_prompt="fog")
    kept = await studio.library.from_template(ME, said, "card", {"thing": "fox"})
    assert kept.prompt == "Calm card with 3 foxs {in braces} { alone At night."
    assert (kept.style, kept.shape, kept.quality, kept.background, kept.output_format, kept.negative_prompt) == (
        *("ink", size, "high", "opaque", "webp"),
        "fog",
    )


async def test_whoever_names_a_service_gets_that_one(studio: Studio, tmp_path: Path) -> None:
    write(tmp_path, "templates", "with_model.yaml", "prompt: a fox\nmodel: openai/gpt-image-2")
    named = await studio.library.from_template(ME, ImageRequest(prompt=""), "with_model", {})
    assert (named.provider, named.model) == ("openai", "gpt-image-2")
    other = await studio.library.from_template(ME, ImageRequest(prompt="", provider="easel"), "with_model", {})
    assert (other.provider, other.model) == ("easel", None)


async def test_a_template_is_drawn(studio: Studio, easel: Easel) -> None:
    request = await studio.library.from_template(ME, ImageRequest(prompt=""), "product_photo", {"product": "a blue teapot"})
    job = await studio.generate(ME, request)
    assert len(job.images) == 1
    assert easel.asked[0].prompt.startswith("Studio product photograph of a blue teapot, placed on a seamless white background, lit by soft diffused")
