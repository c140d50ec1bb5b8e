"""Marks in a corner, so that people see how a picture came about or whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from PIL import Image as Pillow
from PIL import ImageDraw

from ..errors import RequestError
from .conversion import opened, scaled, workable_size
from .lettering import font_for, showable, wrapped
from .places import Corner, placed


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """A mark in a corner: words, such as `AI_LABELS` has, or a small picture."""

    mark: str | bytes = field(repr=False)
    corner: Corner = "bottom_right"
    opacity: float = 0.9
    """0 to 1."""
    height: float | None = None
    """Of the picture's shorter edge, 0 to 1; None: a twentieth for words, a sixth for a picture. A mark too wide for the picture becomes smaller."""


AI_LABELS = {"en": "AI-generated", "zh": "AI生成"}
"""Words that tell people how a picture came about. China's GB 45438-2025 wants letters at least a twentieth of the shorter edge high."""


def marked(picture: Pillow.Image, step: Watermark) -> Pillow.Image:
    """The picture with its mark.

    Raises:
        NotAPictureError: the mark is to be a picture, and is none.
        RequestError: a number out of its bounds, or words without a letter that can be drawn.
    """
    if not 0 <= step.opacity <= 1 or not (step.height is None or 0 < step.height <= 1):
        raise RequestError("The opacity of a watermark lies between 0 and 1, and so does its height, as a part of the picture's shorter edge.")
    edge = min(picture.size)
    margin = max(1, round(edge * 0.025))
    room = (max(1, picture.width - 2 * margin), max(1, picture.height - 2 * margin))
    if isinstance(step.mark, str):
        text, height = _written(step.mark, edge * (step.height or 1 / 20), room)
        mark = _lettered(text, height, step.corner, "white", "black")
        if picture.mode == "RGB" and _is_bright(picture.crop(_spot(mark, picture, step.corner, margin))):
            mark = _lettered(text, height, step.corner, "black", "white")
    else:
        mark = opened(step.mark).pixels.convert("RGBA")
        scale = min(edge * (step.height or 1 / 6) / mark.height, room[0] / mark.width, room[1] / mark.height)
        mark = scaled(mark, workable_size(max(1, mark.width * scale), max(1, mark.height * scale)))
    mark.putalpha(mark.getchannel("A").point(lambda level: level * step.opacity))
    at = _spot(mark, picture, step.corner, margin)[:2]
    picture = picture.copy()
    if picture.mode == "RGBA":  # the mark is opaque even where the picture can be seen through
        picture.alpha_composite(mark, at)
    else:
        picture.paste(mark, at, mark)
    return picture


def _spot(mark: Pillow.Image, picture: Pillow.Image, corner: Corner, margin: int) -> tuple[int, int, int, int]:
    """Where the mark goes: left, top, right and bottom."""
    left, top = placed(mark.size, picture.size, corner)
    left = max(0, left + (margin if "left" in corner else -margin))
    top = max(0, top + (margin if "top" in corner else -margin))
    return left, top, left + mark.width, top + mark.height


def _is_bright(part: Pillow.Image) -> bool:
    return part.convert("L").resize((1, 1), Pillow.Resampling.BOX).tobytes()[0] > 140


def _written(text: str, height: float, room: tuple[int, int]) -> tuple[str, int]:
    """The lines, and the size of their letters: as high as asked for, as far as there is room."""
    words = showable(text)
    if not words:
        raise RequestError(f"{text!r} has no letter that can be drawn; English and Chinese can.")
    top, bottom = font_for(words, 100).getbbox(words)[1::2]
    size = max(_SMALLEST, ceil(100 * height / (bottom - top)))
    while True:
        lines = "\n".join(wrapped(words, font_for(words, size), room[0]))
        left, top, right, bottom = _extent(lines, size)
        if size == _SMALLEST or (right - left <= room[0] and bottom - top <= room[1]):
            return lines, size
        size = max(_SMALLEST, size * 9 // 10)


_SMALLEST = 4
"""Pixels of a letter; below, there is nothing to be seen."""


def _extent(lines: str, size: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of letters with their rim."""
    pen = ImageDraw.Draw(Pillow.new("L", (1, 1)))
    return pen.multiline_textbbox((0, 0), lines, font=font_for(lines, size), stroke_width=_rim(size))


def _rim(size: int) -> int:
    return max(1, size // 12)


def _lettered(lines: str, size: int, corner: Corner, ink: str, rim: str) -> Pillow.Image:
    """The lines with a rim of the other brightness, on nothing."""
    left, top, right, bottom = _extent(lines, size)
    mark = Pillow.new("RGBA", (ceil(right - left), ceil(bottom - top)), (0, 0, 0, 0))
    ImageDraw.Draw(mark).multiline_text(
        (-left, -top),
        lines,
        font=font_for(lines, size),
        fill=ink,
        stroke_width=_rim(size),
        stroke_fill=rim,
        align="left" if "left" in corner else "right",
    )
    return mark
