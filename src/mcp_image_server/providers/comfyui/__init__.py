"""ComfyUI, an engine for workflows on the user's own machine. Facts from https://docs.comfy.org/development/comfyui-server/comms_routes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ...errors import BadReplyError, ProviderError
from ...fields import BaseUrl, Key
from ...models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Picture, Size, SizeRange
from ...net import Fault, File, Messages, Net, Pace, Reply, Service, words_in
from ...settings import Environment, parse
from ..base import Context, account_of
from .workflow import IMAGES, Workflow, built_in, read_workflow

AUTO = "auto"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Where the engine is, and what it is told to do."""

    model_config = ConfigDict(frozen=True)

    url: BaseUrl = Field("http://127.0.0.1:8188", alias="COMFYUI_URL", description="Address of the engine. Setting it switches the provider on.")
    token: Key | None = Field(None, alias="COMFYUI_TOKEN", description="Bearer token, for an engine behind a gateway that asks for one.")
    model: str = Field(
        AUTO, alias="COMFYUI_MODEL", min_length=1, description="Checkpoint for requests that name none, as the engine lists it; auto: its first one."
    )
    workflow: Path | None = Field(
        None,
        alias="COMFYUI_WORKFLOW",
        description="File with the workflow that draws, in API format: placeholders such as {prompt}, {seed}, {width} and {height} stand in its inputs. "
        "Unset: a plain one for Stable Diffusion checkpoints.",
    )
    edit_workflow: Path | None = Field(
        None, alias="COMFYUI_EDIT_WORKFLOW", description="File with the workflow that changes pictures; it needs {prompt} and {image}."
    )
    inpaint_workflow: Path | None = Field(
        None,
        alias="COMFYUI_INPAINT_WORKFLOW",
        description="File with the workflow that paints anew under a mask; it needs {prompt}, {image} and {mask}.",
    )

    def workflows(self) -> dict[Operation, Workflow]:
        """What is run for each operation.

        Raises:
            ConfigError: a file of the operator cannot be used.
        """
        own = {Operation.GENERATE: self.workflow, Operation.EDIT: self.edit_workflow, Operation.INPAINT: self.inpaint_workflow}
        return {operation: read_workflow(path, *_NEEDS[operation]) if path else built_in(str(operation)) for operation, path in own.items()}


_NEEDS: Mapping[Operation, tuple[str, tuple[str, ...]]] = {
    Operation.GENERATE: ("COMFYUI_WORKFLOW", ("prompt",)),
    Operation.EDIT: ("COMFYUI_EDIT_WORKFLOW", ("prompt", "image")),
    Operation.INPAINT: ("COMFYUI_INPAINT_WORKFLOW", ("prompt", "image", "mask")),
}

# Models -------------------------------------------------------------------------------------------------------------------------------------


def model_of(workflows: Mapping[Operation, Workflow]) -> Model:
    """What any model can do with these workflows: what a request can tell them."""
    draws = workflows[Operation.GENERATE].placeholders
    anywhere = frozenset[str]().union(*(workflow.placeholders for workflow in workflows.values()))
    return Model(
        provider="comfyui",
        id=AUTO,
        title="The engine's first checkpoint" if "model" in draws else "The workflow's own model",
        operations=frozenset(workflows),
        sizes=SizeRange(min_edge=64, max_edge=4096, max_pixels=4096 * 4096, multiple=8) if {"width", "height"} <= draws else None,
        default_size=Size(width=1024, height=1024),
        max_count=16 if "count" in draws else 1,
        seed="seed" in draws,
        negative_prompt="negative_prompt" in anywhere,
        max_images=max(workflow.pictures for workflow in workflows.values()),
        mask=True,
        strength="strength" in anywhere,
        previews=True,
        note="Options set inputs of the workflow's nodes: steps, cfg, sampler_name … for every node that has one, or sampler.steps for that of one node.",
    )


_BUILT_IN = {operation: built_in(str(operation)) for operation in _NEEDS}

