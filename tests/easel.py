"""A provider that does what a test tells it: draws plain pictures, waits at gates, fails, dies, and counts what it was asked for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from mcp_image_server.models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Size, SizeRange, Style
from mcp_image_server.providers import Context

MODEL = Model(
    provider="easel",
    id="easel-1",
    sizes=SizeRange(min_edge=8, max_edge=2048, max_pixels=2048 * 2048, multiple=8),
    default_size=Size(width=64, height=64),
    max_count=10,
    seed=True,
)
CATALOGUE = Catalogue(
    provider="easel",
    title="A test's easel",
    models=(MODEL,),
    default_model="easel-1",
    styles={"plain": Style(key="plain", label="素色 plain", phrase="plain"), "ink": Style(key="ink", label="水墨 ink", phrase="ink wash")},
    resolutions={"64x64": "64x64 (1:1)", "128x64": "128x64 (2:1)"},
    variables=("EASEL_KEY",),
)


FOUR = Limits(concurrent=4)


def png(size: Size, colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour."""
    return png_of(size, bytes(colour) * size.pixels)


def png_of(size: Size, pixels: bytes) -> bytes:
    """A PNG of these pixels, three bytes each."""
    width = 3 * size.width
    rows = b"".join(b"\0" + pixels[start : start + width] for start in range(0, len(pixels), width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size.width, size.height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def draw(request: ImageRequest) -> Generated:
    """The pictures of a request: their colours follow from the seed."""
    assert request.shape is None or isinstance(request.shape, Size)
    size = request.shape or Size(width=64, height=64)
    seeds = [(request.seed or 0) + index for index in range(request.count)]
    return Generated(images=tuple(Drawn(data=png(size, (seed % 251, seed % 241, seed % 239)), seed=seed) for seed in seeds))


Work = Callable[[ImageRequest, Context], Awaitable[Generated]]


async def at_once(request: ImageRequest, context: Context) -> Generated:
    await context.report(0.5, "half way")
    return draw(request)


@dataclass
class Easel:
    """The provider. `work` is what happens for each request."""

    work: Work = at_once
    repeatable: bool = False
    limits: Limits = FOUR
    account: str = "easel:account"
    name: str = "easel"
    catalogue: Catalogue = CATALOGUE
    asked: list[ImageRequest] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0
    started: anyio.Event = field(default_factory=anyio.Event)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        self.asked.append(request)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.started.set()
        try:
            return await self.work(request, context)
        finally:
            self.at_work -= 1

    async def check(self) -> str:
        return "the easel stands"

    async def aclose(self) -> None:
        pass


@dataclass
class TaskEasel(Easel):
    """One whose service has tasks that can be asked for again."""

    resumed: list[str] = field(default_factory=list)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        self.resumed.append(task_id)
        return draw(request)


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    async def __call__(self, request: ImageRequest, context: Context) -> Generated:
        await context.report(0.1, "waiting at the gate")
        await self.opened.wait()
        return draw(request)
