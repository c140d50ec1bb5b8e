"""A server with the wire shape of Hugging Face's hub and of its router with the inference providers behind it, and faults on demand."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture


def _serves(name: str, *, edits: bool = False, status: str = "live", **more: str) -> dict[str, str]:
    return {"status": status, "providerId": name, "task": "image-to-image" if edits else "text-to-image", **more}


SERVED: Mapping[str, Any] = {
    "acme/everywhere": {
        "groq": {"status": "live", "providerId": "x", "task": "conversational"},
        "nscale": _serves("acme/everywhere", status="error"),
        "fal-ai": _serves("fal-ai/flux/schnell"),
        "replicate": _serves("acme/flux"),
        "together": _serves("acme/FLUX.1-flux"),
        "wavespeed": _serves("acme/flux"),
        "zai-org": _serves("glm-image"),
    },
    "acme/edits": {
        "fal-ai": _serves("fal-ai/flux-kontext/dev", edits=True),
        "replicate": _serves("acme/kontext:0123abcd", edits=True),
        "together": _serves("acme/FLUX.1-kontext", edits=True),
        "wavespeed": _serves("acme/kontext", edits=True),
    },
    "acme/lora": {"fal-ai": _serves("fal-ai/lora", adapterWeightsPath="weights.safetensors")},
    "acme/listed": [{"provider": "together", **_serves("acme/listed")}],
    "acme/nobody": {},
    **{repo: {"replicate": _serves(repo.lower(), edits=True)} for repo in ("black-forest-labs/FLUX.1-Kontext-dev", "Qwen/Qwen-Image-Edit")},
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "fal-ai": ("prompt",),
    "hf-inference": ("inputs", "parameters"),
    "nscale": ("prompt", "model", "response_format"),
    "replicate": ("input",),
    "together": ("prompt", "model", "response_format"),
    "wavespeed": ("prompt",),
    "zai-org": ("prompt", "model"),
}
SEED = 42


class Trouble(StrEnum):
    """What the server can do to the next call, or to its task, instead of drawing."""

    NO_CREDITS = "the month's credits are used up"
    LOADING = "the model is being loaded"
    RATE_LIMITED = "too many requests"
    ERROR_500 = "internal error"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the answer"
    PAGE = "a web page with status 200"
    ODD = "an answer of an unknown form"
    ERROR_200 = "status 200 and an error"
    NO_PICTURES = "an empty list of pictures"
    KEY_ECHO = "an error that repeats the token"
    UNFIT = "a black picture, with a word on it"
    FAILED = "the task fails"
    BLOCKED = "the task is turned away by moderation"
    LOST = "the task is not found"
    NEVER = "the task is never done"


class FakeHuggingFace(Server):
    """Hub and router on one port of this machine; `url` is what goes into HF_ENDPOINT and HF_ROUTER_URL.

    `trouble` is a queue: each call of a model takes the first one from it. `looks` is how often a task is not done when looked at.
    """

    def __init__(self, *, token: str = "hf_fake0123456789") -> None:
        self.token = token
        self.looks = 0
        self.trouble: deque[Trouble] = deque()
        self._left = 0
        self._task_trouble: Trouble | None = None
        routes = [
            Route("/api/models/{repo:path}", self._model),
            Route("/api/whoami-v2", self._whoami),
            Route("/files/{name}", self._file),
            Route("/{partner}/{path:path}", self._call, methods=["POST"]),
            Route("/{partner}/{path:path}", self._look),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.looks = 0

    def _refuse(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return JSONResponse({"error": "Invalid username or password."}, 401)

    async def _whoami(self, request: Request) -> Response:
        return self._refuse(request) or JSONResponse({"type": "user", "name": "ada", "isPro": False})

    async def _model(self, request: Request) -> Response:
        repo = request.path_params["repo"]
        if (refusal := self._refuse(request)) is not None:
            return refusal
        if repo not in SERVED:
            return JSONResponse({"error": "Repository not found"}, 404)
        mapping = {"inferenceProviderMapping": SERVED[repo]} if request.query_params.get("expand") == "inferenceProviderMapping" else {}
        return JSONResponse({"_id": "6", "id": repo, **mapping})

    async def _file(self, request: Request) -> Response:
        return Response(picture(64, 64), media_type="image/png")

    async def _call(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        partner = request.path_params["partner"]
        body = await request.json()
        if missing := [name for name in NEEDED.get(partner, ("such a provider",)) if name not in body]:
            return JSONResponse({"detail": [{"loc": ["body", missing[0]], "msg": "Field required", "type": "missing"}]}, 422)
        self._left, self._task_trouble = self.looks, trouble
        if partner == "fal-ai" and request.query_params.get("_subdomain") != "queue":
            return JSONResponse({"error": "asked for the answer at once"}, 400)
        if partner == "hf-inference":
            return Response(picture(64, 64), media_type="image/png", headers={"x-request-id": "req_fake"})
        return JSONResponse(self._started(partner), 201 if partner == "replicate" else 200, headers={"x-request-id": "req_fake"})

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.NO_CREDITS:
                words = "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get more."
                return JSONResponse({"error": words}, 402)
            case Trouble.LOADING:
                return JSONResponse({"error": "Model acme/everywhere is currently loading", "estimated_time": 90.5}, 503)
            case Trouble.RATE_LIMITED:
                return JSONResponse({"error": "Too many requests"}, 429)
            case Trouble.ERROR_500:
                return JSONResponse({"error": "Internal Server Error"}, 500)
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"data": [{"b64_json": "iVBOR')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body>Welcome</body></html>", media_type="text/html")
            case Trouble.ODD:
                return JSONResponse({"outputs": []})
            case Trouble.ERROR_200:
                return JSONResponse({"error": {"message": "the model is asleep"}})
            case Trouble.NO_PICTURES:
                return JSONResponse({"data": [], "images": []})
            case Trouble.KEY_ECHO:
                return JSONResponse({"error": f"authorization {request.headers['authorization']} is odd"}, 400)
            case _:
                return None

    def _started(self, partner: str) -> Mapping[str, Any]:
        match partner:
            case "fal-ai":
                return {"status": "IN_QUEUE", "request_id": "764c", "response_url": "https://queue.fal.run/fal-ai/flux/requests/764c"}
            case "replicate":
                return self._state(partner) if not self._left else self._replicate("processing")
            case "wavespeed":
                return {"code": 200, "data": self._wavespeed("created")}
            case "zai-org":
                return {"id": "8353", "model": "glm-image", "task_status": "PROCESSING"}
            case _:
                return {"data": [{"b64_json": base64.b64encode(picture(64, 64)).decode()}]}

    def _replicate(self, status: str, **more: Any) -> dict[str, Any]:
        return {"id": "ufaw", "status": status, "urls": {"get": "https://api.replicate.com/v1/predictions/ufaw"}, "output": None, **more}

    def _wavespeed(self, status: str, **more: Any) -> dict[str, Any]:
        return {"id": "w1", "status": status, "urls": {"get": "https://api.wavespeed.ai/api/v3/predictions/w1/result"}, "outputs": [], **more}

    async def _look(self, request: Request) -> Response:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        partner, path = request.path_params["partner"], request.path_params["path"]
        expected = {
            "fal-ai": "fal-ai/flux/requests/764c",
            "replicate": "v1/predictions/ufaw",
            "wavespeed": "api/v3/predictions/w1/result",
            "zai-org": "api/paas/v4/async-result/8353",
        }
        if path.removesuffix("/status") != expected.get(partner) or self._task_trouble is Trouble.LOST:
            return JSONResponse({"detail": "Not found"}, 404)
        if partner == "fal-ai" and not path.endswith("/status"):
            unfit = self._task_trouble is Trouble.UNFIT
            if self._task_trouble is Trouble.BLOCKED:
                return JSONResponse({"detail": [{"msg": "The prompt was flagged by our content policy.", "type": "content_policy_violation"}]}, 422)
            return JSONResponse({"images": [{"url": f"{self.url}/files/1.png"}], "seed": SEED, "has_nsfw_concepts": [unfit]})
        return JSONResponse(self._state(partner))

    def _state(self, partner: str) -> Mapping[str, Any]:
        waiting, trouble = self._left > 0 or self._task_trouble is Trouble.NEVER, self._task_trouble
        self._left -= 1
        link = f"{self.url}/files/1.png"
        failure = {Trouble.FAILED: "out of memory", Trouble.BLOCKED: "NSFW content detected (E005)"}.get(trouble) if trouble else None
        match partner:
            case "fal-ai":
                return {"status": "IN_PROGRESS" if waiting else "COMPLETED", "response_url": "https://queue.fal.run/fal-ai/flux/requests/764c"}
            case "replicate":
                if waiting:
                    return self._replicate("processing")
                return self._replicate("failed", error=failure) if failure else self._replicate("succeeded", output=[link])
            case "wavespeed":
                if waiting:
                    return {"data": self._wavespeed("processing")}
                done = self._wavespeed("failed", error=failure) if failure else self._wavespeed("completed", outputs=[link])
                return {"data": {**done, "has_nsfw_contents": [trouble is Trouble.UNFIT]}}
            case _:
                if waiting:
                    return {"id": "8353", "task_status": "PROCESSING"}
                if failure:
                    return {"id": "8353", "task_status": "FAIL", "error": {"code": "1301", "message": failure}}
                return {"id": "8353", "task_status": "SUCCESS", "image_result": [{"url": link}]}
