"""Pictures that callers name, as bytes that services take: a stored picture, a file, a link, or the picture itself as text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from .errors import NotFoundError, ProviderError, RequestError
from .guard import inside
from .models import MAX_PICTURE_BYTES, Adjustment, Caller, Edges, Image, ImageRequest, Operation, Picture

if TYPE_CHECKING:
    from .net import Net

_IMAGE_ID = re.compile(r"[0-9a-f]{16}-\d+")
_DATA_URI = re.compile(r"data:image/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{200,}|(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/_=\s-]{20,}")
"""A picture as bare text: one that begins as PNG, JPEG, GIF or WebP do, or anything that is too long for a path and has no dot."""

FORMS = "an image id, an image:// link, a path in an open folder, an https link, or the picture in base64"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a caller wants done, with pictures as the caller names them."""

    request: ImageRequest
    """Everything but the pictures; and those of a picture that is drawn again, which stay where no others are named."""
    images: tuple[str | bytes, ...] = field(default=(), repr=False)
    """Each named as `FORMS` says, or the file's bytes."""
    mask: str | bytes = field(default="", repr=False)
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """x, y, width and height of what is to be painted anew, in pixels or fractions; in the place of a mask."""
    style_image: str = ""


class Inputs:
    """Reads what callers name.

    Args:
        find: the caller's stored picture of that id.
        read: its bytes.
    """

    def __init__(self, find: Callable[[Caller, str], Awaitable[Image]], read: Callable[[Image], Awaitable[bytes]]) -> None:
        self._find = find
        self._read = read
        self._net: Net | None = None

    async def request(self, caller: Caller, wish: Wish) -> tuple[ImageRequest, tuple[Adjustment, ...]]:
        """The request with its pictures, and what was changed about them.

        Raises:
            RequestError: one cannot be had, or is no picture (`invalid_image`); the message says which and why.
        """
        words: list[Adjustment] = []
        parents: list[str] = []
        before = wish.request if not wish.images else replace(wish.request, images=(), mask=None, parents=())  # a mask goes with its picture
        images = [await self._picture(caller, source, words, parents) for source in wish.images] or list(before.images)
        style = await self._picture(caller, wish.style_image, words, parents) if wish.style_image else before.style_image
        if (wish.mask or wish.boxes) and not images:
            raise RequestError("A mask needs the picture that it belongs to: give it as the first image.", code="invalid_image")
        mask = await self._mask(caller, wish, images[0], words) if wish.mask or wish.boxes else before.mask
        parents = list(dict.fromkeys((*before.parents, *parents)))
        request = replace(wish.request, images=tuple(images), mask=mask, style_image=style, parents=tuple(parents))
        return request, tuple(words)

    async def read(self, caller: Caller, source: str | bytes) -> tuple[bytes, str | None]:
        """The bytes as they come, not looked at; and the id of the stored picture that they are, where they are one's.

        Raises:
            RequestError: they cannot be had; the message says why.
        """
        parents: list[str] = []
        data = await self._bytes(caller, source, parents)
        return data, next(iter(parents), None)

    async def aclose(self) -> None:
        """Closes connections."""
        if self._net is not None:
            await self._net.aclose()

    async def _picture(self, caller: Caller, source: str | bytes, words: list[Adjustment], parents: list[str]) -> Picture:
        from .pictures import read_input

        data = await self._bytes(caller, source, parents)
        received = await to_thread.run_sync(read_input, data)
        words += received.adjustments
        return received.picture

    async def _mask(self, caller: Caller, wish: Wish, picture: Picture, words: list[Adjustment]) -> Picture:
        from .pictures import Box, mask_from_boxes, read_mask

        if wish.boxes:
            boxes = [Box(x=x, y=y, width=width, height=height) for x, y, width, height in wish.boxes]
            return Picture(data=await to_thread.run_sync(mask_from_boxes, picture.size, boxes), media_type="image/png", size=picture.size)
        data = await self._bytes(caller, wish.mask, [])
        received = await to_thread.run_sync(read_mask, data, picture.size)
        words += received.adjustments
        return received.picture

    async def _bytes(self, caller: Caller, source: str | bytes, parents: list[str]) -> bytes:
        if isinstance(source, bytes):
            return source
        source = source.strip()
        name = source.removeprefix("image://")
        if source.startswith("image://") or _IMAGE_ID.fullmatch(name):
            image = await self._find(caller, name)
            parents.append(image.id)
            return await self._read(image)
        if re.match(r"https?://", source, re.IGNORECASE):
            return await self._fetched(source)
        if found := _DATA_URI.match(source):
            return _decoded(source[found.end() :])
        if _BASE64.fullmatch(source):
            return _decoded(source)
        return await self._file(caller, source)

    async def _fetched(self, link: str) -> bytes:
        from .net import Net, Service

        if self._net is None:
            self._net = Net(Service(provider="", title="the caller", base_url="https://no.such.host.invalid"))
        try:
            return await self._net.download(link, max_bytes=MAX_PICTURE_BYTES)
        except ProviderError as error:
            raise RequestError(
                f"The picture cannot be fetched: {error.message.partition(' It may have been billed')[0]}", code="invalid_image"
            ) from error

    async def _file(self, caller: Caller, source: str) -> bytes:
        if not source:
            raise RequestError(f"An input picture is empty. Give {FORMS}.", code="invalid_image")
        if not caller.folders:
            raise RequestError(
                f"{_short(source)} cannot be read from here. Give {FORMS.replace('a path in an open folder, ', '')}.", code="invalid_image"
            )
        path = anyio.Path(inside(source.removeprefix("file://"), caller.folders))
        try:
            if (await path.stat()).st_size > MAX_PICTURE_BYTES:
                raise RequestError(f"{path} has more than {MAX_PICTURE_BYTES // 10**6} MB; make it smaller first.", code="payload_too_large")
            return await path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"There is no file {path}. Give {FORMS}.", code="file_not_found", details={"path": str(path)}) from None
        except OSError as error:
            raise RequestError(f"{path} cannot be read: {error.strerror or error}.", code="invalid_image") from error


async def on_canvas(request: ImageRequest) -> ImageRequest:
    """The request to paint on beyond the edges as one to paint into a larger picture, for models that can do the one and not the other."""
    from .pictures import canvas

    assert request.extend is not None
    whole = await to_thread.run_sync(canvas, request.images[0].data, request.extend)
    picture, mask = (Picture(data=data, media_type="image/png", size=whole.size) for data in (whole.picture, whole.mask))
    action = None if request.action is Operation.OUTPAINT else request.action
    prompt = request.prompt if request.prompt.strip() else "The picture goes on beyond its old edges as if it had always been that large."
    images = (picture, *request.images[1:])
    return replace(request, prompt=prompt, images=images, mask=mask, extend=None, action=action, shape=request.shape or whole.size)


def edges(numbers: Sequence[int] | None) -> Edges | None:
    """Pixels to add at the left, top, right and bottom."""
    return Edges(left=numbers[0], top=numbers[1], right=numbers[2], bottom=numbers[3]) if numbers is not None else None


def boxes(numbers: Iterable[Sequence[float]]) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes as a wish holds them, of x, y, width and height each."""
    return tuple((x, y, width, height) for x, y, width, height in numbers)


def _decoded(text: str) -> bytes:
    compact = re.sub(r"\s+", "", text).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("The picture's base64 is damaged. Send it whole, as one text.", code="invalid_image") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
