"""The services and what they can do: `models` and `provider`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import anyio
import typer

from ...errors import ImageServerError
from ...studio import Studio
from ..facts import catalogue_facts, comparison_facts, finding_facts
from ..tables import comparisons, details, findings, overview
from .running import ME, AsJson, print_json, results, run, told

provider_app = typer.Typer(no_args_is_help=True, help="Providers, ours and those of other packages.")


def models(
    provider: Annotated[str, typer.Argument(help="Only this provider's, with every fact.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Hold the table against what the configured services list. Costs nothing; ends with 1 when they differ.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The services, their models and what each can do; also those that still want a key."""

    async def compare(studio: Studio) -> bool:
        found = await studio.upkeep.compare_models(ME, provider)
        if as_json:
            print_json([comparison_facts(each) for each in found])
        else:
            results().print(comparisons(found))
        return all(each.ok for each in found)

    async def show_all(studio: Studio) -> bool:
        catalogues = [catalogue for catalogue in studio.all_catalogues() if provider in ("", catalogue.provider)]
        if not catalogues:
            studio.catalogue(provider)  # says which there are
        configured = {catalogue.provider for catalogue in studio.catalogues()}
        if as_json:
            print_json(
                [
                    {**row, "configured": catalogue.provider in configured, "variables": list(catalogue.variables)}
                    for catalogue in catalogues
                    for row in catalogue_facts(catalogue)["models"]
                ]
            )
        else:
            screen = results()
            screen.print(details(catalogues[0], configured) if provider else overview(catalogues, configured, screen))
        return True

    run(compare if check else show_all, as_json=as_json)


@provider_app.command("check")
def provider_check(
    target: Annotated[str, typer.Argument(help="A provider's name, or where to import one from: module or module:attribute.")],
    base_url_variable: Annotated[list[str], typer.Option(help="Variable that takes the address of the service; at least one. May be repeated.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="Another variable, as NAME=VALUE. May be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a provider against every fault that a service can have. It runs on this machine alone; ends with 1 when a promise is broken."""
    from ...providers import contract, find

    async def tried() -> tuple[contract.Finding, ...]:
        settings = dict(words.partition("=")[::2] for words in setting or ())
        return await contract.check(contract.Trial(source=find(target), url_variables=tuple(base_url_variable), settings=settings))

    sys.path.insert(0, "")  # a module that is not installed yet lies in the working directory
    os.environ["NO_PROXY"] = "*"
    try:
        found = anyio.run(tried)
    except ImageServerError as error:
        raise typer.Exit(told(error, as_json)) from error
    if as_json:
        print_json([finding_facts(each) for each in found])
    else:
        results().print(findings(found))
    if any(each.broken for each in found):
        raise typer.Exit(1)
