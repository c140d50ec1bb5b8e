"""Pictures changed without a service: what a caller writes becomes steps, and what comes of them is stored with its lineage, or written where it is wanted."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anyio import to_thread

from .errors import RequestError
from .guard import inside
from .inputs import Inputs
from .models import Adjustment, Caller, Drawn, Image, ImageRequest, Job, JobState, Size, parse_shape

if TYPE_CHECKING:
    from .history import History
    from .pictures import Crop, Processed, Signing, Step, Story
    from .store import Store

PROVIDER = "transform"
"""Under which pictures that no service drew stand in the record."""

MODEL = "local"

Format = Literal["png", "jpeg", "webp", "avif"]
Place = Literal["center", "top", "bottom", "left", "right", "top_left", "top_right", "bottom_left", "bottom_right"]
Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]

MAX_IMAGES = 64
"""Of one transformation."""

MAX_WATERMARK_CHARS = 500

_FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
_SHEET_EDGE = 320
_LEASE = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Transformation:
    """What is to be done with pictures, as a caller writes it. Whatever the order of the words, the steps come in the order of these fields."""

    images: tuple[str, ...]
    """As `inputs.FORMS` says."""
    sheet: bool = False
    """One contact sheet of all pictures, which the other steps change, in place of each picture."""
    crop: str = ""
    """x,y,width,height in pixels or fractions; a ratio such as 16:9; or a size such as 512x512."""
    rotate: float = 0
    """Degrees, clockwise."""
    flip: Literal["", "horizontal", "vertical"] = ""
    resize: str = ""
    """512x512; or one edge, as 512x or x512, from which the other follows."""
    how: Literal["fit", "fill", "pad"] = "fit"
    """As for `pictures.Resize`."""
    gravity: Place = "center"
    """What stays in view when something is cut off, and where a picture lies in its padding."""
    ground: str = ""
    """Colour, in CSS words, of padding and corners, and behind what can be seen through; empty: none, and white where there must be one."""
    watermark: str = ""
    """Words in a corner; `ai:en` and `ai:zh` are those that tell of AI."""
    watermark_image: str = ""
    """A picture in a corner, named like the others."""
    corner: Corner = "bottom_right"
    format: Format | None = None
    """None: as the ending of `save_as` says, else as it was."""
    quality: int | None = None
    """1 to 100, for a named format that loses something."""
    max_bytes: str = ""
    """Most bytes of the file: 100kB, 1.5MB or a number."""
    icons: str = ""
    """Folder to write a website's icons to, instead of the picture."""
    save_as: str = ""
    """Path to write the picture to, instead of storing it."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written where the caller wanted it."""

    path: Path
    media_type: str
    size: Size | None
    """None for a file of several sizes."""
    size_bytes: int
    preview: bytes | None = field(repr=False)
    """A small WebP."""


