"""Named styles: every one works with every model, and people's own go before all others."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_image_server.library import FOLDER, Library
from mcp_image_server.library.styles import STYLES
from mcp_image_server.models import Caller, ImageRequest, Style
from mcp_image_server.negotiate import language_of
from mcp_image_server.providers import catalogues
from mcp_image_server.studio import Studio
from tests.conftest import studio_with
from tests.easel import MODEL, Easel

pytestmark = pytest.mark.anyio

ME = Caller()
SAY_NOTHING = {"natural", "general"}


def write(folder: Path, kind: str, name: str, text: str) -> Path:
    path = folder / FOLDER / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


async def written(studio: Studio, prompt: str, style: str) -> str:
    """The prompt as a model without styles would get it."""
    return (await studio.estimate(ME, ImageRequest(prompt=prompt, style=style))).plan.request.prompt


@pytest.mark.parametrize("provider", ["hunyuan", "openai", "doubao", "sketch"])
def test_every_style_people_know_has_words_in_both_languages(provider: str) -> None:
    assert catalogues()[provider].styles.keys() <= STYLES.keys()


def test_words_are_of_their_language() -> None:
    assert {key for key, style in STYLES.items() if not style.phrase} == SAY_NOTHING
    for key, style in STYLES.items():
        chinese, _, english = style.label.partition(" ")
        assert (key, bool(english), language_of(chinese)) == (key, True, "zh" if key != "3dxuanran" else "en")
        if style.phrase:
            assert (key, language_of(style.phrase), language_of(style.phrase_zh)) == (key, "en", "zh")


async def test_a_style_is_written_in_the_language_of_the_prompt(studio: Studio) -> None:
    watercolour = STYLES["watercolor"]
    assert await written(studio, "a red fox", "watercolor") == f"a red fox, {watercolour.phrase}"
    assert await written(studio, "一只红狐狸", "watercolor") == f"一只红狐狸，{watercolour.phrase_zh}"
    assert await written(studio, "A red fox.", "watercolor") == f"A red fox. {watercolour.phrase}"
    assert await written(studio, "一只红狐狸。", "watercolor") == f"一只红狐狸。{watercolour.phrase_zh}"


async def test_a_provider_says_what_its_own_styles_mean(studio: Studio) -> None:
    assert await written(studio, "a red fox", "ink") == "a red fox, ink wash"


async def test_a_style_that_asks_for_nothing_changes_nothing(studio: Studio) -> None:
    plan = (await studio.estimate(ME, ImageRequest(prompt="a red fox", style="natural"))).plan
    assert plan.request.prompt == "a red fox"
    assert [adjustment.message for adjustment in plan.adjustments] == [
        "'natural' is no setting of easel-1; it asks for nothing that the prompt does not say."
    ]


async def test_the_working_directory_goes_before_the_picture_folder_and_both_before_what_comes_along(studio: Studio, tmp_path: Path) -> None:
    write(tmp_path / "pictures", "styles", "all.yaml", "watercolor: {phrase: theirs}\nhouse: {phrase: of the folder}\nauto_no: {phrase: no}\n")
    write(tmp_path, "styles", "b.yml", "house:\n  label: 自家 House\n  phrase: of the project\n  phrase_zh: 项目的风格\n")
    write(tmp_path, "styles", "empty.yaml", "# nothing yet\n")
    assert await written(studio, "a fox", "watercolor") == "a fox, theirs"
    assert await written(studio, "a fox", "house") == "a fox, of the project"
    assert await written(studio, "一只狐狸", "house") == "一只狐狸，项目的风格"
    assert await written(studio, "a fox", "auto_no") == "a fox, no"


async def test_ones_own_style_goes_before_what_the_service_understands_by_the_key(tmp_path: Path) -> None:
    easel = Easel()
    knows = replace(MODEL, styles=frozenset({"ink"}))
    easel.catalogue = replace(easel.catalogue, models=(knows,))
    async with studio_with({"easel": easel}, {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}) as studio:
        await studio.generate(ME, ImageRequest(prompt="a fox", style="ink"))
        write(tmp_path, "styles", "ink.yaml", "ink: {phrase: thick black ink}\n")
        await studio.generate(ME, ImageRequest(prompt="a fox", style="ink"))
    assert [(request.prompt, request.style) for request in easel.asked] == [("a fox", "ink"), ("a fox, thick black ink", None)]


async def test_a_changed_file_counts_from_the_next_call_on(studio: Studio, tmp_path: Path) -> None:
    assert dict(await studio.library.own_styles(ME)) == {}
    path = write(tmp_path, "styles", "a.yaml", "house: {phrase: first}\n")
    assert (await studio.library.own_styles(ME))["house"] == Style(key="house", label="house", phrase="first", source=path)
    path.write_text("house: {phrase: second one}\n")
    assert (await studio.library.own_styles(ME))["house"].phrase == "second one"
    path.unlink()
    assert dict(await studio.library.own_styles(ME)) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: x\nb: [\n", "line 3: "),
        ("- a\n- b\n", "the file: Input should be a valid dictionary"),
        ("house: {label: x}\n", "house → phrase: Field required"),
        ("house: {phrase: x, colour: y}\n", "house → colour: Extra inputs are not permitted"),
        ("my house: {phrase: x}\n", "'my house' is no name; use letters, digits, - and _, 64 at most"),
        ("openai:x: {phrase: x}\n", "'openai:x' is no name"),
        (f"house: {{phrase: {'x' * 300_000}}}\n", "it has more than 128 kB"),
        ("[" * 1200, "it is nested too deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "a: Input should be a valid dictionary"),
        ("house: {phrase: !!python/object/apply:os.getcwd []}\n", "house → phrase: Input should be a valid string"),
    ],
)
async def test_a_bad_file_is_reported_and_stops_nothing(
    studio: Studio, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    bad = write(tmp_path, "styles", "bad.yaml", text)
    write(tmp_path, "styles", "good.yaml", "house: {phrase: mine}\n")
    with caplog.at_level(logging.WARNING):
        assert await written(studio, "a fox", "house") == "a fox, mine"
        assert await written(studio, "a wolf", "house") == "a wolf, mine"
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{bad} was left out: ")
    assert words in told
    [check] = [check async for check in studio.upkeep.doctor(ME) if check.name == "library"]
    assert (check.ok, check.words) == (False, told)


def test_bytes_that_are_no_text_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path, "styles", "bad.yaml", "")
    path.write_bytes(b"\xff\xfe\x00")
    [problem] = Library(lambda: [tmp_path / FOLDER]).problems()
    assert str(path) in problem


def test_folders_that_are_not_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / FOLDER).write_text("in the way")
    assert Library(lambda: [tmp_path / "a" / FOLDER, tmp_path / "b" / FOLDER, Path("/")]).problems() == ()
