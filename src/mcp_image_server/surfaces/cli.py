"""The command line: the same studio, for people at a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import typer
from anyio import to_thread
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .. import __version__
from ..batches import Batch, Item, batch_id, expand, is_batch_id, read_rows
from ..errors import ConfigError, ImageServerError, NotFoundError, ProviderError, RequestError
from ..inputs import Wish, edges
from ..models import Action, Ask, Caller, Headway, Image, ImageRequest, Job, Operation, Style
from ..policy.ranking import Ranked
from ..studio import Studio, open_studio
from ..transforming import Corner, Place, Transformation
from .facts import (
    answer,
    batch_body,
    batch_estimate_facts,
    catalogue_facts,
    comparison_facts,
    error_body,
    estimate_facts,
    finding_facts,
    found_facts,
    headway_words,
    image_filter,
    inspection_facts,
    lineage_facts,
    listed_job_facts,
    ranked_facts,
    statistics_facts,
    style_facts,
    succeeded,
    template_facts,
    transformed_facts,
)
from .tables import comparisons, details, findings, overview
from .tables import plain_table as _table
from .terminal import show

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Turn prompts into stored pictures.")
history_app = typer.Typer(no_args_is_help=True, help="Pictures made earlier.")
app.add_typer(history_app, name="history")
styles_app = typer.Typer(no_args_is_help=True, help="Named styles that work with every model.")
app.add_typer(styles_app, name="styles")
templates_app = typer.Typer(no_args_is_help=True, help="Prompts with variables to be filled in.")
app.add_typer(templates_app, name="templates")
provider_app = typer.Typer(no_args_is_help=True, help="Providers, ours and those of other packages.")
app.add_typer(provider_app, name="provider")

console = Console(stderr=True)
"""Words for people; standard output is for results alone."""

ME = Caller()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


def _run(
    work: Callable[[Studio], Awaitable[bool]], *, as_json: bool = False, failed: int = 1, interrupted: str = "what was under way is cancelled"
) -> None:
    """Does the work with a studio opened for it.

    Ends the program with `failed` when the work says that all is not well, and with words and an exit code of its own for an expected failure.
    """

    async def within() -> int:
        async with open_studio() as studio:
            try:
                return 0 if await work(studio) else failed
            except ImageServerError as error:
                return _told(error, as_json)

    try:
        code = anyio.run(within)
    except ConfigError as error:
        code = _told(error, as_json)
    except KeyboardInterrupt:
        console.print(f"Interrupted; {interrupted}.", style="red", markup=False, highlight=False, soft_wrap=True)
        code = 130
    if code:
        raise typer.Exit(code)


def _told(error: ImageServerError, as_json: bool) -> int:
    if as_json:
        _print_json(error_body(error))
    else:
        console.print(f"error ({error.code}): {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return exit_code(error)


def exit_code(error: ImageServerError) -> int:
    """2: ask differently; 3: the operator must set something; 4: the service failed; 1: anything else."""
    match error:
        case RequestError():
            return 2
        case ConfigError():
            return 3
        case ProviderError():
            return 4
        case _:
            return 1


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    logging.getLogger("stamina").setLevel(logging.ERROR)  # what is tried again needs no word to a person who waits


@app.command(context_settings={"ignore_unknown_options": True})
def serve(
    transport: Annotated[str | None, typer.Option(help="stdio or http. Default: MCP_TRANSPORT, else stdio when standard input is a pipe.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on over HTTP. Default: MCP_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on over HTTP. Default: MCP_PORT, else 8000.")] = None,
) -> None:
    """Run the MCP server. The bare command does the same."""
    from .serve import main

    options = {"--transport": transport, "--host": host, "--port": port}
    main([word for name, value in options.items() if value is not None for word in (name, str(value))])


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in any language. With --again or --template it may be left out.")] = "",
    provider: Annotated[str, typer.Option("--provider", "-p", help="Service to draw with. Default: the first that is configured.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Model id, or provider/model.")] = "",
    style: Annotated[str, typer.Option("--style", "-s", help="Style key; `styles list` has them.")] = "",
    size: Annotated[str, typer.Option("--size", help="1024x1024, or a ratio such as 16:9.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10, help="How many pictures.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Same seed, same picture.")] = None,
    negative: Annotated[str, typer.Option("--negative", help="What the picture must not show.")] = "",
    quality: Annotated[str, typer.Option(help="low, medium or high.")] = "",
    output_format: Annotated[str, typer.Option("--format", "-f", help="png, jpeg or webp.")] = "",
    transparent: Annotated[bool, typer.Option("--transparent", help="No background.")] = False,
    prefix: Annotated[str, typer.Option(help="First part of the file's name.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save a copy here as well.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path alone.")] = False,
    fallback: Annotated[str, typer.Option(help="Who may draw instead while nobody has taken the work: providers or provider/model, any, none.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to what it costs without being asked.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", "--dry-run", help="Say who would draw, what would be changed and what it would cost, and draw nothing.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show which models fit the request and why, and draw nothing.")] = False,
    again: Annotated[str, typer.Option(help="Id of a picture to draw again, seed and all, but for what is said here.")] = "",
    template: Annotated[str, typer.Option("--template", "-t", help="Template that makes the prompt; `templates list` has them.")] = "",
    var: Annotated[list[str] | None, typer.Option("--var", help="A variable of the template: name=value. May be repeated.")] = None,
    improve: Annotated[
        bool | None, typer.Option("--improve/--no-improve", help="Whether a chat model writes the prompt anew first. Default: as MCP_IMPROVE says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw pictures from a prompt, store them, and print where they are."""

    async def request(studio: Studio) -> ImageRequest:
        address = studio.read_address(provider=provider, model=model, style=style, resolution=size)
        asked = ImageRequest(
            prompt=prompt,
            provider=address.provider,
            model=address.model,
            style=address.style,
            shape=address.shape,
            count=count,
            seed=seed,
            negative_prompt=negative or None,
            quality=quality or None,
            output_format=output_format or None,
            background="transparent" if transparent else None,
            file_prefix=prefix or None,
        )
        if template or var:
            asked = await studio.from_template(asked, template, _variables(var or ()))
        return await studio.again(ME, again, **asked.wishes) if again else asked

    allowed = [name for name in fallback.split(",") if name.strip()]

    async def say(studio: Studio) -> bool:
        found = await studio.estimate(ME, await request(studio), fallback=allowed, improve=improve)
        _print_json(estimate_facts(found))
        return found.objection is None

    async def compare(studio: Studio) -> bool:
        ranking = await studio.ranking(ME, await request(studio))
        if as_json:
            _print_json([ranked_facts(ranked) for ranked in ranking])
        else:
            console.print(_ranking_table(ranking))
        return True

    async def draw(studio: Studio) -> bool:
        job = await _with_progress(studio, await request(studio), fallback=allowed, agreed=yes, hidden=quiet or as_json, improve=improve)
        return await _show_all(studio, job, output, quiet=quiet, as_json=as_json)

    _run(compare if explain else say if estimate else draw, as_json=as_json, failed=4)


