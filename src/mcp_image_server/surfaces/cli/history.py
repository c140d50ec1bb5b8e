"""Pictures made earlier: `history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ...models import Action, Image
from ...studio import Studio
from ..facts import amounts_words, found_facts, image_filter, lineage_facts, statistics_facts
from ..tables import plain_table
from ..terminal import show
from .running import ME, AsJson, print_json, results, run

history_app = typer.Typer(no_args_is_help=True, help="Pictures made earlier.")


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
            min_cost=cost_from,
            max_cost=cost_to,
            made_from=made_from,
            deleted=deleted,
        )
        _list_images(studio, await studio.images.search(ME, words, only=only, limit=limit, before=before or None), as_json=as_json)
        return True

    run(work, as_json=as_json)


def _list_images(studio: Studio, images: Sequence[Image], *, as_json: bool) -> None:
    if as_json:
        print_json([found_facts(studio, image) for image in images])
        return
    table = plain_table("Made", "Id", "By", "Pixels", "kB", "Prompt", numbers=("kB",))
    for image in images:
        made = image.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        words = ("★" if image.favourite else "", image.title, *(f"#{tag}" for tag in image.tags), image.prompt[:200])
        table.add_row(made, image.id, image.provider, str(image.size), f"{image.size_bytes / 1000:.0f}", " · ".join(filter(None, words)))
    results().print(table)


ImageIds = Annotated[list[str], typer.Argument(help="Ids of pictures.")]
Tags = Annotated[list[str], typer.Option("--tag", "-t", help="A tag. May be repeated.")]


def _manage(image_ids: Sequence[str], action: Action, *, tags: Sequence[str] = (), title: str = "", as_json: bool) -> None:
    async def work(studio: Studio) -> bool:
        _list_images(studio, await studio.images.manage(ME, image_ids, action, tags=tags, title=title), as_json=as_json)
        return True

    run(work, as_json=as_json)


@history_app.command("tag")
def history_tag(image_ids: ImageIds, tag: Tags, as_json: AsJson = False) -> None:
    """Give pictures tags."""
    _manage(image_ids, "tag", tags=tag, as_json=as_json)


@history_app.command("untag")
def history_untag(image_ids: ImageIds, tag: Tags, as_json: AsJson = False) -> None:
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
        removed = await studio.images.purge(ME, everything=everything)
        if as_json:
            print_json({"removed": [image.id for image in removed]})
        else:
            print(f"{len(removed)} pictures removed for good.")
        return True

    if everything and not yes:
        typer.confirm("Remove everything in the trash for good?", abort=True, err=True)
    run(work, as_json=as_json)


@history_app.command("lineage")
def history_lineage(image_id: Annotated[str, typer.Argument(help="The picture's id.")], as_json: AsJson = False) -> None:
    """What a picture was made from, and what was made from it, nearest first."""

    async def work(studio: Studio) -> bool:
        lineage = await studio.images.lineage(ME, image_id)
        if as_json:
            print_json(lineage_facts(studio, lineage))
            return True
        table = plain_table("", "Id", "From", "Prompt", numbers=())
        for heading, images in (("older", lineage.ancestors[::-1]), ("this", (lineage.image,)), ("newer", lineage.descendants)):
            for image in images:
                table.add_row(heading, image.id, " ".join(image.parents), image.title or image.prompt[:200])
        results().print(table)
        return True

    run(work, as_json=as_json)


@history_app.command("stats")
def history_stats(
    days: Annotated[int | None, typer.Option(min=1, help="Of so many days. Default: of all time.")] = None, as_json: AsJson = False
) -> None:
    """How many pictures there are and what they cost, by service, model and day."""

    async def work(studio: Studio) -> bool:
        found = await studio.images.statistics(ME, days=days)
        if as_json:
            print_json(statistics_facts(found))
            return True
        table = plain_table("", "Pictures", "MB", "Spent", numbers=("Pictures", "MB"))
        for part in ({"all": found.total}, found.providers, found.models, {str(day): tally for day, tally in found.days.items()}):
            for name, tally in part.items():
                table.add_row(name, str(tally.pictures), f"{tally.size_bytes / 1_000_000:.1f}", amounts_words(tally.spent))
            table.add_section()
        table.caption = f"{found.favourites} favourites; {found.deleted} in the trash."
        results().print(table)
        return True

    run(work, as_json=as_json)


@history_app.command("show")
def history_show(image_id: Annotated[str, typer.Argument(help="The picture's id.")], as_json: AsJson = False) -> None:
    """One picture, in the terminal where it can, with its facts."""

    async def work(studio: Studio) -> bool:
        image = await studio.images.get(ME, image_id)
        if not as_json:
            await show(studio, image)
        print_json(found_facts(studio, image))
        return True

    run(work, as_json=as_json)


@history_app.command("verify")
def history_verify(as_json: AsJson = False) -> None:
    """Whether the history and the files agree, byte for byte. Ends with 1 when they do not."""

    async def work(studio: Studio) -> bool:
        found = await studio.upkeep.verify(ME)
        if as_json:
            lists = {name: list(getattr(found, name)) for name in ("missing", "damaged", "unrecorded", "removed")}
            print_json({"ok": found.ok, "images": found.images, **lists})
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

    run(work, as_json=as_json)
