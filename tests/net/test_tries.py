from __future__ import annotations

import pytest
from starlette.responses import JSONResponse, Response

from mcp_image_server.errors import ProviderError, RateLimitedError

from ..fakes.server import Scripted
from .acme import again, net_to

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "first", "calls"),
    [
        ("POST", again({"retry-after": "0"}), 2),
        ("POST", again(), 2),
        ("POST", again({"retry-after": "3600"}), 1),
        ("POST", again({"retry-after": "0"}, 503), 2),
        ("POST", again(status=503), 1),
        ("POST", again(status=500), 1),
        ("GET", again(status=500), 2),
        ("GET", again(status=400), 1),
    ],
)
async def test_only_what_was_not_accepted_or_costs_nothing_is_tried_again(method: str, first: Response, calls: int) -> None:
    with Scripted(first, JSONResponse({"ok": True})) as server:
        net = net_to(server)
        if calls == 1:
            with pytest.raises(ProviderError, match="busy"):
                await net.send(method, "x")
        else:
            assert (await net.send(method, "x")).json() == {"ok": True}
        await net.aclose()
    assert len(server.seen) == calls


async def test_tries_end_and_the_last_failure_comes_out() -> None:
    with Scripted(again({"retry-after": "0"})) as server:
        net = net_to(server)
        with pytest.raises(RateLimitedError):
            await net.send("POST", "x")
        await net.aclose()
    assert len(server.seen) == 3