CATALOGUE = Catalogue(
    provider="comfyui",
    title="ComfyUI",
    models=(model_of(_BUILT_IN),),
    default_model=AUTO,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1216x832": "1216x832 (3:2 landscape 横向)",
        "832x1216": "832x1216 (2:3 portrait 竖向)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "512x512": "512x512 (1:1 small 小图)",
    },
    variables=("COMFYUI_URL",),
    unknown=replace(model_of(_BUILT_IN), id="", title=""),
)


def catalogue_for(config: Config, workflows: Mapping[Operation, Workflow], checkpoints: tuple[str, ...] = ()) -> Catalogue:
    """What is offered with these settings, and by the engine where it has been asked."""
    any_model = model_of(workflows)
    names = dict.fromkeys((AUTO, config.model, *checkpoints))
    models = tuple(any_model if name == AUTO else replace(any_model, id=name, title=Path(name).stem) for name in names)
    return replace(CATALOGUE, models=models, default_model=config.model, unknown=replace(any_model, id="", title=""))


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_PACE = Pace(first=0.2, longest=2.0, deadline=86_400)
"""The engine is near and one look costs nothing; how long a picture takes depends on the machine alone."""


class ComfyUI:
    """The engine at work. Opens no connection before it is first used."""

    name = "comfyui"
    limits = Limits(concurrent=2)
    repeatable = True

    def __init__(self, config: Config, *, silence: float = 10.0) -> None:
        self._config = config
        self._workflows = config.workflows()
        self.catalogue = catalogue_for(config, self._workflows)
        self.account = account_of(self.name, config.url)
        self._net = Net(service(config))
        self._silence = silence
        """Seconds without a word from the engine after which it is asked."""

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: the workflow is queued, listened to, and its results are fetched. Cancelling takes it from the queue, or stops it."""
        workflow = self._workflows[request.operation]
        checkpoint = await self._checkpoint(model) if "model" in workflow.placeholders else None
        graph = await self._graph(workflow, request, checkpoint)
        words = unheard(workflow, request, model)
        prompt_id, client_id = str(uuid4()), uuid4().hex
        try:
            async with AsyncExitStack() as stack:
                messages = await self._conversation(stack, client_id)  # opened before the work begins, so that nothing is missed
                body = {"prompt": graph, "client_id": client_id, "prompt_id": prompt_id}
                prompt_id = (await self._net.send("POST", "prompt", json=body)).parse(Queued).prompt_id  # older engines choose their own
                await context.accepted(prompt_id)
                if messages is not None:
                    await self._follow(messages, prompt_id, context)
            generated = await self._collect(prompt_id, request, context)
        except anyio.get_cancelled_exc_class():
            await self._stop(prompt_id)
            raise
        return replace(generated, model=checkpoint, adjustments=words)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a workflow that was queued earlier. Where the engine no longer knows it, or it was interrupted, it is queued again: that is free."""
        try:
            return await self._collect(task_id, request, context)
        except _UndoneError:
            if not all(picture.data for picture in request.inputs):
                raise
            return await self.generate(request, model, context)
        except anyio.get_cancelled_exc_class():
            await self._stop(task_id)
            raise

    async def check(self) -> str:
        """The engine's version and its checkpoints."""
        stats = (await self._net.send("GET", "system_stats", read_timeout=30)).parse(SystemStats)
        names = await self._checkpoints()
        few = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        return f"ComfyUI {stats.system.comfyui_version or 'of an unknown version'} answers; checkpoints: {few or 'none'}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _checkpoints(self) -> tuple[str, ...]:
        """What the engine has to draw with, which then is what we offer."""
        reply = await self._net.send("GET", f"object_info/{_LOADER}", read_timeout=30, repeatable=False)
        names = checkpoints_in(reply.parse(NodeInfos).root)
        self.catalogue = catalogue_for(self._config, self._workflows, names)
        return names

    async def _checkpoint(self, model: Model) -> str:
        if model.id != AUTO:
            return model.id
        names = await self._checkpoints()
        if not names:
            words = "ComfyUI has no checkpoints. Put one into its folder models/checkpoints, or set COMFYUI_WORKFLOW to a workflow that loads its own models"
            raise self._net.service.failure(ProviderError, words, not_accepted=True)
        return names[0]

    async def _graph(self, workflow: Workflow, request: ImageRequest, checkpoint: str | None) -> dict[str, Any]:
        if strangers := sorted(request.options.keys() - workflow.inputs):
            words = (
                f"No node of {workflow.name} has an input {strangers[0]!r}; there are {', '.join(sorted(n for n in workflow.inputs if '.' not in n))}"
            )
            raise self._net.service.failure(ProviderError, words, not_accepted=True)
        places = workflow.pictures
        if len(request.images) > places:
            raise self._net.service.failure(
                ProviderError, f"Of input pictures there is room for {places} in {workflow.name}, not for {len(request.images)}", not_accepted=True
            )
        images = [await self._upload(picture) for picture in request.images]
        mask = await self._upload(request.mask) if request.mask is not None else None
        return to_wire(workflow, request, checkpoint=checkpoint, images=images, mask=mask)

    async def _upload(self, picture: Picture) -> str:
        """The name of the picture in the engine's temporary folder, which it empties by itself."""
        ending = picture.media_type.rpartition("/")[2]
        file = File(name=f"{hashlib.sha256(picture.data).hexdigest()[:24]}.{ending}", media_type=picture.media_type, data=picture.data)
        parts: list[tuple[str, str | File]] = [("image", file), ("type", "temp"), ("overwrite", "true")]
        stored = (await self._net.send("POST", "upload/image", parts=parts)).parse(StoredFile)
        return f"{stored.subfolder}/{stored.name}".lstrip("/") + (f" [{stored.type}]" if stored.type != "input" else "")

    async def _conversation(self, stack: AsyncExitStack, client_id: str) -> Messages | None:
        """What the engine says about the work; None where a gateway lets no WebSocket pass, which costs the previews only."""
        try:
            return await stack.enter_async_context(self._net.listen("ws", params={"clientId": client_id}))
        except ProviderError as error:
            if error.status is None:
                raise
            return None

    async def _follow(self, messages: Messages, prompt_id: str, context: Context) -> None:
        """Progress and previews, until the engine is done with this work or nothing more can be heard."""
        while True:
            message: str | bytes | None = None
            with anyio.move_on_after(self._silence):
                try:
                    message = await anext(messages)
                except StopAsyncIteration:
                    return
            if message is None:  # it may be drawing for somebody else, or our message got lost
                if await self._entry(prompt_id) is not None:
                    return
            elif isinstance(message, bytes):
                if (preview := preview_in(message)) is not None:
                    await context.preview(preview)
            else:
                news = news_in(message, prompt_id)
                if news.done:
                    return
                if news.words:
                    await context.report(news.fraction, news.words)

    async def _collect(self, prompt_id: str, request: ImageRequest, context: Context) -> Generated:
        """The pictures, once the history has the work.

        Raises:
            _UndoneError: it was interrupted, or the engine does not know it.
        """

        async def look() -> tuple[Reply, Entry] | None:
            found = await self._entry(prompt_id)
            if found is not None:
                return found
            queue = (await self._net.send("GET", "queue", read_timeout=30)).parse(Queue)
            if any(prompt_id in item for item in queue.queue_running):
                await context.report(0.1, "ComfyUI draws.")
            elif any(prompt_id in item for item in queue.queue_pending):
                await context.report(0.0, "ComfyUI has the work in line.")
            elif (found := await self._entry(prompt_id)) is None:  # it may have ended between the two questions
                raise self._undone("ComfyUI does not know the work any more; it was taken from its queue, or the engine was started anew")
            return found

        reply, entry = await self._net.poll(look, pace=_PACE)
        if entry.interrupted:
            raise self._undone("ComfyUI was told to stop before the picture was complete")
        if entry.complaint is not None:
            raise reply.failure(ProviderError, f"ComfyUI failed at {entry.complaint}")
        files = entry.files
        if not files:
            raise reply.failure(BadReplyError, "ComfyUI finished without a picture. The workflow needs a node that saves one, such as SaveImage")
        await context.report(0.95, "The picture is drawn and on its way.")
        pictures = [(await self._net.send("GET", "view", params=file.model_dump())).body for file in files]
        return from_wire(pictures, request)

    def _undone(self, words: str) -> ProviderError:
        return _UndoneError(f"{words}. Ask again to draw anew.", provider=self.name)

    async def _entry(self, prompt_id: str) -> tuple[Reply, Entry] | None:
        """What the engine's history has about the work; None while it is not done."""
        reply = await self._net.send("GET", f"history/{prompt_id}", read_timeout=30)
        entry = reply.parse(History).root.get(prompt_id)
        return None if entry is None else (reply, entry)

    async def _stop(self, prompt_id: str) -> None:
        """Takes the work from the engine's queue, or stops it, and no other: older engines interrupt whatever they are at."""
        with anyio.move_on_after(2, shield=True):
            try:
                await self._net.send("POST", "queue", json={"delete": [prompt_id]})
                queue = (await self._net.send("GET", "queue")).parse(Queue)
                if any(prompt_id in item for item in queue.queue_running):
                    await self._net.send("POST", "interrupt", json={"prompt_id": prompt_id})
            except ProviderError:
                return  # it cannot be reached, so it cannot be stopped


