"""Where in a picture: boxes and gravity, resolved to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from ..errors import RequestError
from ..models import Size

Gravity = Literal["center", "top", "bottom", "left", "right", "top_left", "top_right", "bottom_left", "bottom_right"]
"""What stays in view when something must go, and where something smaller is placed."""

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle, measured from the upper left corner: in pixels, or in fractions of the picture when no number exceeds 1."""

    x: float
    y: float
    width: float
    height: float

    def within(self, size: Size) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels; what lies outside of the picture is cut off.

        Raises:
            RequestError: nothing of it lies in the picture, or nobody can tell what it is measured in.
        """
        if not all(map(isfinite, (self.x, self.y, self.width, self.height))):
            raise RequestError("A box has four numbers: x, y, width and height.")
        if 1 < max(self.x, self.y, self.width, self.height) < 2:  # a fraction that is too large would be read as a pixel or two
            raise RequestError(
                f"The box at ({self.x:g}, {self.y:g}) of {self.width:g}x{self.height:g} is neither in pixels nor in fractions, which end at 1."
            )
        across, down = (size.width, size.height) if max(self.x, self.y, self.width, self.height) <= 1 else (1, 1)
        left, top = max(0, round(self.x * across)), max(0, round(self.y * down))
        right = min(size.width, round((self.x + self.width) * across))
        bottom = min(size.height, round((self.y + self.height) * down))
        if left >= right or top >= bottom:
            raise RequestError(
                f"The box at ({self.x:g}, {self.y:g}) of {self.width:g}x{self.height:g} holds nothing of the picture of {size}. "
                "Give pixels from its upper left corner, or fractions between 0 and 1."
            )
        return left, top, right, bottom


def placed(inner: tuple[int, int], outer: tuple[int, int], gravity: Gravity) -> tuple[int, int]:
    """Left and top of something that lies in something larger; both are given by width and height."""
    across, down = outer[0] - inner[0], outer[1] - inner[1]
    x = 0 if "left" in gravity else across if "right" in gravity else across // 2
    y = 0 if "top" in gravity else down if "bottom" in gravity else down // 2
    return x, y
