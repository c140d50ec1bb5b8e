"""Pictures changed and looked into on this machine: `transform` and `inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import anyio
import typer
from anyio import to_thread

from ...errors import NotFoundError, RequestError
from ...studio import Studio
from ...transforming import Corner, Place, Transformation
from ..facts import inspection_facts, transformed_facts
from ..terminal import show
from .running import ME, AsJson, at_home, print_json, run
from .showing import place_of, say_notes


def transform(
    images: Annotated[list[str], typer.Argument(help="Pictures: files, image ids or https links.")],
    crop: Annotated[str, typer.Option(help="x,y,width,height in pixels or fractions; a ratio such as 16:9; or a size such as 512x512.")] = "",
    rotate: Annotated[float, typer.Option(help="Degrees, clockwise.")] = 0,
    flip: Annotated[Literal["horizontal", "vertical"] | None, typer.Option(help="horizontal or vertical.")] = None,
    resize: Annotated[str, typer.Option(help="512x512; or one edge, 512x or x512, from which the other follows.")] = "",
    fit: Annotated[bool, typer.Option("--fit", help="Resize to within the edges; so it is unless another is named.")] = False,
    fill: Annotated[bool, typer.Option("--fill", help="Resize to exactly the edges; what sticks out is cut off.")] = False,
    pad: Annotated[bool, typer.Option("--pad", help="Resize to exactly the edges, with room at the sides.")] = False,
    gravity: Annotated[Place, typer.Option(help="What stays in view, and where a picture lies in its padding.")] = "center",
    ground: Annotated[str, typer.Option(help="CSS colour of padding, and behind what can be seen through. Default: transparent.")] = "",
    watermark: Annotated[str, typer.Option(help="Words in a corner; ai:en and ai:zh write that the picture is AI-generated.")] = "",
    watermark_image: Annotated[str, typer.Option("--watermark-image", help="Picture in a corner, in place of words.")] = "",
    corner: Annotated[Corner, typer.Option(help="Of the watermark.")] = "bottom_right",
    output_format: Annotated[
        Literal["png", "jpeg", "webp", "avif"] | None, typer.Option("--format", "-f", help="Default: that of --output, else as it was.")
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="For a format that loses something.")] = None,
    max_bytes: Annotated[str, typer.Option("--max-bytes", help="Most bytes of the file: 100kB, 1.5MB.")] = "",
    sheet: Annotated[bool, typer.Option("--sheet", help="One contact sheet of all pictures; the other steps change the sheet.")] = False,
    icons: Annotated[str, typer.Option(help="Folder to write a website's icons to.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="Write the picture here, instead of storing it.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change pictures here, for nothing: crop, rotate, flip, resize, watermark, convert, compress; contact sheets and icons."""
    how: Literal["fit", "fill", "pad"] = "fill" if fill else "pad" if pad else "fit"
    wanted = Transformation(
        images=tuple(images),
        sheet=sheet,
        crop=crop,
        rotate=rotate,
        flip=flip or "",
        resize=resize,
        how=how,
        gravity=gravity,
        ground=ground,
        watermark=watermark,
        watermark_image=watermark_image,
        corner=corner,
        format=output_format,
        quality=quality,
        max_bytes=max_bytes,
        icons=icons,
        save_as=output,
    )

    async def work(studio: Studio) -> bool:
        if fit + fill + pad > 1:
            raise RequestError("--fit, --fill and --pad exclude each other; name one.")
        made = await studio.transform(at_home(), wanted)
        if as_json:
            print_json(transformed_facts(studio, made))
            return True
        say_notes(made.adjustments)
        for image in made.job.images if made.job is not None else ():
            if not quiet:
                await show(studio, image)
            print(place_of(studio, image))
        for file in made.files:
            print(file.path)
        return True

    run(work, as_json=as_json)


def inspect(picture: Annotated[str, typer.Argument(help="A file, or the id of a stored picture.")], as_json: AsJson = False) -> None:
    """What a picture's file says about itself: size, where it comes from, AI labels, notes, and whether its signature holds."""

    async def work(studio: Studio) -> bool:
        from ...pictures import inspect as look

        data = await _bytes_of(studio, picture)
        facts = inspection_facts(await to_thread.run_sync(look, data))
        if as_json:
            print_json(facts)
            return True
        for name, value in _lines(facts):
            print(f"{name}: {value}")
        return True

    run(work, as_json=as_json)


async def _bytes_of(studio: Studio, picture: str) -> bytes:
    path = await anyio.Path(picture).expanduser()
    if await path.is_file():
        return await path.read_bytes()
    try:
        return await studio.images.read(await studio.images.get(ME, picture.removeprefix("image://")))
    except NotFoundError as error:
        if error.code != "image_not_found":
            raise
        raise NotFoundError(f"There is no file {picture!r}, and no stored picture of that id.", code="file_not_found") from error


def _lines(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Each fact in a line, under the names of those around it."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{name} ")
        elif value not in (None, "", []):
            words = ", ".join({"True": "yes", "False": "no"}.get(str(each), str(each)) for each in (value if isinstance(value, list) else [value]))
            yield f"{before}{name}", " ".join(words.split())