class _UndoneError(ProviderError):
    """The work ended without a result that would be there to ask for."""


def load(environment: Environment) -> ComfyUI | None:
    """The provider, when the engine's address is set.

    Raises:
        ConfigError: a variable or a workflow is wrong.
    """
    if "COMFYUI_URL" not in environment:
        return None
    return ComfyUI(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the engine with these settings."""
    token = config.token.get_secret_value() if config.token else ""
    return Service(
        provider="comfyui",
        title="ComfyUI",
        base_url=config.url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        secrets=(token,) if token else (),
        read_fault=read_fault,
        key_variable="COMFYUI_TOKEN",
        url_variable="COMFYUI_URL",
        free=True,
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_LOADER = "CheckpointLoaderSimple"


class System(BaseModel):
    """The engine's words about itself."""

    comfyui_version: str | None = None


class SystemStats(BaseModel):
    """Its state."""

    system: System


class NodeInfos(RootModel[dict[str, Any]]):
    """Kinds of node, by name."""


class StoredFile(BaseModel):
    """Where a file lies in the engine's folders."""

    name: str
    subfolder: str = ""
    type: str = "input"


class Queued(BaseModel):
    """The answer to a workflow that was taken."""

    prompt_id: str


class Queue(BaseModel):
    """The work that is not done: each item a list that holds its id."""

    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]


