"""What the tests of Tencent share."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mcp_image_server.models import Generated, ImageRequest, Picture, Size
from mcp_image_server.net import Net, Pace, Timeouts, Tries
from mcp_image_server.providers.hunyuan import Config, Hunyuan, service
from mcp_image_server.providers.hunyuan.models import WAYS, Way
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.hunyuan import FakeHunyuan
from ...fakes.server import picture
from ..service import drawn_by

WAY = {way.model.id: way for way in WAYS}
IMAGE, V3, LITE, CHAT = (WAY[name] for name in ("hunyuan-image", "hunyuan-image-3.0", "hunyuan-image-lite", "hunyuan-image-chat"))
HUB, HUB_35, HUB_LITE = (WAY[name] for name in ("hy-image-v3", "hy-image-v3.5-preview", "hy-image-lite"))
CAT = ImageRequest(prompt="a cat")
PHOTO = Picture(data=picture(64, 64), media_type="image/png", size=Size(width=64, height=64))
PHOTO_64 = base64.b64encode(PHOTO.data).decode()
AT_ONCE = Pace(first=0.001, factor=1, longest=0.001, deadline=10)
NO_QUEUE = replace(AT_ONCE, deadline=0)


def variables(fake: FakeHunyuan, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "TENCENT_SECRET_ID": fake.secret_id,
        "TENCENT_SECRET_KEY": fake.secret_key,
        "TENCENT_ENDPOINT": fake.url,
        "TENCENT_TOKENHUB_API_KEY": fake.hub_key,
        "TENCENT_TOKENHUB_ENDPOINT": fake.url,
        **more,
    }


def provider_at(fake: FakeHunyuan, more: Mapping[str, str] | None = None, *, queueing: Pace = NO_QUEUE, timeouts: Timeouts | None = None) -> Hunyuan:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, variables(fake, more or {}))
    provider = Hunyuan(config, looking=AT_ONCE, queueing=queueing)
    for name in provider._nets:
        provider._nets[name] = Net(service(config, name), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeHunyuan, way: Way = IMAGE, request: ImageRequest = CAT, *, ear: Ear | None = None, queueing: Pace = NO_QUEUE, slow: bool = True
) -> Generated:
    return await drawn_by(provider_at(fake, queueing=queueing, timeouts=None if slow else Timeouts(read=0.2)), request, way.model, ear)


def actions(fake: FakeHunyuan) -> list[str]:
    return [seen.headers.get("x-tc-action") or seen.path for seen in fake.seen]


SIGNED = {"TENCENT_SECRET_ID": "AKID0123", "TENCENT_SECRET_KEY": "secret0123"}
HUB_ONLY = {"TENCENT_TOKENHUB_API_KEY": "sk-hub"}

WISH = ImageRequest(prompt="雨中, 竹林", negative_prompt="人", shape=Size(width=768, height=1024), seed=7)
BODIES: list[tuple[Way, ImageRequest, dict[str, Any]]] = [
    (IMAGE, CAT, {"Prompt": "a cat", "Num": 1, "Revise": 1, "LogoAdd": 0}),
    (
        IMAGE,
        replace(WISH, style="shuimo", count=2, options={"LogoAdd": 1, "Clarity": "x2"}),
        {
            "Prompt": "雨中, 竹林",
            "NegativePrompt": "人",
            "Style": "shuimo",
            "Resolution": "768:1024",
            "Num": 2,
            "Seed": 7,
            "Revise": 0,
            "LogoAdd": 1,
            "Clarity": "x2",
        },
    ),
    (
        IMAGE,
        replace(CAT, images=(PHOTO,)),
        {"Prompt": "a cat", "Num": 1, "Revise": 1, "ContentImage": {"ImageBase64": PHOTO_64}, "LogoAdd": 0},
    ),
    (V3, CAT, {"Prompt": "a cat", "Revise": 1, "LogoAdd": 0}),
    (
        V3,
        replace(CAT, shape=Size(width=512, height=1024), seed=7, images=(PHOTO, PHOTO)),
        {"Prompt": "a cat", "Resolution": "512:1024", "Seed": 7, "Revise": 0, "Images": [PHOTO_64, PHOTO_64], "LogoAdd": 0},
    ),
    (LITE, CAT, {"Prompt": "a cat", "Style": "000", "LogoAdd": 0, "RspImgType": "base64"}),
    (
        LITE,
        replace(WISH, seed=None, style="riman"),
        {"Prompt": "雨中, 竹林", "NegativePrompt": "人", "Style": "201", "Resolution": "768:1024", "LogoAdd": 0, "RspImgType": "base64"},
    ),
    (CHAT, replace(CAT, options={"ChatId": "12"}), {"Prompt": "a cat", "LogoAdd": 0, "ChatId": "12"}),
    (HUB, CAT, {"model": "hy-image-v3", "prompt": "a cat", "revise": True}),
    (
        HUB,
        replace(CAT, shape=Size(width=768, height=1024), seed=7, images=(PHOTO,), options={"footnote": "AI"}),
        {"model": "hy-image-v3", "prompt": "a cat", "images": [PHOTO_64], "size": "768x1024", "seed": 7, "revise": False, "footnote": "AI"},
    ),
    (
        HUB_35,
        replace(CAT, shape=Size(width=4096, height=4096), seed=7, images=(PHOTO,)),
        {
            "model": "hy-image-v3.5-preview",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a cat"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PHOTO_64}"}},
                    ],
                }
            ],
            "size": "4096x4096",
            "seed": 7,
        },
    ),
    (
        HUB_LITE,
        WISH,
        {
            "model": "hy-image-lite",
            "prompt": "雨中, 竹林",
            "negative_prompt": "人",
            "resolution": "768:1024",
            "seed": 7,
            "logo_add": 0,
            "rsp_img_type": "url",
        },
    ),
]
