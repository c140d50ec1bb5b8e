"""Pixels as everything else here wants them: upright, eight bits, RGB, or RGBA where anything can be seen through."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from PIL import Image as Pillow
from PIL import ImageColor

from ..errors import RequestError
from .examining import NotAPictureError

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What makes a picture upright, by the value of its EXIF orientation."""


def upright(picture: Pillow.Image, orientation: int) -> Pillow.Image:
    """The picture as its camera was held."""
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def screen_colours(picture: Pillow.Image) -> Pillow.Image:
    """RGB, or RGBA where anything can be seen through; numbers as they are, to be shown by the file's own colour profile."""
    picture = _eight_bits(picture)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    try:
        return picture if picture.mode == mode else picture.convert(mode)
    except ValueError as exc:
        raise NotAPictureError(f"the picture's colours ({picture.mode}) cannot be shown on a screen; save it as RGB") from exc


def standard_colours(picture: Pillow.Image) -> Pillow.Image:
    """RGB or RGBA in sRGB: what services and browsers take colours for when nobody tells them otherwise."""
    picture = _eight_bits(picture)
    if picture.mode == "P" and not is_standard(picture):
        picture = screen_colours(picture)  # a profile is for colours, not for their numbers in a palette
    if not is_standard(picture) and picture.mode in ("RGB", "RGBA", "L", "CMYK"):
        from PIL import ImageCms

        with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken profile: the colours are taken as they are
            source = ImageCms.ImageCmsProfile(BytesIO(picture.info["icc_profile"]))
            mode = "RGBA" if picture.mode == "RGBA" else "RGB"
            seen = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
            if seen is not None:
                picture = seen
    return screen_colours(picture)


def is_standard(picture: Pillow.Image) -> bool:
    """Whether the file's colours are meant as sRGB: it has no profile, or that one."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return True
    from PIL import ImageCms

    with suppress(ImageCms.PyCMSError, OSError, TypeError):
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).lower()
    return False


def on_ground(picture: Pillow.Image, colour: str = "white") -> Pillow.Image:
    """RGB: the picture on a ground of one colour, where it can be seen through."""
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    ground = Pillow.new("RGB", picture.size, colour)
    ground.paste(picture, mask=picture)
    return ground


def checked_colour(colour: str) -> str:
    """The words for a colour, when they are; the whole of CSS but what can be seen through.

    Raises:
        RequestError: they are not.
    """
    try:
        if len(ImageColor.getrgb(colour)) == 3:
            return colour
    except ValueError as exc:
        raise RequestError(f"{colour!r} is no colour; write a name such as white, or digits such as #ff8800.") from exc
    raise RequestError(f"{colour!r} can be seen through; name an opaque colour, or none for transparent.")


def _eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """Grey in sixteen or more bits as grey in eight: Pillow would cut off what is brighter than eight can say."""
    if picture.mode.startswith("I;16"):
        return picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode in ("I", "F"):
        brightest = max(0.0, *(float(value) for value in picture.getextrema() if isinstance(value, int | float)))
        white = next((white for white in (1, 255, 65_535) if brightest <= white), brightest)  # whichever scale the numbers are on
        return picture.point(lambda value: value * (255 / white)).convert("L")
    return picture
