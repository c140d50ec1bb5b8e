"""The command line: the same studio, for people at a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from anyio import to_thread
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .. import __version__
from ..errors import ConfigError, ImageServerError, ProviderError, RequestError
from ..models import Caller, Image, ImageRequest, Job
from ..policy.ranking import Ranked
from ..studio import Studio, open_studio
from .facts import answer, brief_sizes, catalogue_facts, error_body, estimate_facts, found_facts, listed_job_facts, ranked_facts, succeeded
from .terminal import show

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Turn prompts into stored pictures.")
history_app = typer.Typer(no_args_is_help=True, help="Pictures made earlier.")
app.add_typer(history_app, name="history")

console = Console(stderr=True)
"""Words for people; standard output is for results alone."""

ME = Caller()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


def _run(work: Callable[[Studio], Awaitable[bool]], *, as_json: bool = False, failed: int = 1) -> None:
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
        console.print("Interrupted; what was under way is cancelled.", style="red", highlight=False)
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
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in any language.")],
    provider: Annotated[str, typer.Option("--provider", "-p", help="Service to draw with. Default: the first that is configured.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Model id, or provider/model.")] = "",
    style: Annotated[str, typer.Option("--style", "-s", help="Style key; `models` lists them.")] = "",
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
    as_json: AsJson = False,
) -> None:
    """Draw pictures from a prompt, store them, and print where they are."""

    def request(studio: Studio) -> ImageRequest:
        address = studio.read_address(provider=provider, model=model, style=style, resolution=size)
        return ImageRequest(
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

    allowed = [name for name in fallback.split(",") if name.strip()]

    async def say(studio: Studio) -> bool:
        found = await studio.estimate(ME, request(studio), fallback=allowed)
        _print_json(estimate_facts(found))
        return found.objection is None

    async def compare(studio: Studio) -> bool:
        ranking = await studio.ranking(ME, request(studio))
        if as_json:
            _print_json([ranked_facts(ranked) for ranked in ranking])
        else:
            console.print(_ranking_table(ranking))
        return True

    async def draw(studio: Studio) -> bool:
        job = await _with_progress(studio, request(studio), fallback=allowed, agreed=yes, hidden=quiet or as_json)
        if as_json:
            _print_json(answer(studio, job))
        else:
            await _tell(studio, job, quiet=quiet)
        if output is not None:
            for index, image in enumerate(job.images):
                await _copy(studio, image, output if len(job.images) == 1 else output.with_stem(f"{output.stem}-{index + 1}"))
        return succeeded(job)

    _run(compare if explain else say if estimate else draw, as_json=as_json, failed=4)


async def _with_progress(studio: Studio, request: ImageRequest, *, fallback: Sequence[str], agreed: bool, hidden: bool) -> Job:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("starting", total=1.0)
        seen: list[Job] = []

        async def ask(question: str) -> bool:
            if agreed or not sys.stdin.isatty():
                return agreed
            progress.stop()
            try:
                return await to_thread.run_sync(typer.confirm, question)
            finally:
                progress.start()

        async def watch(job: Job) -> None:
            seen[:] = [job]
            progress.update(bar, completed=job.progress, description=f"{job.provider}: {job.message or job.state}")

        try:
            seconds = studio.settings.job_timeout + 60
            return await studio.generate(replace(ME, ask=ask), request, wait_seconds=seconds, watch=watch, fallback=fallback, fresh=True)
        except BaseException:  # also Ctrl-C: nobody is left to want the picture
            with anyio.CancelScope(shield=True), suppress(ImageServerError):
                for job in seen:
                    await studio.cancel(ME, job.id)
            raise


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
def models(provider: Annotated[str, typer.Argument(help="Only this provider's.")] = "", as_json: AsJson = False) -> None:
    """The services, their models and what each can do; also those that still want a key."""

    async def work(studio: Studio) -> bool:
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
            return True
        table = _table("Model", "Pixels", "At once", "Price", "Ends", "Does", numbers=("At once", "Price"))
        table.caption = "* is taken when no model is named. Prices are list prices of one picture. --json has every fact."
        for catalogue in catalogues:
            for model in catalogue.models:
                price = f"{model.price.amount:.4f} {model.price.currency}" if model.price else ("by usage" if catalogue.variables else "free")
                name = f"{catalogue.provider}/{model.id}{' *' if model.id == catalogue.default_model else ''}"
                ends = model.ends.isoformat() if model.ends else ""
                table.add_row(name, brief_sizes(model.sizes), str(model.max_count), price, ends, " ".join(sorted(model.operations)))
            table.add_section()
        Console().print(table)
        for catalogue in catalogues:
            if catalogue.provider not in configured:
                print(f"{catalogue.provider}: not configured; set {' and '.join(catalogue.variables)} to use it.")
        return True

    _run(work, as_json=as_json)


def _table(*headings: str, numbers: Sequence[str]) -> Table:
    """A table whose last column takes what width is left."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numbers else "left", no_wrap=heading != headings[-1], overflow="fold")
    return table


@history_app.command("list")
def history_list(
    words: Annotated[str, typer.Argument(help="Words that the prompt holds.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The latest pictures, or those whose prompt holds the words."""

    async def work(studio: Studio) -> bool:
        images = await studio.search(ME, words, limit=limit)
        if as_json:
            _print_json([found_facts(studio, image) for image in images])
            return True
        table = _table("Made", "Id", "By", "Pixels", "kB", "Prompt", numbers=("kB",))
        for image in images:
            made = image.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
            table.add_row(made, image.id, image.provider, str(image.size), f"{image.size_bytes / 1000:.0f}", image.prompt[:200])
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
