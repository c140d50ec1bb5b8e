"""The configuration, looked at: `config`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from ...config_check import Problem, Report, Value, check
from ...errors import ConfigError
from ..tables import plain_table
from .running import AsJson, print_json, results, say

config_app = typer.Typer(no_args_is_help=True, help="Settings: whether they are right, and where they come from.")

File = Annotated[
    str, typer.Argument(metavar="[FILE]", help="TOML file with settings. Default: MCP_CONFIG_FILE, else mcp-image-server.toml here, if there.")
]


@config_app.command("check")
def config_check(file: File = "", as_json: AsJson = False) -> None:
    """Whether a server would start with these settings: everything that is wrong, and where each value comes from. Ends with 3 when something is."""
    report = _report(file)
    chosen = [value for value in report.values if value.place != "default"]
    if as_json:
        problems = [asdict(problem) for problem in report.problems]
        print_json(
            {"ok": report.ok, "file": _name(report), "problems": problems, "notes": list(report.notes), "values": [asdict(value) for value in chosen]}
        )
    else:
        if chosen:
            _print_table(chosen)
        for note in report.notes:
            say(f"note: {note}", style="yellow")
        for problem in report.problems:
            place = f" ({_place_words(report, problem.place)})" if problem.place else ""
            say(f"wrong{place}: {problem.words}", style="red")
        print("The configuration is good." if report.ok else f"Things that are wrong: {len(report.problems)}. A server would not start.")
    if not report.ok:
        raise typer.Exit(3)


@config_app.command("show")
def config_show(file: File = "", as_json: AsJson = False) -> None:
    """Every setting of the server and of the providers in use, as it is in effect, and where it comes from. Keys and tokens are not shown."""
    report = _report(file)
    if as_json:
        print_json([asdict(value) for value in report.values])
    else:
        _print_table(report.values)


def _report(file: str) -> Report:
    from ..serve import may_listen

    report = check(Path.cwd() / ".env", options={"MCP_CONFIG_FILE": str(Path(file).absolute())} if file else {})
    if report.settings is not None and (report.settings.transport == "http" or not report.settings.is_local):
        try:
            may_listen(report.settings)
        except ConfigError as error:
            return replace(report, problems=(*report.problems, Problem(words=error.message, variable="MCP_HOST")))
    return report


def _print_table(values: Sequence[Value]) -> None:
    table = plain_table("Variable", "From", "Value")
    for value in values:
        table.add_row(value.variable, value.place, "(not shown)" if value.text is None else value.text)
    results().print(table)


def _name(report: Report) -> str | None:
    return None if report.file is None else str(report.file)


def _place_words(report: Report, place: str) -> str:
    return report.file.name if place == "file" and report.file is not None else place
