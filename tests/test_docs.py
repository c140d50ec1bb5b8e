"""The documents are true: links lead somewhere, commands exist, generated parts are up to date, and codes and settings are all there."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mcp_image_server import __version__
from mcp_image_server.settings import OBSOLETE, Settings
from mcp_image_server.surfaces.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LANGUAGES = ("README.md", "README.zh-CN.md")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of that language on the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What can stand behind `#` in a link to the page."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_inside_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


COMMAND = re.compile(r"(?<![\w/-])mcp-image-server(?: [^)`|;#\n]*)?")


@every_page
def test_every_command_can_be_called_as_it_is_written(page: Path) -> None:
    for line in "\n".join(blocks(page, "bash")).replace('"$(', "").replace(')"', "").splitlines():
        for command in COMMAND.findall(line.replace("image-gen-mcp-server mcp-image-server", "mcp-image-server")):
            check_command(shlex.split(command)[1:])


@every_page
def test_every_command_that_is_spoken_of_exists(page: Path) -> None:
    for command in re.findall(r"`mcp-image-server ([^`]+)`", text_of(page)):
        found, rest = find_command(shlex.split(command))
        takes_words = any(each.param_type_name == "argument" for each in found.params)
        assert rest == [] or rest[0].startswith("-") or takes_words


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words behind it."""
    command: Any = get_command(app)
    while isinstance(command, TyperGroup) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check_command(words: list[str]) -> None:
    """Passes when the command line takes these words."""
    command, words = find_command(words)
    if isinstance(command, TyperCommand):
        command.make_context("mcp-image-server", words)
    else:
        assert words in ([], ["--version"], ["--help"])


@every_page
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@every_page
def test_make_is_asked_for_nothing_it_does_not_have(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    asked = re.findall(r"(?:^|`)make((?: [a-z]+)+)", text_of(page), re.MULTILINE)
    assert {target for words in asked for target in words.split()} <= targets


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_door_is_short(name: str) -> None:
    assert len(text_of(ROOT / name).splitlines()) <= 150


def test_both_languages_show_the_same() -> None:
    english, chinese = (ROOT / name for name in LANGUAGES)
    assert len(re.findall(r"^## ", text_of(english), re.MULTILINE)) == len(re.findall(r"^## ", text_of(chinese), re.MULTILINE))
    assert blocks(english, "json") == blocks(chinese, "json")
    linked = [{link for link in re.findall(r"\]\(([^)]+)\)", text_of(page)) if "README" not in link} for page in (english, chinese)]
    assert linked[0] == linked[1]


def test_pictures_are_light() -> None:
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.stat().st_size > 150_000]
    assert pictures == []


def test_the_generated_parts_are_up_to_date() -> None:
    pages: Callable[[], dict[Path, str]] = runpy.run_path(str(ROOT / "tools" / "make_docs.py"))["pages"]
    stale = [path.relative_to(ROOT).as_posix() for path, text in pages().items() if text_of(path) != text]
    assert stale == [], "run `make docs`"


def test_every_code_of_a_failure_is_explained() -> None:
    source = "\n".join(text_of(path) for path in (ROOT / "src").rglob("*.py"))
    codes = set(re.findall(r'(?:\bcode="|\bfailed\("|default_code = "|default_code: ClassVar\[str\] = ")([a-z_]+)"', source))
    page = text_of(ROOT / "docs" / "errors.md")
    assert sorted(code for code in codes if f"| `{code}` |" not in page) == []


def test_every_variable_that_is_named_exists() -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    named = {name for page in PAGES for name in re.findall(r"\bMCP_[A-Z_]+\b", text_of(page))}
    assert sorted(named - known - OBSOLETE.keys()) == []


def test_this_version_stands_in_the_changes() -> None:
    assert f"\n## {__version__}\n" in text_of(ROOT / "CHANGELOG.md")
