"""Many pictures from a list: `batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated

import anyio
import typer
from anyio import to_thread

from ...batches import Batch, Item, batch_id, expand, is_batch_id, read_rows
from ...errors import RequestError
from ...models import Headway
from ...studio import Studio
from ..facts import amounts_words, batch_body, batch_estimate_facts, headway_words
from ..tables import plain_table
from .running import ME, AsJson, at_home, print_json, results, run, say
from .showing import place_of, save_copy
from .watching import asking, progress_bar


def batch(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="List of prompts: .csv, .jsonl, .yaml or .txt. Or the id of a batch that was begun before."),
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Model id or provider/model, for rows that name none. Repeated: each row with each.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", "--n", min=1, max=100, help="Pictures of each, for rows that do not say.")] = 1,
    economy: Annotated[
        bool, typer.Option("--economy", help="Half the price, within a day, where the service offers that. The command may be left and begun again.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to save copies in as well.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", "--dry-run", help="Say as JSON what it would cost, and draw nothing.")] = False,
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
            raise RequestError(f"{source} is a batch that was begun before; --model, --n, --economy, --estimate and --new are for a list.")
        return await to_thread.run_sync(lambda: expand(read_rows(Path(source)), models=model or (), n=count, economy=economy))

    async def say(studio: Studio) -> bool:
        found = await studio.batches.estimate(at_home(), await items())
        print_json(batch_estimate_facts(found))
        return found.objection is None

    async def end(studio: Studio) -> bool:
        await _tell_batch(studio, await studio.batches.cancel(ME, source if begun else batch_id(ME.principal, await items())), [], as_json=as_json)
        return True

    async def draw(studio: Studio) -> bool:
        with progress_bar(hidden=as_json) as progress:
            bar = progress.add_task("reading", total=1.0)
            me = replace(at_home(), ask=asking(progress, agreed=yes))

            async def watch(headway: Headway) -> None:
                progress.update(bar, completed=headway.progress, description=headway_words(headway))

            if begun and not (new or model or count > 1 or economy):
                done = await studio.batches.status(me, source, wait_seconds=inf, watch=watch)
            else:
                done = await studio.batches.begin(me, await items(), new=new, wait_seconds=inf, watch=watch)
            if retry_failed or retry_maybe_billed:
                done = await studio.batches.retry(me, done.id, failed=retry_failed, maybe_billed=retry_maybe_billed, wait_seconds=inf, watch=watch)
            copies = await _copies(studio, done, output) if output is not None else []
        await _tell_batch(studio, done, copies, as_json=as_json)
        return done.state == "succeeded"

    kept = "the batch is kept: the same command goes on where it was, and --cancel ends it"
    run(end if cancel else say if estimate else draw, as_json=as_json, failed=4, interrupted=kept)


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
        await save_copy(studio, image, folder / name)
    return [folder / name for _, name in wanted]


async def _tell_batch(studio: Studio, batch: Batch, copies: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        print_json({**batch_body(studio, batch), **({"copies": [str(path) for path in copies]} if copies else {})})
        return
    table = plain_table("Nr", "State", "By", "Prompt", "Picture or reason", numbers=("Nr",))
    for number, piece in enumerate(batch.pieces, 1):
        job, prompt = piece.job, " ".join(piece.prompt.split())
        failure = f"{job.failure.code}: {job.failure.message}" if job.failure else ""
        found = " ".join(place_of(studio, image) for image in job.images) or failure
        table.add_row(str(number), str(job.state), job.provider, prompt if len(prompt) <= 24 else prompt[:23] + "…", found)
    results().print(table)
    print(f"{batch.id}: {headway_words(batch.headway)}.")
    if batch.headway.perhaps:
        print(f"Of that, {amounts_words(batch.headway.perhaps)} may not have been billed.")
    if batch.sheet is not None:
        print(f"Contact sheet: {place_of(studio, batch.sheet)}")
    if any(piece.may_have_been_billed for piece in batch.pieces):
        say("--retry-maybe-billed enters anew what brought no picture and may have been billed.")
    if any(piece.has_failed and not piece.may_have_been_billed for piece in batch.pieces):
        say("--retry-failed enters anew what surely was not billed.")
