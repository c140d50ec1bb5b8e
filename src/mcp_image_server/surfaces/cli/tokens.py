"""`token`: who may come in over HTTP, and what they may have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ...configuration import read_environment
from ...errors import ImageServerError, RequestError
from ...identity import Token, TokenFile, hash_of, new_token
from ...models import Allowance
from ...settings import Settings, data_folder, parse
from ..tables import plain_table
from .running import AsJson, print_json, results, say, told

token_app = typer.Typer(no_args_is_help=True, help="Bearer tokens for people and programs that come over HTTP.")

Name = Annotated[str, typer.Argument(help="Whose token it is: small letters, digits, dots, dashes and underscores.")]

File = Annotated[
    Path | None, typer.Option("--file", help="Where the tokens' hashes are. Default: MCP_TOKENS_FILE, else tokens.toml in the data folder.")
]


_NAMES = "takes small letters, digits, dots, dashes and underscores, at most 63, and begins with a letter or digit."

_WRONG = {"name": f"A name {_NAMES}", "team": f"A team {_NAMES}", "roles": "A role is admin or viewer."}


@token_app.command("create")
def token_create(
    name: Name,
    role: Annotated[list[str] | None, typer.Option(help="admin: sees and manages everything; viewer: only looks. Default: one's own things.")] = None,
    team: Annotated[str, typer.Option(help="Team with whom pictures can be shared.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Days for which it opens anything. Default: until it is revoked.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests in a minute.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Jobs under way at once.")] = None,
    images_per_day: Annotated[int | None, typer.Option(min=0, help="Images in a day (UTC).")] = None,
    budget_day: Annotated[float | None, typer.Option(min=0, help="Money in a day, in MCP_BUDGET_CURRENCY.")] = None,
    budget_month: Annotated[float | None, typer.Option(min=0, help="Money in a month.")] = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once: the file has only its hash."""

    def create(tokens: TokenFile, settings: Settings) -> None:
        token, today = new_token(), datetime.now(UTC).date()
        facts = {
            "name": name,
            "sha256": hash_of(token.encode()),
            "created": today,
            "expires": today + timedelta(days=days) if days is not None else None,
            "roles": role or (),
            "team": team or None,
            "requests_per_minute": requests_per_minute,
            "jobs": jobs,
            "images_per_day": images_per_day,
            "budget_day": budget_day,
            "budget_month": budget_month,
        }
        try:
            entry = Token.model_validate(facts)
        except ValidationError as error:
            what = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
            raise RequestError(_WRONG[what]) from None
        tokens.add(entry)
        if as_json:
            print_json({"name": name, "token": token, "file": str(tokens.path)})
            return
        print(token)
        say(f"{name} shows it as `Authorization: Bearer …`. Its hash is in {tokens.path}; it is not shown again.")
        if settings.tokens_file is None:
            say(f"Set MCP_TOKENS_FILE={tokens.path} for the server to know it.")

    _with(file, create, as_json=as_json)


@token_app.command("list")
def token_list(file: File = None, as_json: AsJson = False) -> None:
    """Whose tokens there are, and what they may have."""

    def show(tokens: TokenFile, _: Settings) -> None:
        entries = tokens.all() if tokens.path.exists() else ()
        if as_json:
            print_json([entry.model_dump(mode="json", exclude={"sha256"}, exclude_none=True) for entry in entries])
            return
        table = plain_table("Name", "Roles", "Team", "Expires", "May have")
        for entry in entries:
            table.add_row(entry.name, ", ".join(sorted(entry.roles)) or "–", entry.team or "–", str(entry.expires or "–"), _limits(entry.allowance))
        results().print(table)

    _with(file, show, as_json=as_json)


@token_app.command("revoke")
def token_revoke(name: Name, file: File = None, as_json: AsJson = False) -> None:
    """Take a token out of the file: within a second it opens nothing more. What its bearer made stays."""

    def revoke(tokens: TokenFile, _: Settings) -> None:
        tokens.remove(name)
        if as_json:
            print_json({"name": name, "revoked": True})
        else:
            say(f"The token of {name} opens nothing any more.")

    _with(file, revoke, as_json=as_json)


def _limits(allowance: Allowance) -> str:
    money = {"day": allowance.budget_day, "month": allowance.budget_month}
    counts = {"requests a minute": allowance.requests_per_minute, "jobs at once": allowance.jobs, "images a day": allowance.images_per_day}
    limits = [f"{count} {what}" for what, count in counts.items() if count is not None]
    return (
        ", ".join([*limits, *(f"{micros / 1_000_000:g} a {span}" for span, micros in money.items() if micros is not None)]) or "as the settings say"
    )


def _with(file: Path | None, work: Callable[[TokenFile, Settings], None], *, as_json: bool) -> None:
    try:
        settings = parse(Settings, read_environment(Path.cwd() / ".env"))
        work(TokenFile(file or settings.tokens_file or data_folder(settings) / "tokens.toml"), settings)
    except ImageServerError as error:
        raise typer.Exit(told(error, as_json)) from None