@dataclass(frozen=True, kw_only=True)
class Transformed:
    """What came of a transformation: a job with stored pictures, or files."""

    job: Job | None = None
    files: tuple[Written, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that goes in."""

    data: bytes = field(repr=False)
    media_type: str
    name: str
    """Under which people know it."""
    prompt: str
    """What it shows, as far as anybody has said."""
    parents: tuple[str, ...]
    ready: bool
    """It may be stored as it is; if not, it is the file as it came, and has to be written anew."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture made of others, ready to be stored."""

    processed: Processed
    sources: tuple[Source, ...]


Find = Callable[[Caller, str], Awaitable[Image]]


async def make(
    caller: Caller, wanted: Transformation, inputs: Inputs, find: Find, signing: Signing | None
) -> tuple[list[Made], tuple[Adjustment, ...]]:
    """The new pictures, and what was changed about the old ones on their way in.

    Args:
        find: the caller's stored picture of that id.
        signing: with what new pictures are signed.

    Raises:
        RequestError: it cannot be done; the message says why.
    """
    from .pictures import Compress

    if not 1 <= len(wanted.images) <= MAX_IMAGES:
        raise RequestError(f"Name between 1 and {MAX_IMAGES} pictures.")
    words: list[Adjustment] = []
    mark = (await _source(caller, wanted.watermark_image, inputs, find, [])).data if wanted.watermark_image else None
    steps = read_steps(wanted, mark)
    if not (steps or wanted.sheet or wanted.icons or wanted.save_as):
        raise RequestError("Say what is to be done with the picture: crop, rotate, flip, resize, watermark, format, max_bytes, sheet or icons.")
    sources = [await _source(caller, name, inputs, find, words) for name in wanted.images]
    groups = [(await _sheet(sources), True, tuple(sources))] if wanted.sheet else [(source.data, source.ready, (source,)) for source in sources]
    made = []
    for data, ready, group in groups:
        story = _story(group, sheet=wanted.sheet)
        processed, signature, unsigned = await _changed(data, steps, ready, group, signing, story)
        if signature and wanted.max_bytes and len(processed.data) > (most := read_bytes(wanted.max_bytes)):
            room = most - signature - _SLACK
            if room < 1:
                raise RequestError(f"No picture fits into {most:,} bytes: its signature alone takes {signature:,}.")
            processed, _, unsigned = await _changed(data, [*steps, Compress(max_bytes=room)], ready, group, signing, story)
        words += [unsigned] if unsigned is not None else []
        made.append(Made(processed=processed, sources=group))
    return made, tuple(dict.fromkeys(words))


_SLACK = 256
"""Bytes by which one signature may be longer than another."""


async def _changed(
    data: bytes, steps: Sequence[Step], ready: bool, sources: Sequence[Source], signing: Signing | None, story: Story
) -> tuple[Processed, int, Adjustment | None]:
    """The picture after these steps, signed where anything changed; the bytes of the signature; and why there is none, where one was wanted."""
    from .jobs.work import DECODING, signed
    from .pictures import apply, process

    changed = await to_thread.run_sync(partial(apply, data, steps, anew=not ready), limiter=DECODING)
    processed = await to_thread.run_sync(process, changed, limiter=DECODING)
    if changed == sources[0].data:
        return processed, 0, None
    done, unsigned = await signed(processed, signing, story)
    return done, len(done.data) - len(processed.data), unsigned


async def _source(caller: Caller, name: str, inputs: Inputs, find: Find, words: list[Adjustment]) -> Source:
    from .jobs.work import DECODING
    from .pictures import read_provenance, read_source

    data, parent = await inputs.read(caller, name)
    raw = await to_thread.run_sync(read_source, data, limiter=DECODING)
    words += raw.adjustments
    picture = raw.picture
    if parent is not None:
        label, prompt = parent, (await find(caller, parent)).prompt
    else:
        label = _label(name)
        prompt = read_provenance(picture.data).get("prompt", "") or label
    parents = () if parent is None else (parent,)
    return Source(data=picture.data, media_type=picture.media_type, name=label, prompt=prompt, parents=parents, ready=raw.ready)


def _label(name: str) -> str:
    """The last part of a path or link; nothing where the picture itself was given."""
    name = name.strip()
    if name.startswith("data:") or len(name) > 1000:
        return ""
    return re.split(r"[\\/]", re.split(r"[?#]", name)[0].rstrip("/"))[-1][:200]


async def _sheet(sources: Sequence[Source]) -> bytes:
    from .jobs.work import DECODING
    from .pictures import Tile, contact_sheet

    tiles = [Tile(data=source.data, caption=source.name or str(number)) for number, source in enumerate(sources, 1)]
    columns = len(tiles) if len(tiles) <= 3 else min(4, math.ceil(math.sqrt(len(tiles))))
    return await to_thread.run_sync(contact_sheet, tiles, columns, _SHEET_EDGE, limiter=DECODING)


def _story(sources: Sequence[Source], *, sheet: bool) -> Story:
    from .pictures import Ingredient, Story

    how: Literal["componentOf", "parentOf"] = "componentOf" if sheet else "parentOf"
    ingredients = tuple(Ingredient(data=source.data, media_type=source.media_type, how=how) for source in sources)
    title = sources[0].name or "picture"
    return Story(title=title, agent="image-gen-mcp-server", digital_source_type="composite", ingredients=ingredients)


# ---------------------------------------------------------------------- words to steps


def read_steps(wanted: Transformation, mark: bytes | None) -> list[Step]:
    """The steps in their order.

    Args:
        mark: the picture of a watermark.

    Raises:
        RequestError: something is written wrong, or does not go together.
    """
    from .pictures import AI_LABELS, Compress, Convert, Flip, Resize, Rotate, Watermark

    ground = wanted.ground or None
    steps: list[Step] = []
    if wanted.crop:
        steps.append(_crop(wanted))
    if wanted.rotate:
        steps.append(Rotate(degrees=wanted.rotate, ground=ground))
    if wanted.flip:
        steps.append(Flip(direction=wanted.flip))
    if wanted.resize:
        width, height = _edges(wanted.resize)
        steps.append(Resize(width=width, height=height, how=wanted.how, gravity=wanted.gravity, ground=ground))
    if wanted.watermark and mark is not None:
        raise RequestError("A watermark is words or a picture: name one of them, and add the other in a second call.")
    if len(wanted.watermark) > MAX_WATERMARK_CHARS:
        raise RequestError(f"The watermark has {len(wanted.watermark):,} characters; write at most {MAX_WATERMARK_CHARS}.")
    if wanted.watermark or mark is not None:
        label = AI_LABELS.get(wanted.watermark.removeprefix("ai:")) if wanted.watermark.startswith("ai:") else None
        steps.append(Watermark(mark=mark if mark is not None else label or wanted.watermark, corner=wanted.corner))
    if wanted.icons:
        if wanted.save_as or wanted.format or wanted.max_bytes:
            raise RequestError("Icons come in their own files and formats: leave format, max_bytes and save_as out.")
        return steps
    if kind := _format(wanted):
        steps.append(Convert(format=kind, quality=wanted.quality, ground=wanted.ground or "white"))
    elif wanted.quality is not None:
        raise RequestError("A quality needs a format: jpeg, webp or avif.")
    if wanted.max_bytes:
        steps.append(Compress(max_bytes=read_bytes(wanted.max_bytes)))
    return steps


def _crop(wanted: Transformation) -> Crop:
    from .pictures import Box, Crop

    try:
        if wanted.crop.count(",") == 3:
            x, y, width, height = (float(part) for part in wanted.crop.split(","))
            return Crop(to=Box(x=x, y=y, width=width, height=height))
        shape = parse_shape(wanted.crop)
    except ValueError:
        shape = None
    if shape is None:
        raise RequestError(f"{wanted.crop!r} is nothing to crop to; write x,y,width,height, a ratio such as 16:9, or a size such as 512x512.")
    return Crop(to=shape, gravity=wanted.gravity)


def _edges(text: str) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"(\d{1,5})?\s*[x×*]\s*(\d{1,5})?", text.strip(), re.IGNORECASE)
    if not found or not (found[1] or found[2]):
        raise RequestError(f"{text!r} is no size; write 512x512, or one edge: 512x or x512.")
    return int(found[1]) if found[1] else None, int(found[2]) if found[2] else None


