"""A server with the wire shape of ComfyUI, and the faults of the true one on demand. It draws grey squares at once."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from .server import Server, picture

CHECKPOINTS = ["sd_xl_base_1.0.safetensors", "anime/dreams.safetensors"]

NODES: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "CheckpointLoaderSimple": {"ckpt_name": str},
    "EmptyLatentImage": {"width": int, "height": int, "batch_size": int},
    "LoadImage": {"image": str},
    "LoadImageMask": {"image": str, "channel": str},
    "VAEEncode": {"pixels": list, "vae": list},
    "RepeatLatentBatch": {"samples": list, "amount": int},
    "SetLatentNoiseMask": {"samples": list, "mask": list},
    "CLIPTextEncode": {"text": str, "clip": list},
    "KSampler": {
        "seed": int,
        "steps": int,
        "cfg": (int, float),
        "sampler_name": str,
        "scheduler": str,
        "denoise": (int, float),
        **dict.fromkeys(("model", "positive", "negative", "latent_image"), list),
    },
    "VAEDecode": {"samples": list, "vae": list},
    "SaveImage": {"filename_prefix": str, "images": list},
}
"""The kinds of node that are there, with the inputs each needs."""

PREVIEW = picture(16, 16, "jpeg")


class Trouble(StrEnum):
    """What the engine does with the next work."""

    HOLD = "works on it until it is told to stop"
    WAIT = "keeps it in line"
    MUTE = "does not say when it is done"
    HANG_UP = "closes the conversation in the middle"
    OLD_WORDS = "says that it is done as older engines did"
    OWN_ID = "gives the work an id of its own"
    FAILS = "a node fails"
    EMPTY = "the workflow saves nothing"
    ONLY_SHOWN = "the pictures are shown and not saved"
    STOPPED = "somebody else stops it"
    FORGOTTEN = "it is lost"
    MORE_FIELDS = "fields and messages nobody knows"


class FakeComfyUI(Server):
    """ComfyUI on a port of this machine. `trouble` is a queue: each work takes the first one from it."""

    def __init__(self, *, token: str | None = None) -> None:
        self.token = token
        self.forgives = False
        self.reset()
        routes = [
            Route("/object_info/{name}", self._object_info),
            Route("/system_stats", lambda request: JSONResponse({"system": {"comfyui_version": "0.9.2", "os": "posix"}, "devices": []})),
            Route("/upload/image", self._upload, methods=["POST"]),
            Route("/prompt", self._prompt, methods=["POST"]),
            Route("/history/{prompt_id}", self._history),
            Route("/queue", self._queue, methods=["GET", "POST"]),
            Route("/interrupt", self._interrupt, methods=["POST"]),
            Route("/view", self._view),
            WebSocketRoute("/ws", self._ws),
        ]
        super().__init__(Starlette(routes=routes), websockets=True)

    def reset(self) -> None:
        """Forget everything."""
        if hasattr(self, "seen"):
            self.seen.clear()
        self.trouble: deque[Trouble] = deque()
        self.talks = True
        self.combo = False
        self.checkpoints = list(CHECKPOINTS)
        self.files: dict[str, bytes] = {}
        self.history: dict[str, Any] = {}
        self.running: dict[str, asyncio.Event] = {}
        self.pending: list[str] = []
        self.ears: dict[str, WebSocket] = {}
        self.work: set[asyncio.Task[None]] = set()

    async def _object_info(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        choice: list[Any] = ["COMBO", {"options": self.checkpoints}] if self.combo else [self.checkpoints, {"tooltip": "The checkpoint"}]
        return JSONResponse({request.path_params["name"]: {"input": {"required": {"ckpt_name": choice}}, "output": ["MODEL", "CLIP", "VAE"]}})

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            file, kind, folder = form["image"], str(form.get("type", "input")), str(form.get("subfolder", ""))
            assert not isinstance(file, str)
            name = file.filename or ""
            self.files[f"{name} [{kind}]" if kind != "input" else name] = await file.read()
        return JSONResponse({"name": name, "subfolder": folder, "type": kind})

    async def _prompt(self, request: Request) -> Response:
        body = await request.json()
        graph = body.get("prompt")
        if not isinstance(graph, dict):
            return JSONResponse(
                {"error": {"type": "no_prompt", "message": "No prompt provided", "details": "", "extra_info": {}}, "node_errors": {}}, 400
            )
        if errors := self._complaints(graph):
            error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": "", "extra_info": {}}
            return JSONResponse({"error": error, "node_errors": errors}, 400)
        trouble = self.trouble.popleft() if self.trouble else None
        prompt_id = "own-id-1" if trouble is Trouble.OWN_ID else body.get("prompt_id", "own-id-0")
        (self.pending.append(prompt_id) if trouble is Trouble.WAIT else self.running.setdefault(prompt_id, asyncio.Event()))
        task = asyncio.create_task(self._draw(prompt_id, graph, self.ears.get(body.get("client_id", "")), trouble))
        self.work.add(task)
        more = {"queue_note": {"a": 1}} if trouble is Trouble.MORE_FIELDS else {}
        return JSONResponse({"prompt_id": prompt_id, "number": 5, "node_errors": {}, **more})

    def _complaints(self, graph: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for node, facts in graph.items():
            kind, inputs = facts["class_type"], facts["inputs"]
            wrong: list[tuple[str, str]] = []
            for name, kinds in NODES[kind].items():
                if name not in inputs:
                    wrong.append(("Required input is missing", name))
                elif not isinstance(inputs[name], kinds):
                    wrong.append(("Failed to convert an input value", f"{name}, {inputs[name]}"))
            if kind == "CheckpointLoaderSimple" and inputs.get("ckpt_name") not in self.checkpoints:
                wrong.append(("Value not in list", f"ckpt_name: '{inputs.get('ckpt_name')}' not in {self.checkpoints}"))
            if kind.startswith("LoadImage") and inputs.get("image") not in self.files:
                wrong.append(("Custom validation failed for node", f"image - Invalid image file: {inputs.get('image')}"))
            if wrong:
                errors = [{"type": "wrong", "message": message, "details": details, "extra_info": {}} for message, details in wrong]
                found[node] = {"errors": errors, "dependent_outputs": ["picture"], "class_type": kind}
        return found

    async def _draw(self, prompt_id: str, graph: Mapping[str, Any], ear: WebSocket | None, trouble: Trouble | None) -> None:
        async def tell(kind: str, **data: Any) -> None:
            if ear is not None:
                with suppress(RuntimeError):
                    await ear.send_json({"type": kind, "data": data})

        if trouble in (Trouble.WAIT, Trouble.FORGOTTEN):
            if trouble is Trouble.FORGOTTEN:
                del self.running[prompt_id]
                await tell("execution_success", prompt_id=prompt_id)
            return
        await tell("execution_start", prompt_id=prompt_id)
        await tell("progress", value=9, max=9, prompt_id="somebody else's")
        if trouble is Trouble.MORE_FIELDS:
            await tell("progress_state", prompt_id=prompt_id, nodes={"sampler": {"value": 1, "max": 20, "state": "running"}})
            await ear.send_text("no JSON")  # type: ignore[union-attr]
            await ear.send_bytes(struct.pack(">II", 4, 2) + b"{}")  # type: ignore[union-attr]
        await tell("progress", value=5, max=20, prompt_id=prompt_id, node="sampler")
        if ear is not None:
            await ear.send_bytes(struct.pack(">II", 1, 1) + PREVIEW)
            if trouble is Trouble.HANG_UP:
                await ear.close()
                ear = None
        if trouble is Trouble.HOLD:
            await self.running[prompt_id].wait()
        self._settle(prompt_id, graph, Trouble.STOPPED if self.running[prompt_id].is_set() else trouble)
        del self.running[prompt_id]
        if trouble is Trouble.OLD_WORDS:
            await tell("executing", node=None, prompt_id=prompt_id)
        elif trouble is not Trouble.MUTE:
            await tell("execution_success", prompt_id=prompt_id, timestamp=1)

    def _settle(self, prompt_id: str, graph: Mapping[str, Any], trouble: Trouble | None) -> None:
        messages: list[Any] = [["execution_start", {"prompt_id": prompt_id}]]
        outputs: dict[str, Any] = {}
        if trouble is Trouble.STOPPED:
            messages.append(["execution_interrupted", {"prompt_id": prompt_id, "node_type": "KSampler", "executed": []}])
        elif trouble is Trouble.FAILS:
            facts = {"node_id": "sampler", "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError", "exception_message": "out of memory"}
            messages.append(["execution_error", facts])
        elif trouble is not Trouble.EMPTY:
            inputs = {name: value for node in graph.values() for name, value in node["inputs"].items()}
            count = inputs.get("batch_size", inputs.get("amount", 1))
            name = f"{inputs.get('width', 64)}x{inputs.get('height', 64)}"
            saved = [{"filename": f"{name}_{number}.png", "subfolder": "", "type": "output"} for number in range(count)]
            shown = [{"filename": "16x16_0.png", "subfolder": "", "type": "temp"}]
            outputs = {"shown": {"images": shown}} if trouble is Trouble.ONLY_SHOWN else {"shown": {"images": shown}, "picture": {"images": saved}}
        status = {"status_str": "error" if len(messages) > 1 else "success", "completed": len(messages) == 1, "messages": messages}
        self.history[prompt_id] = {"prompt": [5, prompt_id, graph, {}, ["picture"]], "outputs": outputs, "status": status, "meta": {}}

    async def _history(self, request: Request) -> Response:
        prompt_id = request.path_params["prompt_id"]
        return JSONResponse({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})

    async def _queue(self, request: Request) -> Response:
        if request.method == "POST":
            self.pending = [one for one in self.pending if one not in (await request.json()).get("delete", [])]
            return Response()
        items = {"queue_running": self.running, "queue_pending": self.pending}
        return JSONResponse({name: [[5, one, {}, {}, []] for one in ids] for name, ids in items.items()})

    async def _interrupt(self, request: Request) -> Response:
        wanted = (await request.json()).get("prompt_id")
        for prompt_id, stop in self.running.items():
            if wanted in (None, prompt_id):
                stop.set()
        return Response()

    async def _view(self, request: Request) -> Response:
        name = request.query_params["filename"]
        width, _, height = name.partition("_")[0].partition("x")
        return Response(picture(int(width), int(height)), media_type="image/png")

    async def _ws(self, socket: WebSocket) -> None:
        if not self.talks:
            await socket.send_denial_response(Response("no upgrade here", 400))
            return
        await socket.accept()
        client_id = socket.query_params["clientId"]
        self.ears[client_id] = socket
        await socket.send_text(json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client_id}}))
        with suppress(Exception):
            while True:
                await socket.receive_text()
        self.ears.pop(client_id, None)
