"""What the program did and whether all is well: `jobs` and `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...policy.budget import shown
from ...studio import Studio
from ..facts import amounts, amounts_words, listed_job_facts
from ..tables import plain_table
from .running import ME, AsJson, print_json, results, run, say
from .showing import show_job
from .watching import waited_for


def jobs(
    job_id: Annotated[
        str,
        typer.Argument(metavar="[ID]", help="One job: waited for, and if its pictures were lost on their way, its service is asked for them again."),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The latest jobs: what became of each, and what was spent in the last 30 days."""

    async def one(studio: Studio) -> bool:
        return await show_job(studio, await waited_for(studio, job_id, hidden=as_json), None, quiet=False, as_json=as_json)

    async def work(studio: Studio) -> bool:
        found = await studio.jobs(ME, limit=limit)
        spent = await studio.spent(ME)
        if as_json:
            print_json({"jobs": [listed_job_facts(job) for job in found], "spent_in_30_days": amounts(spent)})
            return True
        table = plain_table("Begun", "Id", "By", "State", "n", "Cost", "Prompt", numbers=("n", "Cost"))
        for job in found:
            begun = job.created_at.astimezone().strftime("%m-%d %H:%M")
            cost = shown(job.cost.micros, job.cost.currency) if job.cost else ""
            state = f"{job.state} ({job.failure.code})" if job.failure else str(job.state)
            table.add_row(begun, job.id, job.provider, state, str(len(job.images)), cost, job.request.prompt[:200])
        results().print(table)
        print(f"Spent in the last 30 days: {amounts_words(spent) or 'nothing that is known of'}.")
        return True

    run(one if job_id else work, as_json=as_json)


def doctor(as_json: AsJson = False) -> None:
    """Look at settings, folders, database and services, and say what is wrong. Costs nothing."""

    async def work(studio: Studio) -> bool:
        checks = []
        async for check in studio.upkeep.doctor(ME):
            checks.append(check)
            if not as_json and check.in_use:
                print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.words}")
        if as_json:
            print_json([{"name": check.name, "ok": check.ok, "message": check.words} for check in checks])
        elif idle := [check.name for check in checks if not check.in_use]:
            say(f"Not configured: {', '.join(idle)}. What each needs: mcp-image-server models NAME.", style="dim")
        return all(check.ok for check in checks)

    run(work, as_json=as_json)
