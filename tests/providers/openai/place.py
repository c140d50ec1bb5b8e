"""What the tests of OpenAI share."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

from PIL import Image

from mcp_image_server.models import Generated, ImageRequest, Picture, Size, find_model
from mcp_image_server.net import Net, Timeouts, Tries
from mcp_image_server.providers.openai import Config, OpenAI, service
from mcp_image_server.providers.openai.models import DEFAULT_MODEL, MODELS
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.openai import FakeOpenAI
from ...fakes.server import picture

MODEL = find_model(MODELS, DEFAULT_MODEL)
assert MODEL is not None
CAT = ImageRequest(prompt="a cat")


def painted(width: int = 64, height: int = 48, format: str = "png") -> Picture:  # noqa: A002  # Pillow's own word
    return Picture(data=picture(width, height, format), media_type=f"image/{format}", size=Size(width=width, height=height))


def with_hole(format: str = "png") -> Picture:  # noqa: A002
    """A mask that leaves the middle open."""
    file = BytesIO()
    mask = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (16, 12, 48, 36))
    mask.save(file, format.upper(), lossless=True)
    return Picture(data=file.getvalue(), media_type=f"image/{format}", size=Size(width=64, height=48))


HAT = ImageRequest(prompt="a hat", images=(painted(),))
PATCH = replace(HAT, images=(painted(), painted(32, 32, "jpeg")), mask=with_hole())


def provider_at(fake: FakeOpenAI, *, timeouts: Timeouts | None = None, **variables: str) -> OpenAI:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"OPENAI_API_KEY": fake.key or "", "OPENAI_BASE_URL": fake.base_url, **variables})
    provider = OpenAI(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeOpenAI, request: ImageRequest = CAT, *, previews: int = 0, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    provider = provider_at(fake, timeouts=timeouts, OPENAI_PARTIAL_IMAGES=str(previews))
    try:
        assert MODEL is not None
        return await provider.generate(request, MODEL, ear or Ear())
    finally:
        await provider.aclose()


FULL = ImageRequest(
    prompt="a cat",
    count=2,
    shape=Size(width=1536, height=864),
    quality="low",
    background="opaque",
    output_format="webp",
    output_compression=80,
    moderation="low",
    options={"user": "u1"},
)
