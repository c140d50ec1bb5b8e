"""The walk in the documents, step by step, as it is written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from typer.testing import CliRunner

from mcp_image_server.surfaces.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "walk.md"


def pixels(name: str) -> Image.Image:
    with Image.open(name) as picture:
        return picture.convert("RGB")


@pytest.mark.long
def test_every_step_leads_to_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said, first = {}, ""
    for line in re.findall(r"^mcp-image-server (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line)
        if "--again" in words:
            words[words.index("--again") + 1] = first
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, (line, result.output)
        first = first or Path(result.stdout.strip()).stem.rpartition("_")[2]
        said[" ".join(words[:2])] = result.output
    before, boat = pixels("lighthouse.png"), pixels("boat.png")
    assert before.size == boat.size == (768, 512)
    left, top, right, bottom = ImageChops.difference(before, boat).getbbox() or (0, 0, 0, 0)
    assert left >= 76
    assert top >= 307
    assert right <= 308
    assert bottom <= 461
    assert pixels("spring.png").size == boat.size
    assert "a lighthouse on a cliff" in " ".join(said["history search"].split())
    assert first in said["history search"]
    assert pixels("large.png").size == (1536, 1024)
    small = pixels("large.png").resize(before.size)
    assert max(ImageStat.Stat(ImageChops.difference(before, small)).mean) < 12
    assert pixels("sheet.jpg").width > 600
    assert said["jobs"].count("succeeded") == 6
