"""Pictures in a terminal: by the terminal's own picture protocol where it has one, as coloured half blocks elsewhere, and not at all where nobody looks."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Mapping

from anyio import to_thread

from ..models import Image
from ..studio import Studio

ROWS = 20
"""Lines of the terminal that a picture takes."""


async def show(studio: Studio, image: Image) -> None:
    """The picture on standard error, when that is a terminal with colours."""
    if not sys.stderr.isatty():
        return
    protocol = picture_protocol(os.environ)
    if protocol is None:
        return
    from ..pictures import pixels, to_png

    thumbnail = await studio.images.read(image, thumbnail=True)
    if protocol == "blocks":
        text = half_blocks(await to_thread.run_sync(pixels, thumbnail, 4 * ROWS, 2 * ROWS))
    else:
        png = await to_thread.run_sync(to_png, thumbnail)
        text = kitty(png) if protocol == "kitty" else iterm(png)
    sys.stderr.write(text)
    sys.stderr.flush()


def picture_protocol(environment: Mapping[str, str]) -> str | None:
    """`kitty`, `iterm` or `blocks`: what the terminal that the environment describes can show; None when nothing."""
    program, terminal = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if environment.get("KITTY_WINDOW_ID") or program == "ghostty" or "kitty" in terminal:
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "vscode"):
        return "iterm"
    if environment.get("NO_COLOR") or terminal in ("", "dumb"):
        return None
    return "blocks" if environment.get("COLORTERM") in ("truecolor", "24bit") or "256color" in terminal or "direct" in terminal else None


def kitty(png: bytes) -> str:
    """The picture in the kitty graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol/), in pieces of 4096 characters."""
    data = b64encode(png).decode()
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    last = len(pieces) - 1
    return (
        "".join(f"\x1b_G{f'a=T,f=100,r={ROWS},' if index == 0 else ''}m={int(index < last)};{piece}\x1b\\" for index, piece in enumerate(pieces))
        + "\n"
    )


def iterm(png: bytes) -> str:
    """The picture as iTerm2 and others take it (https://iterm2.com/documentation-images.html)."""
    return f"\x1b]1337;File=inline=1;height={ROWS};size={len(png)}:{b64encode(png).decode()}\a\n"


def half_blocks(rows: list[list[tuple[int, int, int]]]) -> str:
    """The picture as text, two pixels to a character: the upper in the letter's colour, the lower behind it."""
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=False):
        cells = (f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True))
        lines.append("".join(cells) + "\x1b[0m\n")
    return "".join(lines)