@app.command()
def edit(
    prompt: Annotated[str, typer.Argument(help="What is to change, or what the new picture shows.")],
    images: Annotated[list[str], typer.Argument(help="Pictures to work on: files, image ids or https links; more than one are references.")],
    action: Annotated[str, typer.Option(help="variation, upscale or remove_background, where the pictures alone do not say it.")] = "",
    mask: Annotated[str, typer.Option(help="Picture, transparent or white where it is to be painted anew.")] = "",
    box: Annotated[list[str] | None, typer.Option(help="In place of a mask: x,y,width,height in pixels or fractions. May be repeated.")] = None,
    extend: Annotated[str, typer.Option(help="Pixels to paint on at the left, top, right and bottom: 0,0,256,0.")] = "",
    style_image: Annotated[str, typer.Option("--style-image", help="Picture in whose look to draw.")] = "",
    strength: Annotated[float | None, typer.Option(min=0, max=1, help="0: as it was; 1: wholly new.")] = None,
    provider: Annotated[str, typer.Option("--provider", "-p", help="Service to draw with. Default: the first that is configured.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Model id, or provider/model.")] = "",
    style: Annotated[str, typer.Option("--style", "-s", help="Style key; `models` lists them.")] = "",
    size: Annotated[str, typer.Option("--size", help="1024x1024, or a ratio such as 16:9.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10, help="How many pictures.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Same seed, same picture.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save a copy here as well.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path alone.")] = False,
    fallback: Annotated[str, typer.Option(help="Who may draw instead while nobody has taken the work: providers or provider/model, any, none.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to what it costs without being asked.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", "--dry-run", help="Say who would draw and what it would cost, and draw nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change pictures: by words, under a mask, beyond the edges, in another picture's look, larger, or several into one."""
    allowed = [name for name in fallback.split(",") if name.strip()]

    def wish(studio: Studio) -> Wish:
        address = studio.read_address(provider=provider, model=model, style=style, resolution=size)
        boxes = tuple((x, y, width, height) for x, y, width, height in (_numbers(each, "--box") for each in box or ()))
        request = ImageRequest(
            prompt=prompt,
            provider=address.provider,
            model=address.model,
            style=address.style,
            shape=address.shape,
            action=_operation(action),
            extend=edges([round(number) for number in _numbers(extend, "--extend")]) if extend else None,
            strength=strength,
            count=count,
            seed=seed,
        )
        return Wish(request=request, images=tuple(images), mask=mask, boxes=boxes, style_image=style_image)

    async def say(studio: Studio) -> bool:
        found = await studio.estimate(_at_home(), wish(studio), fallback=allowed)
        _print_json(estimate_facts(found))
        return found.objection is None

    async def draw(studio: Studio) -> bool:
        job = await _with_progress(studio, wish(studio), fallback=allowed, agreed=yes, hidden=quiet or as_json)
        return await _show_all(studio, job, output, quiet=quiet, as_json=as_json)

    _run(say if estimate else draw, as_json=as_json, failed=4)


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise RequestError(f"--var is {wrong[0]!r}; write name=value.", code="invalid_variables")
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}


def _numbers(text: str, option: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise RequestError(f"{option} is {text!r}; write four numbers with commas between them.")
    return numbers


def _operation(action: str) -> Operation | None:
    try:
        return Operation(action) if action else None
    except ValueError:
        raise RequestError(f"--action is {action!r}; there are: {', '.join(Operation)}.") from None


def _at_home() -> Caller:
    """The person at the terminal, to whom every file is open that the system opens to them."""
    here = Path.cwd()
    return replace(ME, folders=(here, Path(here.anchor)))


async def _show_all(studio: Studio, job: Job, output: Path | None, *, quiet: bool, as_json: bool) -> bool:
    """Prints what became of a job and writes the copies; whether it went well."""
    if as_json:
        _print_json(answer(studio, job))
    else:
        await _tell(studio, job, quiet=quiet)
    if output is not None:
        for index, image in enumerate(job.images):
            await _copy(studio, image, output if len(job.images) == 1 else output.with_stem(f"{output.stem}-{index + 1}"))
    return succeeded(job)


async def _with_progress(
    studio: Studio, wanted: ImageRequest | Wish, *, fallback: Sequence[str], agreed: bool, hidden: bool, improve: bool | None = None
) -> Job:
    with _progress(hidden=hidden) as progress:
        bar = progress.add_task("starting", total=1.0)
        seen: list[Job] = []
        ask = _asking(progress, agreed=agreed)

        async def watch(job: Job) -> None:
            seen[:] = [job]
            progress.update(bar, completed=job.progress, description=f"{job.provider}: {job.message or job.state}")

        try:
            seconds = studio.settings.job_timeout + 60
            caller = replace(_at_home(), ask=ask)
            return await studio.generate(caller, wanted, wait_seconds=seconds, watch=watch, fallback=fallback, fresh=True, improve=improve)
        except BaseException:  # also Ctrl-C: nobody is left to want the picture
            with anyio.CancelScope(shield=True), suppress(ImageServerError):
                for job in seen:
                    await studio.cancel(ME, job.id)
            raise


def _progress(*, hidden: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=hidden)


def _asking(progress: Progress, *, agreed: bool) -> Ask:
    """Puts questions to the person at the terminal, where there is one who has not agreed already."""

    async def ask(question: str) -> bool:
        if agreed or not sys.stdin.isatty():
            return agreed
        progress.stop()
        try:
            return await to_thread.run_sync(typer.confirm, question)
        finally:
            progress.start()

    return ask


@app.command()
def batch(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="List of prompts: .csv, .jsonl, .yaml or .txt. Or the id of a batch that was begun before."),
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Model id or provider/model, for rows that name none. Repeated: each row with each.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", "--n", min=1, max=100, help="Pictures of each, for rows that do not say.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to save copies in as well.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", "--dry-run", help="Say what it would cost, and draw nothing.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Draw all anew. Without, the same list goes on where it was.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="At the end, enter anew what failed and surely was not billed.")] = False,
    retry_maybe_billed: Annotated[
        bool, typer.Option("--retry-maybe-billed", help="At the end, enter anew what brought no picture and may have been billed.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the batch of this list, or of this id.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to what it costs without being asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw many pictures from a list. Begun again after a crash it goes on, and nothing is sent twice."""
    begun = is_batch_id(source)

    async def items() -> list[Item]:
        if begun:
            raise RequestError(f"{source} is a batch that was begun before; --model, --n, --estimate and --new are for a list.")
        return await to_thread.run_sync(lambda: expand(read_rows(Path(source)), models=model or (), n=count))

    async def say(studio: Studio) -> bool:
        found = await studio.estimate_batch(_at_home(), await items())
        _print_json(batch_estimate_facts(found))
        return found.objection is None

    async def end(studio: Studio) -> bool:
        await _tell_batch(studio, await studio.cancel_batch(ME, source if begun else batch_id(ME.principal, await items())), [], as_json=as_json)
        return True

    async def draw(studio: Studio) -> bool:
        with _progress(hidden=as_json) as progress:
            bar = progress.add_task("reading", total=1.0)
            me = replace(_at_home(), ask=_asking(progress, agreed=yes))

            async def watch(headway: Headway) -> None:
                progress.update(bar, completed=headway.progress, description=headway_words(headway))

            if begun and not (new or model or count > 1):
                done = await studio.batch_status(me, source, wait_seconds=inf, watch=watch)
            else:
                done = await studio.batch(me, await items(), new=new, wait_seconds=inf, watch=watch)
            if retry_failed or retry_maybe_billed:
                done = await studio.retry_batch(me, done.id, failed=retry_failed, maybe_billed=retry_maybe_billed, wait_seconds=inf, watch=watch)
            copies = await _copies(studio, done, output) if output is not None else []
        await _tell_batch(studio, done, copies, as_json=as_json)
        return done.state == "succeeded"

    kept = "the batch is kept: the same command goes on where it was, and --cancel ends it"
    _run(end if cancel else say if estimate else draw, as_json=as_json, failed=4, interrupted=kept)


async def _copies(studio: Studio, batch: Batch, folder: Path) -> list[Path]:
    """Writes a copy of each picture, named by the number of its item, and of the contact sheet."""
    try:
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"The pictures are stored, but {folder} cannot be made: {error.strerror}.") from error
    digits = len(str(len(batch.pieces)))
    wanted = [(image, f"{number:0{digits}}_{image.key}") for number, piece in enumerate(batch.pieces, 1) for image in piece.job.images]
    wanted += [(batch.sheet, batch.sheet.key)] if batch.sheet is not None else []
    for image, name in wanted:
        await _copy(studio, image, folder / name)
    return [folder / name for _, name in wanted]


async def _tell_batch(studio: Studio, batch: Batch, copies: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        _print_json({**batch_body(studio, batch), **({"copies": [str(path) for path in copies]} if copies else {})})
        return
    table = _table("Nr", "State", "By", "Prompt", "Picture or reason", numbers=("Nr",))
    for number, piece in enumerate(batch.pieces, 1):
        job, prompt = piece.job, " ".join(piece.prompt.split())
        failure = f"{job.failure.code}: {job.failure.message}" if job.failure else ""
        found = " ".join(str(studio.path(image) or studio.link(image) or image.key) for image in job.images) or failure
        table.add_row(str(number), str(job.state), job.provider, prompt if len(prompt) <= 24 else prompt[:23] + "…", found)
    Console().print(table)
    print(f"{batch.id}: {headway_words(batch.headway)}.")
    if batch.headway.perhaps:
        perhaps = " + ".join(f"{micros / 1_000_000:.4f} {currency}" for currency, micros in batch.headway.perhaps.items())
        print(f"Of that, {perhaps} may not have been billed.")
    if batch.sheet is not None:
        print(f"Contact sheet: {studio.path(batch.sheet) or studio.link(batch.sheet) or batch.sheet.key}")
    if any(piece.may_have_been_billed for piece in batch.pieces):
        console.print("--retry-maybe-billed enters anew what brought no picture and may have been billed.", highlight=False, soft_wrap=True)
    if any(piece.has_failed and not piece.may_have_been_billed for piece in batch.pieces):
        console.print("--retry-failed enters anew what surely was not billed.", highlight=False, soft_wrap=True)


def _ranking_table(ranking: Sequence[Ranked]) -> Table:
    table = Table(title="Who fits best", title_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("points", justify="right")
    table.add_column("why", overflow="fold")
    for ranked in ranking:
        why = "; ".join(f"{point.value:+.1f} {point.words}" for point in ranked.points)
        table.add_row(f"{ranked.candidate.catalogue.provider}/{ranked.candidate.model.id}", f"{ranked.score:.1f}", why)
    return table


async def _tell(studio: Studio, job: Job, *, quiet: bool) -> None:
    if job.failure is not None:
        console.print(f"error ({job.failure.code}): {job.failure.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    for image in job.images:
        if not quiet:
            await show(studio, image)
        print(studio.path(image) or studio.link(image) or image.key)
    if quiet:
        return
    for adjustment in job.adjustments:
        console.print(f"note ({adjustment.field}): {adjustment.message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    facts = [f"{job.provider}/{job.model}", *(f"{image.size} px, {image.size_bytes / 1000:.0f} kB, seed {image.seed}" for image in job.images[:1])]
    if job.cost is not None:
        facts.append(f"{job.cost.micros / 1_000_000:.4f} {job.cost.currency} ({job.cost.source})")
    console.print(" · ".join(facts), style="dim", markup=False, highlight=False, soft_wrap=True)


async def _copy(studio: Studio, image: Image, target: Path) -> None:
    data = await studio.read(image)
    try:
        await anyio.Path(target).write_bytes(data)
    except OSError as error:
        raise RequestError(f"The picture is stored, but no copy could be written to {target}: {error.strerror}.") from error


@app.command()
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
        made = await studio.transform(_at_home(), wanted)
        if as_json:
            _print_json(transformed_facts(studio, made))
            return True
        for adjustment in made.adjustments:
            console.print(f"note ({adjustment.field}): {adjustment.message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        for image in made.job.images if made.job is not None else ():
            if not quiet:
                await show(studio, image)
            print(studio.path(image) or studio.link(image) or image.key)
        for file in made.files:
            print(file.path)
        return True

    _run(work, as_json=as_json)


@app.command()
def inspect(picture: Annotated[str, typer.Argument(help="A file, or the id of a stored picture.")], as_json: AsJson = False) -> None:
    """What a picture's file says about itself: size, where it comes from, AI labels, notes, and whether its signature holds."""

    async def work(studio: Studio) -> bool:
        from ..pictures import inspect as look

        data = await _bytes_of(studio, picture)
        facts = inspection_facts(await to_thread.run_sync(look, data))
        if as_json:
            _print_json(facts)
            return True
        for name, value in _lines(facts):
            print(f"{name}: {value}")
        return True

    _run(work, as_json=as_json)


async def _bytes_of(studio: Studio, picture: str) -> bytes:
    path = await anyio.Path(picture).expanduser()
    if await path.is_file():
        return await path.read_bytes()
    try:
        return await studio.read(await studio.image(ME, picture.removeprefix("image://")))
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


@app.command()
def models(
    provider: Annotated[str, typer.Argument(help="Only this provider's, with every fact.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Hold the table against what the configured services list. Costs nothing; ends with 1 when they differ.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The services, their models and what each can do; also those that still want a key."""

    async def compare(studio: Studio) -> bool:
        found = await studio.compare_models(ME, provider)
        if as_json:
            _print_json([comparison_facts(each) for each in found])
        else:
            Console().print(comparisons(found))
        return all(each.ok for each in found)

    async def show_all(studio: Studio) -> bool:
        catalogues = [catalogue for catalogue in studio.all_catalogues() if provider in ("", catalogue.provider)]
        if not catalogues:
            studio.catalogue(provider)  # says which there are
        configured = {catalogue.provider for catalogue in studio.catalogues()}
        if as_json:
            _print_json(
                [
                    {**row, "configured": catalogue.provider in configured, "variables": list(catalogue.variables)}
                    for catalogue in catalogues
                    for row in catalogue_facts(catalogue)["models"]
                ]
            )
        else:
            screen = Console(highlight=False)
            screen.print(details(catalogues[0], configured) if provider else overview(catalogues, configured, screen))
        return True

    _run(compare if check else show_all, as_json=as_json)


@provider_app.command("check")
def provider_check(
    target: Annotated[str, typer.Argument(help="A provider's name, or where to import one from: module or module:attribute.")],
    base_url_variable: Annotated[list[str], typer.Option(help="Variable that takes the address of the service. May be repeated.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="Another variable, as NAME=VALUE. May be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a provider against every fault that a service can have. It runs on this machine alone; ends with 1 when a promise is broken."""
    from ..providers import contract, find

    async def tried() -> tuple[contract.Finding, ...]:
        settings = dict(words.partition("=")[::2] for words in setting or ())
        return await contract.check(contract.Trial(source=find(target), url_variables=tuple(base_url_variable), settings=settings))

    sys.path.insert(0, "")  # a module that is not installed yet lies in the working directory
    os.environ["NO_PROXY"] = "*"
    try:
        found = anyio.run(tried)
    except ImageServerError as error:
        raise typer.Exit(_told(error, as_json)) from error
    if as_json:
        _print_json([finding_facts(each) for each in found])
    else:
        Console().print(findings(found))
    if any(each.broken for each in found):
        raise typer.Exit(1)


@history_app.command("search")
@history_app.command("list")
def history_list(
    words: Annotated[str, typer.Argument(help="Words that prompt, title or tags hold; the last may be a beginning.")] = "",
    provider: Annotated[str, typer.Option("--provider", "-p", help="Only what this service drew.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Only what this model drew.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag. May be repeated.")] = None,
    favourite: Annotated[bool, typer.Option("--favourite", help="Only favourites.")] = False,
    since: Annotated[str, typer.Option(help="Made on that day or later: 2026-12-31, or a moment.")] = "",
    until: Annotated[str, typer.Option(help="Made on that day or before.")] = "",
    min_edge: Annotated[int | None, typer.Option(min=1, help="Both edges are at least so many pixels.")] = None,
    ratio: Annotated[str, typer.Option(help="Width to height, such as 16:9.")] = "",
    cost_from: Annotated[float | None, typer.Option(min=0, help="Their job cost so much or more, in the currency of its bill.")] = None,
    cost_to: Annotated[float | None, typer.Option(min=0, help="Their job cost so much or less.")] = None,
    made_from: Annotated[str, typer.Option(help="Only what was made from the picture of that id.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="What is in the trash.")] = False,
    before: Annotated[str, typer.Option(help="Only those older than the picture of that id: the next page.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The latest pictures, or those that hold the words and fit."""

    async def work(studio: Studio) -> bool:
        only = image_filter(
            provider=provider,
            model=model,
            tags=tuple(tag or ()),
            favourite=favourite,
            since=since,
            until=until,
            min_edge=min_edge,
            ratio=ratio,
            cost_from=None if cost_from is None else round(cost_from * 1_000_000),
            cost_to=None if cost_to is None else round(cost_to * 1_000_000),
            made_from=made_from,
            deleted=deleted,
        )
        _list_images(studio, await studio.search(ME, words, only=only, limit=limit, before=before or None), as_json=as_json)
        return True

    _run(work, as_json=as_json)


def _list_images(studio: Studio, images: Sequence[Image], *, as_json: bool) -> None:
    if as_json:
        _print_json([found_facts(studio, image) for image in images])
        return
    table = _table("Made", "Id", "By", "Pixels", "kB", "Prompt", numbers=("kB",))
    for image in images:
        made = image.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        words = ("★" if image.favourite else "", image.title, *(f"#{tag}" for tag in image.tags), image.prompt[:200])
        table.add_row(made, image.id, image.provider, str(image.size), f"{image.size_bytes / 1000:.0f}", " · ".join(filter(None, words)))
    Console().print(table)


ImageIds = Annotated[list[str], typer.Argument(help="Ids of pictures.")]


def _manage(image_ids: Sequence[str], action: Action, *, tags: Sequence[str] = (), title: str = "", as_json: bool) -> None:
    async def work(studio: Studio) -> bool:
        _list_images(studio, await studio.manage(ME, image_ids, action, tags=tags, title=title), as_json=as_json)
        return True

    _run(work, as_json=as_json)


@history_app.command("tag")
def history_tag(
    image_ids: ImageIds,
    tag: Annotated[list[str], typer.Option("--tag", "-t", help="A tag. May be repeated.")],
    as_json: AsJson = False,
) -> None:
    """Give pictures tags."""
    _manage(image_ids, "tag", tags=tag, as_json=as_json)


@history_app.command("untag")
def history_untag(
    image_ids: ImageIds,
    tag: Annotated[list[str], typer.Option("--tag", "-t", help="A tag. May be repeated.")],
    as_json: AsJson = False,
) -> None:
    """Take tags from pictures."""
    _manage(image_ids, "untag", tags=tag, as_json=as_json)


@history_app.command("favourite")
def history_favourite(
    image_ids: ImageIds, off: Annotated[bool, typer.Option("--off", help="They are favourites no more.")] = False, as_json: AsJson = False
) -> None:
    """Mark pictures as favourites."""
    _manage(image_ids, "unfavourite" if off else "favourite", as_json=as_json)


@history_app.command("rename")
def history_rename(
    image_id: Annotated[str, typer.Argument(help="The picture's id.")],
    title: Annotated[str, typer.Argument(help="Its title. Empty: none any more.")],
    as_json: AsJson = False,
) -> None:
    """Give a picture a title."""
    _manage([image_id], "rename", title=title, as_json=as_json)


@history_app.command("delete")
def history_delete(image_ids: ImageIds, as_json: AsJson = False) -> None:
    """Put pictures into the trash, from which `history undelete` gets them back for MCP_TRASH_DAYS days."""
    _manage(image_ids, "delete", as_json=as_json)


@history_app.command("undelete")
def history_undelete(image_ids: ImageIds, as_json: AsJson = False) -> None:
    """Get pictures back from the trash; `history list --deleted` shows it."""
    _manage(image_ids, "undelete", as_json=as_json)


@history_app.command("purge")
def history_purge(
    everything: Annotated[bool, typer.Option("--all", help="The whole trash, also what was deleted a moment ago.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do so without being asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the files of pictures that are in the trash longer than MCP_TRASH_DAYS says. Nothing brings them back."""

    async def work(studio: Studio) -> bool:
        removed = await studio.purge(ME, everything=everything)
        if as_json:
            _print_json({"removed": [image.id for image in removed]})
        else:
            print(f"{len(removed)} pictures removed for good.")
        return True

    if everything and not yes:
        typer.confirm("Remove everything in the trash for good?", abort=True, err=True)
    _run(work, as_json=as_json)


@history_app.command("lineage")
def history_lineage(image_id: Annotated[str, typer.Argument(help="The picture's id.")], as_json: AsJson = False) -> None:
    """What a picture was made from, and what was made from it, nearest first."""

    async def work(studio: Studio) -> bool:
        lineage = await studio.lineage(ME, image_id)
        if as_json:
            _print_json(lineage_facts(studio, lineage))
            return True
        table = _table("", "Id", "From", "Prompt", numbers=())
        for heading, images in (("older", lineage.ancestors[::-1]), ("this", (lineage.image,)), ("newer", lineage.descendants)):
            for image in images:
                table.add_row(heading, image.id, " ".join(image.parents), image.title or image.prompt[:200])
        Console().print(table)
        return True

    _run(work, as_json=as_json)


@history_app.command("stats")
def history_stats(
    days: Annotated[int | None, typer.Option(min=1, help="Of so many days. Default: of all time.")] = None, as_json: AsJson = False
) -> None:
    """How many pictures there are and what they cost, by service, model and day."""

    async def work(studio: Studio) -> bool:
        found = await studio.statistics(ME, days=days)
        if as_json:
            _print_json(statistics_facts(found))
            return True
        table = _table("", "Pictures", "MB", "Spent", numbers=("Pictures", "MB"))
        for part in ({"all": found.total}, found.providers, found.models, {str(day): tally for day, tally in found.days.items()}):
            for name, tally in part.items():
                spent = ", ".join(f"{micros / 1_000_000:.4f} {currency}" for currency, micros in tally.spent.items())
                table.add_row(name, str(tally.pictures), f"{tally.size_bytes / 1_000_000:.1f}", spent)
            table.add_section()
        table.caption = f"{found.favourites} favourites; {found.deleted} in the trash."
        Console().print(table)
        return True

    _run(work, as_json=as_json)


@history_app.command("show")
def history_show(image_id: Annotated[str, typer.Argument(help="The picture's id.")], as_json: AsJson = False) -> None:
    """One picture, in the terminal where it can, with its facts."""

    async def work(studio: Studio) -> bool:
        image = await studio.image(ME, image_id)
        if not as_json:
            await show(studio, image)
        _print_json(found_facts(studio, image))
        return True

    _run(work, as_json=as_json)


@history_app.command("verify")
def history_verify(as_json: AsJson = False) -> None:
    """Whether the history and the files agree, byte for byte. Ends with 1 when they do not."""

    async def work(studio: Studio) -> bool:
        found = await studio.verify(ME)
        if as_json:
            lists = {name: list(getattr(found, name)) for name in ("missing", "damaged", "unrecorded", "removed")}
            _print_json({"ok": found.ok, "images": found.images, **lists})
        else:
            print(f"{found.images} pictures recorded.")
            for words, entries in (
                ("recorded, but the file is gone", found.missing),
                ("recorded, but the file was changed", found.damaged),
                ("stored, but no record knows it", found.unrecorded),
                ("piece of a write that was cut off, removed", found.removed),
            ):
                for entry in entries:
                    print(f"{entry}: {words}")
            print("History and files agree." if found.ok else "History and files do not agree.")
        return found.ok

    _run(work, as_json=as_json)


BesidePictures = Annotated[
    bool, typer.Option("--beside-pictures", help="Write it into the picture folder instead of the working directory, for all who store there.")
]


def _place(studio: Studio, beside_pictures: bool) -> Path:
    return studio.save_folder if beside_pictures else Path.cwd()


@styles_app.command("list")
def styles_list(as_json: AsJson = False) -> None:
    """The styles that work with every model: those that come along and people's own."""

    async def work(studio: Studio) -> bool:
        styles = await studio.styles()
        if as_json:
            _print_json([style_facts(style) for style in styles.values()])
            return True
        table = _table("Key", "Style", "Written into the prompt", numbers=())
        for style in styles.values():
            table.add_row(f"{style.key}{' *' if style.source else ''}", style.label, style.phrase)
        table.caption = "* is one of your own." if any(style.source for style in styles.values()) else None
        Console().print(table)
        return True

    _run(work, as_json=as_json)


@styles_app.command("show")
def styles_show(key: Annotated[str, typer.Argument(help="The style's key.")], as_json: AsJson = False) -> None:
    """One style, as a file would have it."""

    async def work(studio: Studio) -> bool:
        style = (await studio.styles()).get(key)
        if style is None:
            raise NotFoundError(f"There is no style {key!r}; `mcp-image-server styles list` has them.", code="invalid_style")
        print(json.dumps(style_facts(style), ensure_ascii=False, indent=2) if as_json else studio.library.text_of(style).rstrip())
        return True

    _run(work, as_json=as_json)


@styles_app.command("add")
def styles_add(
    key: Annotated[str, typer.Argument(help="Its key: letters, digits, - and _.")],
    phrase: Annotated[str, typer.Argument(help="What is written into the prompt.")],
    label: Annotated[str, typer.Option(help="Its name for people.")] = "",
    chinese: Annotated[str, typer.Option("--zh", help="What is written into a Chinese prompt.")] = "",
    beside_pictures: BesidePictures = False,
) -> None:
    """Write a style of your own into a file. One with the key of another takes its place."""

    async def work(studio: Studio) -> bool:
        print(studio.library.add_style(_place(studio, beside_pictures), Style(key=key, label=label, phrase=phrase, phrase_zh=chinese)))
        return True

    _run(work)


@templates_app.command("list")
def templates_list(as_json: AsJson = False) -> None:
    """The templates: those that come along and people's own."""

    async def work(studio: Studio) -> bool:
        templates = await studio.templates()
        if as_json:
            _print_json([template_facts(template) for template in templates.values()])
            return True
        table = _table("Name", "Template", "Variables", numbers=())
        for template in templates.values():
            variables = " ".join(f"{variable.name}{'!' if variable.default is None else ''}" for variable in template.variables)
            table.add_row(f"{template.key}{' *' if template.is_own else ''}", template.title, variables)
        table.caption = "! has to be given." + (" * is one of your own." if any(template.is_own for template in templates.values()) else "")
        Console().print(table)
        return True

    _run(work, as_json=as_json)


@templates_app.command("show")
def templates_show(name: Annotated[str, typer.Argument(help="The template's name, or part of its title.")], as_json: AsJson = False) -> None:
    """One template, as its file has it."""

    async def work(studio: Studio) -> bool:
        template = studio.library.template(name)
        print(json.dumps(template_facts(template), ensure_ascii=False, indent=2) if as_json else studio.library.text_of(template).rstrip())
        return True

    _run(work, as_json=as_json)


@templates_app.command("new")
def templates_new(
    name: Annotated[str, typer.Argument(help="Its name: letters, digits, - and _.")],
    like: Annotated[str, typer.Option(help="Begin with a copy of this template.")] = "",
    beside_pictures: BesidePictures = False,
) -> None:
    """Begin a template of your own: writes a file to be edited, and prints where it is."""

    async def work(studio: Studio) -> bool:
        print(studio.library.add_template(_place(studio, beside_pictures), name, like=like))
        return True

    _run(work)


@app.command()
def jobs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """The latest jobs: what became of each, and what was spent in the last 30 days."""

    async def work(studio: Studio) -> bool:
        found = await studio.jobs(ME, limit=limit)
        spent = {currency: micros / 1_000_000 for currency, micros in (await studio.spent(ME)).items()}
        if as_json:
            _print_json({"jobs": [listed_job_facts(job) for job in found], "spent_in_30_days": spent})
            return True
        table = _table("Begun", "Id", "By", "State", "n", "Cost", "Prompt", numbers=("n", "Cost"))
        for job in found:
            begun = job.created_at.astimezone().strftime("%m-%d %H:%M")
            cost = f"{job.cost.micros / 1_000_000:.4f} {job.cost.currency}" if job.cost else ""
            state = f"{job.state} ({job.failure.code})" if job.failure else str(job.state)
            table.add_row(begun, job.id, job.provider, state, str(len(job.images)), cost, job.request.prompt[:200])
        Console().print(table)
        print(
            "Spent in the last 30 days: "
            + (", ".join(f"{amount:.4f} {currency}" for currency, amount in spent.items()) or "nothing that is known of")
            + "."
        )
        return True

    _run(work, as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at settings, folders, database and services, and say what is wrong. Costs nothing."""

    async def work(studio: Studio) -> bool:
        checks = []
        async for check in studio.doctor(ME):
            checks.append(check)
            if not as_json:
                print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.words}")
        if as_json:
            _print_json([{"name": check.name, "ok": check.ok, "message": check.words} for check in checks])
        return all(check.ok for check in checks)

    _run(work, as_json=as_json)


__all__ = ["app", "exit_code"]
