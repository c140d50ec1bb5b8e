"""Words in pictures, English or Chinese: which font has the letters, and how they fit into a place."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONT = Path(__file__).parent / "assets" / "ZCOOLKuaiLe-Regular.ttf"
"""All of GB 2312 and Latin letters; the one that Pillow brings has ASCII and little else."""

_NO_CHARACTER = "\U0010fffe"


@cache
def font(size: int) -> FreeTypeFont:
    """The font with Chinese characters at a size in pixels; playful."""
    from PIL import ImageFont

    return ImageFont.truetype(FONT, max(4, size), layout_engine=ImageFont.Layout.BASIC)


@cache
def plain_font(size: int) -> FreeTypeFont:
    """Pillow's own font at a size in pixels; sober, and for ASCII only."""
    from PIL import ImageFont

    found = ImageFont.load_default(max(4, size))
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def font_for(text: str, size: int) -> FreeTypeFont:
    """The soberest font that has every letter of the text."""
    return plain_font(size) if text.isascii() else font(size)


@cache
def _missing() -> bytes:
    return bytes(font(24).getmask(_NO_CHARACTER))


@cache
def _has(character: str) -> bool:
    """Whether the font shows the character, found by drawing it: what it lacks all looks the same."""
    return bytes(font(24).getmask(character)) != _missing()


def showable(text: str) -> str:
    """The text with what the font cannot show left out, and spaces made single."""
    return " ".join("".join(c if c.isprintable() and _has(c) else " " for c in text).split())


def _pieces(text: str) -> list[str]:
    """What may not be broken across lines: a Latin word, or one Chinese character with the punctuation after it."""
    pieces: list[str] = []
    word = ""
    for c in text:
        if c in "，。！？、：；）》”,.!?:;)" and not word and pieces:
            pieces[-1] += c
        elif c == " " or unicodedata.east_asian_width(c) == "W":
            pieces += [word, c] if word else [c]
            word = ""
        else:
            word += c
    return [*pieces, word] if word else pieces


def wrapped(text: str, face: FreeTypeFont, width: float) -> list[str]:
    """Lines of at most that many pixels; a single long word may stick out."""
    lines, line = [], ""
    for piece in _pieces(text):
        if line and face.getlength(line + piece) > width:
            lines.append(line.strip())
            line = ""
        line += piece
    return [*lines, line.strip()] if line.strip() else lines


def shortened(text: str, face: FreeTypeFont, width: float) -> str:
    """The text in at most that many pixels, with three dots where its end is missing."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}...") > width:
        text = text[:-1].rstrip()
    return f"{text}..."
