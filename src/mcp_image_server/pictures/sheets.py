"""Many pictures on one sheet, to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image as Pillow
from PIL import ImageDraw

from ..errors import RequestError
from .colours import on_ground, standard_colours, upright
from .conversion import encoded, workable_size
from .examining import NotAPictureError, decode
from .lettering import font_for, shortened, showable
from .provenance import carried_over
from .thumbnails import fitted

_PAPER, _FRAME, _INK = "#f4f4f2", "#e2e2de", "#222222"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture of a sheet, and the words beneath it."""

    data: bytes = field(repr=False)
    caption: str = ""


def contact_sheet(tiles: Sequence[Tile], columns: int = 4, edge: int = 256) -> bytes:
    """A JPEG of all pictures in rows, each whole within a square, with its caption in one line beneath. One that cannot be read is a crossed square.

    Labels that say how a picture came about are on the sheet, too.

    Args:
        columns: pictures in a row, at most.
        edge: pixels of each square.

    Raises:
        RequestError: no picture; or so many, so large, that the sheet could not be made.
    """
    if not tiles or columns < 1 or not 16 <= edge <= 2048:
        raise RequestError("A contact sheet needs a picture, a column, and an edge between 16 and 2048 pixels.")
    columns = min(columns, len(tiles))
    gap = max(4, edge // 16)
    letters = max(10, edge // 14)
    line = letters * 3 // 2 if any(tile.caption for tile in tiles) else 0
    rows = -(-len(tiles) // columns)
    size = workable_size(gap + columns * (edge + gap), gap + rows * (edge + line + gap))
    sheet = Pillow.new("RGB", (size.width, size.height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        left, top = gap + index % columns * (edge + gap), gap + index // columns * (edge + line + gap)
        pen.rectangle((left, top, left + edge - 1, top + edge - 1), fill=_FRAME)
        try:
            small = _small(tile.data, edge)
        except NotAPictureError:
            pen.line((left, top, left + edge - 1, top + edge - 1), fill=_PAPER, width=2)
            pen.line((left, top + edge - 1, left + edge - 1, top), fill=_PAPER, width=2)
        else:
            sheet.paste(small, (left + (edge - small.width) // 2, top + (edge - small.height) // 2))
        if words := showable(tile.caption):
            face = font_for(words, letters)
            pen.text((left + edge / 2, top + edge + line / 2), shortened(words, face, edge), font=face, fill=_INK, anchor="mm")
    return carried_over(encoded(sheet, "jpeg", quality=90), *(tile.data for tile in tiles))


def _small(data: bytes, edge: int) -> Pillow.Image:
    decoded = decode(data, edge=2 * edge)
    return on_ground(fitted(upright(standard_colours(decoded.pixels), decoded.orientation), edge), _FRAME)
