"""One service to test with, and ways to it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from mcp_image_server.errors import ProviderError
from mcp_image_server.net import Net, Service, Timeouts, Tries
from mcp_image_server.net.failures import failure_of

from ..fakes.server import Scripted

KEY = "sk-very-secret-0123456789"
ACME = Service(
    provider="acme",
    title="Acme",
    base_url="http://127.0.0.1:1/v1",
    headers={"X-Key": KEY},
    secrets=(KEY,),
    key_variable="ACME_API_KEY",
    url_variable="ACME_BASE_URL",
)
QUICK = Tries(first_wait=0.001)


def net_to(server: Scripted | str, *, timeouts: Timeouts | None = None, **facts: Any) -> Net:
    url = server if isinstance(server, str) else f"{server.url}/v1"
    return Net(replace(ACME, base_url=url, **facts), timeouts=timeouts, tries=QUICK)


def again(headers: dict[str, str] | None = None, status: int = 429) -> Response:
    return JSONResponse({"message": "busy"}, status, headers=headers)


def fails(status: int, body: Any = b"", headers: dict[str, str] | None = None, **facts: Any) -> ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure_of(replace(ACME, **facts), status, headers or {}, raw, paid=True)


class Task(BaseModel):
    id: str