class ResultFile(BaseModel):
    """A picture to be fetched."""

    filename: str
    subfolder: str = ""
    type: str = "output"


class NodeOutput(BaseModel):
    """What a node left behind."""

    images: list[ResultFile] | None = None


class Status(BaseModel):
    """How the work ended."""

    status_str: str = ""
    messages: list[Any] = []

    def said(self, kind: str) -> dict[str, Any] | None:
        """The facts of the message of that kind; None where there was none."""
        pairs = (message for message in self.messages if isinstance(message, list) and len(message) > 1 and isinstance(message[1], dict))
        return next((message[1] for message in pairs if message[0] == kind), None)


class Entry(BaseModel):
    """One work in the history."""

    outputs: dict[str, NodeOutput] = {}
    status: Status | None = None

    @property
    def files(self) -> list[ResultFile]:
        """The saved pictures; those only shown, where none was saved."""
        found = [file for output in self.outputs.values() for file in output.images or ()]
        return [file for file in found if file.type == "output"] or found

    @property
    def interrupted(self) -> bool:
        """Somebody stopped it."""
        return self.status is not None and self.status.said("execution_interrupted") is not None

    @property
    def complaint(self) -> str | None:
        """The node that failed and why; None for work that succeeded."""
        if self.status is None or self.status.status_str != "error":
            return None
        facts = self.status.said("execution_error") or {}
        return f"{facts.get('node_type', 'a node')}: {facts.get('exception_message') or 'no reason given'}"


class History(RootModel[dict[str, Entry]]):
    """Works that are done, by id."""


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_USUAL_STRENGTH = {Operation.EDIT: 0.75}


