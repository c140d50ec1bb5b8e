"""Pictures that go into a request."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from mcp_image_server.models import Picture, Size

from ..fakes.server import picture


def png(width: int = 64, height: int = 64) -> Picture:
    """An input picture of that size."""
    return Picture(data=picture(width, height), media_type="image/png", size=Size(width=width, height=height))


def hole() -> Picture:
    """A mask of 64 by 64 pixels that is open in its left half."""
    image = Image.new("RGBA", (64, 64), "black")
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    out = BytesIO()
    image.save(out, "PNG")
    return Picture(data=out.getvalue(), media_type="image/png", size=Size(width=64, height=64))
