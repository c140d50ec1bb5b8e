"""A picture in the sizes and files that websites and apps ask for."""

from __future__ import annotations

from io import BytesIO
from math import hypot

from PIL import Image as Pillow
from PIL import ImageOps

from .colours import checked_colour
from .conversion import encoded, opened
from .provenance import carried_over

_SAFE = 0.8
"""Diameter of the circle that every launcher shows of a maskable icon (https://www.w3.org/TR/appmanifest/#icon-masks)."""


def icon_set(data: bytes, *, ground: str = "white") -> dict[str, bytes]:
    """The files of a website's icons, by name.

    favicon.ico (16, 32 and 48 pixels), apple-touch-icon.png (180), icon-192.png and icon-512.png, icon-maskable-192.png and
    icon-maskable-512.png, and open-graph.jpg (1200x630) for links to the page. A picture that can be seen through is placed whole, without the
    empty room at its sides; of any other one the middle is used.

    Args:
        ground: the colour, in CSS words, behind what can be seen through, where an icon must be opaque.

    Raises:
        NotAPictureError: see `examine`; also a picture too large to be worked on.
        RequestError: the ground is no colour.
    """
    checked_colour(ground)
    picture = opened(data).pixels
    if picture.mode == "RGBA":
        picture = picture.crop(picture.getchannel("A").getbbox())
    made = {
        "apple-touch-icon.png": encoded(_laid(picture, (180, 180), 0.9, ground), "png"),
        "icon-192.png": encoded(_clear(picture, 192), "png"),
        "icon-512.png": encoded(_clear(picture, 512), "png"),
        "icon-maskable-192.png": encoded(_laid(picture, (192, 192), _in_circle(picture), ground), "png"),
        "icon-maskable-512.png": encoded(_laid(picture, (512, 512), _in_circle(picture), ground), "png"),
        "open-graph.jpg": encoded(_laid(picture, (1200, 630), 0.8, ground), "jpeg", quality=90),
    }
    return {"favicon.ico": _favicon(picture), **{name: carried_over(file, data) for name, file in made.items()}}


def _clear(picture: Pillow.Image, edge: int) -> Pillow.Image:
    """A square icon; transparent around a picture that can be seen through."""
    if picture.mode == "RGB":
        return ImageOps.fit(picture, (edge, edge), Pillow.Resampling.LANCZOS)
    return ImageOps.pad(picture, (edge, edge), Pillow.Resampling.LANCZOS, color=(0, 0, 0, 0))


def _laid(picture: Pillow.Image, size: tuple[int, int], share: float, ground: str) -> Pillow.Image:
    """An opaque icon; a picture that can be seen through takes a share of each edge, any other one the whole."""
    if picture.mode == "RGB":
        return ImageOps.fit(picture, size, Pillow.Resampling.LANCZOS)
    small = ImageOps.contain(picture, (max(1, int(size[0] * share)), max(1, int(size[1] * share))), Pillow.Resampling.LANCZOS)
    icon = Pillow.new("RGB", size, ground)
    icon.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2), small)
    return icon


def _in_circle(picture: Pillow.Image) -> float:
    """The share of a square's edge that the picture's longer edge may take, so that its corners lie in the safe circle."""
    return _SAFE * max(picture.size) / hypot(*picture.size)


def _favicon(picture: Pillow.Image) -> bytes:
    icons = [_clear(picture, edge) for edge in (48, 32, 16)]
    out = BytesIO()
    icons[0].save(out, "ICO", sizes=[icon.size for icon in icons], append_images=icons[1:])
    return out.getvalue()
