"""Progress on the screen while pictures are drawn, and questions to the person before it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import anyio
import typer
from anyio import to_thread
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ...errors import ImageServerError
from ...inputs import Wish
from ...models import Ask, ImageRequest, Job
from ...studio import Studio
from .running import ME, at_home, console


async def with_progress(
    studio: Studio, wanted: ImageRequest | Wish, *, fallback: Sequence[str], agreed: bool, hidden: bool, improve: bool | None = None
) -> Job:
    """The job, ended, whose progress was on the screen meanwhile. Interrupted, it is cancelled."""
    with progress_bar(hidden=hidden) as progress:
        bar = progress.add_task("starting", total=1.0)
        seen: list[Job] = []
        ask = asking(progress, agreed=agreed)

        async def watch(job: Job) -> None:
            seen[:] = [job]
            progress.update(bar, completed=job.progress, description=f"{job.provider}: {job.message or job.state}")

        try:
            seconds = studio.settings.job_timeout + 60
            caller = replace(at_home(), ask=ask)
            return await studio.generate(caller, wanted, wait_seconds=seconds, watch=watch, fallback=fallback, fresh=True, improve=improve)
        except BaseException:  # also Ctrl-C: nobody is left to want the picture
            with anyio.CancelScope(shield=True), suppress(ImageServerError):
                for job in seen:
                    await studio.cancel(ME, job.id)
            raise


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


def asking(progress: Progress, *, agreed: bool) -> Ask:
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