def _format(wanted: Transformation) -> Format | None:
    if not wanted.save_as:
        return wanted.format
    ending = Path(wanted.save_as).suffix.lower()
    if ending not in _FORMATS:
        raise RequestError(f"{wanted.save_as!r} is to end in one of {', '.join(_FORMATS)}.")
    if wanted.format and wanted.format != _FORMATS[ending]:
        raise RequestError(f"{wanted.save_as!r} ends in {ending}, but the format is to be {wanted.format}; name one of them.")
    return _FORMATS[ending]


_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 2**20}


def read_bytes(text: str) -> int:
    """A number of bytes as people write it: 100kB, 1.5MB, 64KiB, 200000.

    Raises:
        RequestError: it is none.
    """
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]*)", text.strip(), re.IGNORECASE)
    if not found or found[2].lower() not in _UNITS:
        raise RequestError(f"{text!r} is no number of bytes; write 100kB, 1.5MB or 200000.")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def summary(wanted: Transformation) -> str:
    """What is done, in a line for the list of jobs."""
    parts = [
        f"contact sheet of {len(wanted.images)}" if wanted.sheet else "",
        f"crop {wanted.crop}" if wanted.crop else "",
        f"rotate {wanted.rotate:g}" if wanted.rotate else "",
        f"flip {wanted.flip}" if wanted.flip else "",
        f"resize {wanted.resize} {wanted.how}" if wanted.resize else "",
        f"watermark {wanted.watermark}" if wanted.watermark else "",
        "watermark picture" if wanted.watermark_image else "",
        str(wanted.format or ""),
        f"at most {wanted.max_bytes}" if wanted.max_bytes else "",
    ]
    return ", ".join(filter(None, parts))


