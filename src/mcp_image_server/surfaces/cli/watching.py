"""Progress on the screen while pictures are drawn, and questions to the person before it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import typer
from anyio import to_thread
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ...errors import ImageServerError
from ...inputs import Wish
from ...models import Ask, ImageRequest, Job
from ...studio import Studio
from .running import ME, at_home, console

if TYPE_CHECKING:
    from ...jobs.jobs import Watch


async def with_progress(
    studio: Studio, wanted: ImageRequest | Wish, *, fallback: Sequence[str], agreed: bool, hidden: bool, improve: bool | None = None
) -> Job:
    """The job, ended, whose progress was on the screen meanwhile. Interrupted, it is cancelled."""
    with progress_bar(hidden=hidden) as progress:
        tell = teller(progress)
        seen: list[Job] = []
        ask = asking(progress, agreed=agreed)

        async def watch(job: Job) -> None:
            seen[:] = [job]
            await tell(job)

        try:
            seconds = studio.settings.job_timeout + 60
            caller = replace(at_home(), ask=ask)
            return await studio.generate(caller, wanted, wait_seconds=seconds, watch=watch, fallback=fallback, fresh=True, improve=improve)
        except BaseException:  # also Ctrl-C: nobody is left to want the picture
            with anyio.CancelScope(shield=True), suppress(ImageServerError):
                for job in seen:
                    await studio.cancel(ME, job.id)
            raise


async def waited_for(studio: Studio, job_id: str, *, hidden: bool) -> Job:
    """The job, ended, whose progress was on the screen meanwhile. Interrupted, it goes on.

    Raises:
        NotFoundError: there is no such job.
    """
    with progress_bar(hidden=hidden) as progress:
        return await studio.job(ME, job_id, wait_seconds=studio.settings.job_timeout + 60, watch=teller(progress))


def teller(progress: Progress) -> Watch:
    """Shows on the bar how far a job is."""
    bar = progress.add_task("starting", total=1.0)

    async def tell(job: Job) -> None:
        progress.update(bar, completed=job.progress, description=f"{job.provider}: {job.message or job.state}")

    return tell


def progress_bar(*, hidden: bool) -> Progress:
    """A bar for the screen, gone when its block ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=hidden)


def asking(progress: Progress, *, agreed: bool) -> Ask | None:
    """Puts questions to the person at the terminal, unless they have agreed already; None where there is no person to ask."""
    if not (agreed or sys.stdin.isatty()):
        return None

    async def ask(question: str) -> bool:
        if agreed:
            return True
        progress.stop()
        try:
            return await to_thread.run_sync(typer.confirm, question)
        finally:
            progress.start()

    return ask
