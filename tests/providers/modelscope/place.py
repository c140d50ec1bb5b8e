"""What the tests of ModelScope share."""

from __future__ import annotations

from functools import partial

from mcp_image_server.models import Generated, ImageRequest, Model, Picture, Size
from mcp_image_server.net import Net, Timeouts, Tries
from mcp_image_server.providers.modelscope import DEFAULT_MODEL, MODELS, Config, ModelScope, service
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.modelscope import FakeModelScope, Trouble
from ...fakes.server import picture
from ..service import drawn_by, known_in

TOKEN = "MODELSCOPE_SDK_TOKEN"
CAT = ImageRequest(prompt="a cat", polling={"interval": 0.01})
PHOTO = Picture(data=picture(64, 64, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=64))
DRAWING = Picture(data=picture(32, 32), media_type="image/png", size=Size(width=32, height=32))
known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)
EDITOR = known("Qwen/Qwen-Image-Edit-2511")


def provider_at(fake: FakeModelScope, *, timeouts: Timeouts | None = None, **variables: str) -> ModelScope:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {TOKEN: fake.token or "", "MODELSCOPE_BASE_URL": fake.url, **variables})
    provider = ModelScope(config, burst_pause=0.001)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeModelScope, request: ImageRequest = CAT, *, model: Model = MODEL, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model, ear)


def calls(fake: FakeModelScope) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


FULL = ImageRequest(
    prompt="a cat",
    negative_prompt="dogs",
    shape=Size(width=1664, height=928),
    seed=7,
    options={"steps": 30, "guidance": 4.0, "loras": {"org/a": 0.6, "org/b": 0.4}},
    polling={"interval": 0.01},
)

HARMLESS = (Trouble.NUMBER_ID, Trouble.MORE_FIELDS, Trouble.ODD_STATE, Trouble.SUCCESS, Trouble.LOOK_500, Trouble.LOOK_QUOTA)
