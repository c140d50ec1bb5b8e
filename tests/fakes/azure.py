"""A server with the wire shape of OpenAI's image interface as Azure serves it: other addresses, another header, some errors of its own.

`python -m tests.fakes.azure --port 9006` runs it by hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .openai import CLASSIC, FLEXIBLE, FakeOpenAI

VERSION = "2025-04-01-preview"


class FakeAzure(FakeOpenAI):
    """Azure OpenAI on a port of this machine; `url` is what goes into AZURE_OPENAI_ENDPOINT.

    `deployments` are names to models. `filtered` on: the next prompt is turned away by the resource's own filter.
    `blocked` on: all are, since too many were.
    """

    def __init__(self, *, port: int = 0, key: str | None = "azure-fake-0123456789") -> None:
        self.filtered = False
        self.blocked = False
        super().__init__(port=port, key=key)
        self.deployments = {"drawing": "gpt-image-2", **{name: name for name in (*FLEXIBLE, *CLASSIC)}}

    def reset(self) -> None:
        """Forget requests, troubles and the filter."""
        super().reset()
        self.filtered = self.blocked = False

    def _routes(self) -> list[Route]:
        return [
            Route("/openai/models", self._models),
            Route("/openai/deployments/{deployment}/images/{work}", self._deployed, methods=["POST"]),
        ]

    def _refuse_key(self, request: Request) -> Response | None:
        if self.key is not None and request.headers.get("api-key") != self.key:
            return failure(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")
        if request.query_params.get("api-version") != VERSION:
            return failure(404, "404", "Resource not found")
        return None

    async def _deployed(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        if request.path_params["deployment"] not in self.deployments:
            return failure(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
        if self.blocked:
            words = "This resource has been temporarily blocked because we detected behavior that may violate our content policy."
            return failure(403, "Forbidden", words)
        if self.filtered:
            self.filtered = False
            found = {"violence": {"filtered": True, "severity": "medium"}, "hate": {"filtered": False, "severity": "safe"}}
            inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": found}
            return failure(400, "contentFilter", "Your task failed as a result of our safety system.", inner)
        return await self._draw(request)


def failure(status: int, code: str, message: str, inner: Mapping[str, object] | None = None) -> Response:
    """An error in Azure's shape."""
    error = {"code": code, "message": message, **({"inner_error": inner} if inner else {})}
    return JSONResponse({"error": error}, status, {"apim-request-id": "req_azure"})


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake Azure OpenAI image service.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    given = arguments.parse_args()
    fake = FakeAzure(port=given.port, key=given.key)
    print(f"AZURE_OPENAI_ENDPOINT={fake.url}", flush=True)
    fake.run()
