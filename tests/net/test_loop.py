from __future__ import annotations

import pytest
from starlette.responses import JSONResponse

from mcp_image_server.net import File, Net, Service

from ..fakes.server import Scripted
from ..loop import HELD, steps_of_the_loop

pytestmark = pytest.mark.anyio

SOME_PICTURES = "A" * 20_000_000
"""In base64."""


def signed(method: str, url: str, body: bytes) -> dict[str, str]:
    return {"X-Length": str(len(body))}


async def test_a_long_body_is_written_signed_and_sent_beside_the_loop_and_arrives_whole() -> None:
    with Scripted(JSONResponse({"ok": True})) as server:
        net = Net(Service(provider="acme", title="Acme", base_url=server.url, sign=signed))
        await net.send("POST", "draw", json={})  # which imports the client: jobs do that in a thread
        picture = File(name="a.png", media_type="image/png", data=SOME_PICTURES.encode())
        for _ in range(3):
            with steps_of_the_loop() as steps:
                await net.send("POST", "draw", json={"images": [SOME_PICTURES]})
                await net.send("POST", "draw", parts=[("image", picture)])
            if not steps.over(HELD):
                break
        await net.aclose()
    assert steps.over(HELD) == {}
    first, second = server.seen[-2:]
    assert first.json() == {"images": [SOME_PICTURES]}
    assert first.headers["x-length"] == first.headers["content-length"] == str(len(first.body))
    assert "transfer-encoding" not in first.headers
    assert len(second.body) > len(SOME_PICTURES)