def to_wire(workflow: Workflow, request: ImageRequest, *, checkpoint: str | None, images: list[str], mask: str | None) -> dict[str, Any]:
    """The graph to be run; `images` and `mask` are the names of uploaded files."""
    size = request.shape if isinstance(request.shape, Size) else (request.images[0].size if request.images else Size(width=1024, height=1024))
    names = {name: images[min(place, len(images) - 1)] for place, name in enumerate(IMAGES) if images}
    values = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or "",
        "model": checkpoint,
        "width": size.width,
        "height": size.height,
        "count": request.count,
        "seed": request.seed or 0,
        "strength": request.strength if request.strength is not None else _USUAL_STRENGTH.get(request.operation, 1.0),
        "mask": mask,
        **names,
    }
    return workflow.filled(values, request.options)


def unheard(workflow: Workflow, request: ImageRequest, model: Model) -> tuple[Adjustment, ...]:
    """Words on every wish for which the workflow has no place."""
    wishes = {
        "resolution": ("width", request.shape is not None),
        "n": ("count", request.count > 1),
        "negative_prompt": ("negative_prompt", bool(request.negative_prompt)),
        "strength": ("strength", request.strength is not None),
        "model": ("model", model.id != AUTO),
    }
    words = [
        Adjustment(field=name, message=f"There is no {{{placeholder}}} in {workflow.name}, so it went by its own.")
        for name, (placeholder, wished) in wishes.items()
        if wished and placeholder not in workflow.placeholders
    ]
    if len(request.images) < workflow.pictures:
        words.append(
            Adjustment(field="images", message=f"{workflow.name} takes {workflow.pictures} pictures; the last one stands for those missing.")
        )
    return tuple(words)


def from_wire(pictures: list[bytes], request: ImageRequest) -> Generated:
    """The answer in our words."""
    return Generated(images=tuple(Drawn(data=data, seed=request.seed) for data in pictures))


def checkpoints_in(nodes: Mapping[str, Any]) -> tuple[str, ...]:
    """The checkpoints that a description of the loader lists: in older engines as a bare list, in newer ones as options of a COMBO."""
    try:
        choice = nodes[_LOADER]["input"]["required"]["ckpt_name"]
        names = choice[0] if isinstance(choice[0], list) else choice[1]["options"]
    except (KeyError, IndexError, TypeError):
        return ()
    return tuple(str(name) for name in names)


@dataclass(frozen=True, kw_only=True)
class News:
    """What a message says about one work."""

    done: bool = False
    fraction: float = 0.0
    words: str = ""


def news_in(message: str, prompt_id: str) -> News:
    """What a text message says about the work; nothing, where it is about another one or of a kind nobody knows."""
    try:
        value = json.loads(message)
    except ValueError:
        return News()
    kind, facts = (value.get("type"), value.get("data")) if isinstance(value, dict) else (None, None)
    if not isinstance(facts, dict) or facts.get("prompt_id", prompt_id) != prompt_id:
        return News()
    if kind in ("execution_success", "execution_error", "execution_interrupted") or (kind == "executing" and facts.get("node", "") is None):
        return News(done=True)
    if kind == "execution_start":
        return News(fraction=0.05, words="ComfyUI has begun.")
    step, steps = facts.get("value"), facts.get("max")
    if kind == "progress" and isinstance(step, int) and isinstance(steps, int) and 0 <= step <= steps and steps:
        return News(fraction=0.05 + 0.85 * step / steps, words=f"ComfyUI is at step {step} of {steps}.")
    return News()


def preview_in(message: bytes) -> bytes | None:
    """The picture in a binary message, where it is a preview: two numbers of four bytes, 1 for preview and one for the format, come before it."""
    return message[8:] if message[:4] == b"\0\0\0\1" and len(message) > 8 else None


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means. A workflow that does not fit the engine comes with the complaints about each node."""
    facts = body if isinstance(body, dict) else {}
    nodes = facts.get("node_errors")
    complaints = [
        f"{node.get('class_type')}: {' '.join(part for part in (words_in(problem), str(problem.get('details') or '')) if part)}"
        for node in (nodes.values() if isinstance(nodes, dict) else ())
        if isinstance(node, dict)
        for problem in node.get("errors") or ()
        if isinstance(problem, dict)
    ]
    message = "; ".join(part for part in (words_in(facts.get("error") or body), *complaints) if part)
    if not message:
        return None
    error = facts.get("error")
    code = error.get("type") if isinstance(error, dict) else None
    return Fault(message=message, details={"service_code": code} if isinstance(code, str) else {})
