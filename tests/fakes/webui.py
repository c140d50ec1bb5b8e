"""A server with the wire shape of AUTOMATIC1111's WebUI (Forge and SD.Next speak it too), and the faults of the true one on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .server import Server, picture

CHECKPOINTS = ["v1-5-pruned", "sd_xl_base_1.0"]
PREVIEW = picture(16, 16, "jpeg")

RULES: Mapping[str, type | tuple[type, ...]] = {
    "prompt": str,
    "negative_prompt": str,
    "width": int,
    "height": int,
    "seed": int,
    "steps": int,
    "n_iter": int,
    "batch_size": int,
    "cfg_scale": (int, float),
    "sampler_name": str,
    "do_not_save_grid": bool,
    "override_settings": dict,
    "init_images": list,
    "denoising_strength": (int, float),
    "resize_mode": int,
    "mask": str,
    "inpainting_fill": int,
    "inpaint_full_res": bool,
    "image": str,
    "upscaler_1": str,
    "upscaling_resize": (int, float),
    "upscaling_resize_w": int,
    "upscaling_resize_h": int,
}


class Trouble(StrEnum):
    """What the engine does with the next work."""

    HOLD = "draws until it is interrupted"
    GRID = "puts an overview before the pictures"
    NO_INFO = "says nothing about the pictures, as smaller engines do"
    ODD_INFO = "says something about them that is no JSON"
    NOTHING = "answers without a picture"
    NO_BASE64 = "sends text that is no picture"
    MEMORY = "runs out of memory"
    NO_API = "was started without --api"
    MORE_FIELDS = "fields nobody knows"


class FakeWebUI(Server):
    """The WebUI on a port of this machine. `trouble` is a queue: each work takes the first one from it."""

    def __init__(self, *, user: str = "me", password: str = "pass-0123456789") -> None:
        self.login = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        self.reset()
        routes = [
            Route("/sdapi/v1/txt2img", self._txt2img, methods=["POST"]),
            Route("/sdapi/v1/img2img", self._img2img, methods=["POST"]),
            Route("/sdapi/v1/extra-single-image", self._upscale, methods=["POST"]),
            Route("/sdapi/v1/progress", self._progress),
            Route("/sdapi/v1/interrupt", self._interrupt, methods=["POST"]),
            Route("/sdapi/v1/sd-models", lambda request: JSONResponse([{"title": f"{n}.safetensors [ab]", "model_name": n} for n in CHECKPOINTS])),
            Route(
                "/sdapi/v1/options", lambda request: JSONResponse({"sd_model_checkpoint": f"{CHECKPOINTS[0]}.safetensors [ab]", "samples_save": True})
            ),
        ]
        self._routes = Starlette(routes=routes)
        super().__init__(self._guarded)

    def reset(self) -> None:
        """Forget everything."""
        if hasattr(self, "seen"):
            self.seen.clear()
        self.trouble: deque[Trouble] = deque()
        self.broken_progress = False
        self.stop: asyncio.Event | None = None

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._routes
        if dict(scope["headers"]).get(b"authorization", b"").decode() != self.login:
            app = JSONResponse({"detail": "Incorrect username or password"}, 401, headers={"WWW-Authenticate": "Basic"})
        await app(scope, receive, send)

    async def _txt2img(self, request: Request) -> Response:
        return await self._draw(request, needs=("prompt",))

    async def _img2img(self, request: Request) -> Response:
        return await self._draw(request, needs=("prompt", "init_images"))

    async def _upscale(self, request: Request) -> Response:
        body = await request.json()
        if (refusal := refuse(body, needs=("image",))) is not None:
            return refusal
        return JSONResponse({"html_info": "<p>R-ESRGAN</p>", "image": text(picture(128, 128))})

    async def _draw(self, request: Request, *, needs: tuple[str, ...]) -> Response:
        body = await request.json()
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is Trouble.NO_API:
            return JSONResponse({"detail": "Not Found"}, 404)
        if (refusal := refuse(body, needs=needs)) is not None:
            return refusal
        checkpoint = body.get("override_settings", {}).get("sd_model_checkpoint", CHECKPOINTS[0])
        if checkpoint not in CHECKPOINTS:
            return JSONResponse({"error": "RuntimeError", "detail": "", "body": "", "errors": f"Unknown checkpoint: {checkpoint}"}, 500)
        if trouble is Trouble.HOLD:
            self.stop = asyncio.Event()
            await self.stop.wait()
        if trouble is Trouble.MEMORY:
            return JSONResponse({"error": "OutOfMemoryError", "detail": "", "body": "", "errors": "CUDA out of memory. Tried to allocate 9 GiB"}, 500)
        count, seed = body.get("n_iter", 1), body.get("seed", 5)
        images = [text(picture(body.get("width", 512), body.get("height", 512)))] * count
        facts: dict[str, Any] = {"all_seeds": [seed + number for number in range(count)], "sd_model_name": checkpoint, "index_of_first_image": 0}
        info = json.dumps(facts)
        match trouble:
            case Trouble.GRID:
                images, info = [text(picture(16, 16)), *images], json.dumps({**facts, "index_of_first_image": 1})
            case Trouble.NO_INFO:
                info = ""
            case Trouble.ODD_INFO:
                info = "Steps: 25"
            case Trouble.NOTHING:
                images = []
            case Trouble.NO_BASE64:
                images = ["§§§"]
        more = {"timing": {"total": 1}} if trouble is Trouble.MORE_FIELDS else {}
        return JSONResponse({"images": images, "parameters": body, "info": info, **more})

    async def _progress(self, request: Request) -> Response:
        if self.broken_progress:
            return JSONResponse({"error": "KeyError", "detail": "", "errors": "textinfo"}, 500)
        if self.stop is None:
            return JSONResponse(
                {"progress": 0.0, "eta_relative": 0.0, "state": {"job_count": 0, "sampling_step": 0, "sampling_steps": 0}, "current_image": None}
            )
        state = {"skipped": False, "interrupted": False, "job": "task(x)", "job_count": 1, "job_no": 0, "sampling_step": 7, "sampling_steps": 20}
        return JSONResponse({"progress": 0.35, "eta_relative": 12.3, "state": state, "current_image": text(PREVIEW), "textinfo": None})

    async def _interrupt(self, request: Request) -> Response:
        if self.stop is not None:
            self.stop.set()
        return JSONResponse({})


def refuse(body: Mapping[str, Any], *, needs: tuple[str, ...]) -> Response | None:
    """The answer to a body that breaks a rule; None for a good one."""
    missing = [{"loc": ["body", name], "msg": "field required", "type": "value_error.missing"} for name in needs if name not in body]
    wrong = [
        {"loc": ["body", name], "msg": f"value of {name} is not valid", "type": "type_error"}
        for name, value in body.items()
        if name in RULES and not isinstance(value, RULES[name])
    ]
    return JSONResponse({"detail": missing + wrong}, 422) if missing or wrong else None


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()