# ---------------------------------------------------------------------- where they go


def check_places(caller: Caller, wanted: Transformation) -> None:
    """Passes when the caller may have files written where they are wanted.

    Raises:
        RequestError: not there.
    """
    for place in filter(None, (wanted.save_as, wanted.icons)):
        inside(place, caller.folders)


async def write(caller: Caller, wanted: Transformation, made: Sequence[Made], open_store: Callable[[str], Store]) -> tuple[Written, ...]:
    """The files, written whole or not at all, in the place of what had their names.

    Raises:
        RequestError: they may not be there, or one picture is wanted for icons and there are several.
        StorageError: the folder cannot be written.
    """
    from .jobs.work import DECODING
    from .pictures import icon_set, process
    from .store import folder_url

    if not wanted.icons:
        path = inside(wanted.save_as, caller.folders)
        files = {path if index == 0 else path.with_stem(f"{path.stem}-{index + 1}"): each.processed for index, each in enumerate(made)}
    else:
        if len(made) != 1:
            raise RequestError("Icons are made of one picture; name one.")
        folder = inside(wanted.icons, caller.folders)
        drawn = await to_thread.run_sync(lambda: icon_set(made[0].processed.data, ground=wanted.ground or "white"), limiter=DECODING)
        favicon = drawn.pop("favicon.ico")
        files = {folder / name: await to_thread.run_sync(process, data, limiter=DECODING) for name, data in drawn.items()}
        await open_store(folder_url(folder)).put("favicon.ico", favicon)
    for path, processed in files.items():
        await open_store(folder_url(path.parent)).put(path.name, processed.data)
    written = [
        Written(
            path=path,
            media_type=processed.facts.media_type,
            size=processed.facts.size,
            size_bytes=processed.facts.size_bytes,
            preview=processed.thumbnail.data,
        )
        for path, processed in files.items()
    ]
    if wanted.icons:
        written.append(Written(path=folder / "favicon.ico", media_type="image/x-icon", size=None, size_bytes=len(favicon), preview=None))
    return tuple(written)


async def record(
    caller: Caller,
    wanted: Transformation,
    made: Sequence[Made],
    words: Sequence[Adjustment],
    *,
    history: History,
    owner: str,
    store: Store,
    now: datetime,
) -> Job:
    """A job that has ended, with the pictures stored and their lineage.

    The pictures are stored first: where this process ends in between, whoever takes up the job finds them.

    Args:
        owner: this process, in the record.

    Raises:
        StorageError: store or record cannot be written.
    """
    from .jobs.work import write_picture

    job = Job(
        id=secrets.token_hex(8),
        principal=caller.principal,
        state=JobState.RUNNING,
        request=ImageRequest(prompt=summary(wanted), count=len(made), parents=_parents(*made)),
        provider=PROVIDER,
        model=MODEL,
        store_url=store.url,
        adjustments=tuple(words),
        owner=owner,
        created_at=now,
    )
    images = []
    for index, each in enumerate(made):
        prompt = next(filter(None, (source.prompt for source in each.sources)), "") if len(each.sources) == 1 else summary(wanted)
        its = replace(job, request=replace(job.request, prompt=prompt, parents=_parents(each)))
        image, _ = await write_picture(its, index, Drawn(data=each.processed.data), each.processed, [store], now)
        images.append(image)
    await history.enter(job, lease_until=now + _LEASE)
    await history.finish(job.id, owner, JobState.SUCCEEDED, now=now, images=images)
    return replace(job, state=JobState.SUCCEEDED, images=tuple(images), progress=1.0, finished_at=now)


def _parents(*made: Made) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parent for each in made for source in each.sources for parent in source.parents))
