"""What the tests of Doubao share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_image_server.models import Adjustment, Generated, ImageRequest, Model, Picture, Size
from mcp_image_server.net import Net, Timeouts, Tries
from mcp_image_server.providers.doubao import Config, Doubao, service
from mcp_image_server.providers.doubao.models import MODELS
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.doubao import FakeDoubao, Trouble
from ..service import drawn_by

PRO, FLASH, LITE, V45, V40 = MODELS
SMALL = Size(width=1280, height=720)
CAT = ImageRequest(prompt="a cat")
TRIPTYCH = ImageRequest(prompt="a cat", count=3)
PNG = Picture(data=b"\x89PNG", media_type="image/png", size=Size(width=1, height=1))
NUMBER_SAID = Adjustment(field="prompt", message="The model reads the number of pictures from the prompt, so it was written there.")

ALONE = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-4.5"}
V40_INSTEAD = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-4.0"}


def provider_at(fake: FakeDoubao, variables: Mapping[str, str] = ALONE, *, timeouts: Timeouts | None = None) -> Doubao:
    """The provider with its usual settings, shorter waits and, unless told otherwise, no second model."""
    config = parse(Config, {"DOUBAO_API_KEY": fake.key or "", "DOUBAO_ENDPOINT": fake.url, **variables})
    provider = Doubao(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeDoubao,
    request: ImageRequest = CAT,
    model: Model = V45,
    *,
    variables: Mapping[str, str] = ALONE,
    ear: Ear | None = None,
    timeouts: Timeouts | None = None,
) -> Generated:
    return await drawn_by(provider_at(fake, variables, timeouts=timeouts), request, model, ear)


REFUSED = "Doubao failed: The request failed because the output image may contain sensitive information."
LOST: list[tuple[Trouble, int, int, str]] = [
    # trouble, pictures that come, pictures on the bill, the word on it
    (Trouble.ONE_REFUSED, 2, 2, f"Picture 2 did not come: {REFUSED}"),
    (Trouble.ONE_BROKEN, 1, 1, "Picture 2 did not come: Doubao failed: The service encountered an unexpected internal error."),
    (Trouble.ONE_LINK_DEAD, 2, 3, "Picture 2 did not come: The picture's link from Doubao (127.0.0.1) answered 403."),
    (Trouble.STREAM_BREAKS, 1, 1, "1 of 3 pictures came: Doubao failed: The service encountered an unexpected internal error."),
    (Trouble.STREAM_CUT, 1, 1, "1 of 3 pictures came: Doubao at 127.0.0.1 broke the connection"),
    (Trouble.STREAM_SHORT, 1, 1, "1 of 3 pictures came: Doubao ended its answer before the picture was complete."),
    (Trouble.STREAM_GARBLED, 1, 1, "1 of 3 pictures came: Doubao answered with "),
]


def said(body: dict[str, Any]) -> dict[str, Any]:
    """A body without the keys that Ark's library sends as null."""
    return {name: value for name, value in body.items() if value is not None}
