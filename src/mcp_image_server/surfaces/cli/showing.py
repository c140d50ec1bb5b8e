"""What became of a job, printed, and copies of its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anyio

from ...errors import RequestError
from ...models import Adjustment, Image, Job
from ...policy.budget import shown
from ...studio import Studio
from ..facts import answer, succeeded
from ..terminal import show
from .running import print_json, say


async def show_job(studio: Studio, job: Job, output: Path | None, *, quiet: bool, as_json: bool) -> bool:
    """Whether the job went well; what became of it is printed, and the copies are written."""
    if as_json:
        print_json(answer(studio, job))
    else:
        await _tell(studio, job, quiet=quiet)
    if output is not None:
        for index, image in enumerate(job.images):
            await save_copy(studio, image, output if len(job.images) == 1 else output.with_stem(f"{output.stem}-{index + 1}"))
    return succeeded(job)


async def _tell(studio: Studio, job: Job, *, quiet: bool) -> None:
    if job.failure is not None:
        say(f"error ({job.failure.code}): {job.failure.message}", style="red")
    for image in job.images:
        if not quiet:
            await show(studio, image)
        print(place_of(studio, image))
    if quiet:
        return
    say_notes(job.adjustments)
    facts = [f"{job.provider}/{job.model}", *(f"{image.size} px, {image.size_bytes / 1000:.0f} kB, seed {image.seed}" for image in job.images[:1])]
    if job.cost is not None:
        facts.append(f"{shown(job.cost.micros, job.cost.currency)} ({job.cost.source})")
    say(" · ".join(facts), style="dim")


def say_notes(adjustments: Iterable[Adjustment]) -> None:
    """Tells what was changed."""
    for adjustment in adjustments:
        say(f"note ({adjustment.field}): {adjustment.message}", style="yellow")


def place_of(studio: Studio, image: Image) -> str:
    """Where the picture is: its path, else its link, else its name in the store."""
    return str(studio.images.path(image) or studio.images.link(image) or image.key)


async def save_copy(studio: Studio, image: Image, target: Path) -> None:
    """Writes that picture there as well.

    Raises:
        RequestError: nothing can be written there.
    """
    data = await studio.images.read(image)
    try:
        await anyio.Path(target).write_bytes(data)
    except OSError as error:
        raise RequestError(f"The picture is stored, but no copy could be written to {target}: {error.strerror}.") from error
