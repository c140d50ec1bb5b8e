"""The images that were made, as a library: searched, sorted, thrown away and got back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import NotFoundError, RequestError
from ..models import ANY, Action, Image, ImageFilter, Lineage, Statistics, Tally
from . import codecs
from .schema import deleted, image_index, image_parents, image_tags, image_words, images, ledger
from .words import Query, query_of, tag_of, words_of

K = TypeVar("K")

Transaction = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

MAX_TAG_CHARS = 64

MAX_TAGS = 100
"""In one call."""

MAX_TITLE_CHARS = 200

_SEARCH_CHARS = 1000
"""What is searched for is cut here."""

_MAX_LINEAGE = 500
"""Images looked at each way."""

_CONDEMNED = datetime(1970, 1, 1, tzinfo=UTC)
"""As the time of deletion: the files are being removed, and nothing brings the image back."""

_PURGED = 1000
"""Images removed at a time."""

_DAY_MICROS = 86_400_000_000


class Library:
    """What is asked of the images and done to them. Everywhere a principal sees its own images, and None sees all.

    Args:
        read: one snapshot of the database.
        write: one transaction.
    """

    def __init__(self, read: Transaction, write: Transaction) -> None:
        self._read = read
        self._write = write

    async def search(
        self,
        principal: str | None,
        text: str = "",
        *,
        team: str | None = None,
        only: ImageFilter = ANY,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Image]:
        """The images in whose prompt, title or tags all words of the text stand, newest first.

        Args:
            text: the last of its words that stands between spaces may be a beginning; without a word nothing is found, when empty everything.
            team: whose shared images are seen besides.
            before: the id of the last image seen; the ones after it in this order follow.
        """
        query = _of(principal, sa.select(images), team).where(*_conditions(only))
        async with self._read() as connection:
            if before is not None and await connection.scalar(_of(principal, sa.select(images.c.id).where(images.c.id == before), team)) is None:
                return []  # nobody learns whether, and when, somebody else's was made
            if text.strip():
                wanted = query_of(text[:_SEARCH_CHARS])
                return await some_images(connection, _with_words(query, wanted, before, connection.dialect.name).limit(limit)) if wanted else []
            return await some_images(connection, newest_first(query, images, before).limit(limit))

    async def manage(
        self,
        principal: str | None,
        image_ids: Collection[str],
        action: Action,
        *,
        tags: Collection[str] = (),
        title: str = "",
        team: str | None = None,
        now: datetime,
    ) -> list[Image]:
        """These images as they are after the action, in the order of their ids. Done to all of them or to none; doing it twice does nothing.

        Raises:
            RequestError: a tag is empty or too long, or the title is.
            NotFoundError: one is not there, or is in the trash and is not to be got back.
        """
        tags, title = _checked(tags), " ".join(title.split())
        if len(title) > MAX_TITLE_CHARS:
            raise RequestError(f"The title has {len(title)} characters; at most {MAX_TITLE_CHARS} are kept.")
        which = images.c.id.in_(image_ids)
        async with self._write() as connection:
            alive = images.c.deleted_at.is_distinct_from(_CONDEMNED) if action in ("delete", "undelete") else ~deleted
            found = set(await connection.scalars(_of(principal, sa.select(images.c.id).where(which, alive))))
            for image_id in image_ids:
                if image_id not in found:
                    raise NotFoundError(f"Image id '{image_id}' not found or expired", code="image_not_found", details={"image_id": image_id})
            match action:
                case "tag":
                    await _untag(connection, image_ids, tags)
                    if rows := [{"image_id": image_id, "tag": tag} for image_id in found for tag in tags]:
                        await connection.execute(sa.insert(image_tags), rows)
                case "untag":
                    await _untag(connection, image_ids, tags)
                case "favourite" | "unfavourite":
                    await connection.execute(sa.update(images).where(which).values(favourite=action == "favourite"))
                case "rename":
                    await connection.execute(sa.update(images).where(which).values(title=title))
                case "share" | "unshare":
                    await connection.execute(sa.update(images).where(which).values(team=team if action == "share" else None))
                case "delete":
                    await connection.execute(sa.update(images).where(which, ~deleted).values(deleted_at=now))
                case "undelete":
                    await connection.execute(sa.update(images).where(which).values(deleted_at=None))
            changed = await some_images(connection, sa.select(images).where(which).order_by(images.c.id))
            if action in ("tag", "untag", "rename"):
                for image in changed:
                    await connection.execute(sa.update(image_words).where(image_words.c.image_id == image.id).values(words=_words(image)))
        return changed

    async def lineage(self, principal: str | None, image: Image, *, team: str | None = None) -> Lineage:
        """What the image was made from, and what was made from it, over all generations."""
        up, down = (image_parents.c.image_id, image_parents.c.parent_id), (image_parents.c.parent_id, image_parents.c.image_id)
        async with self._read() as connection:
            ancestors = [await _relatives(connection, principal, team, image.id, *direction) for direction in (up, down)]
        return Lineage(image=image, ancestors=ancestors[0], descendants=ancestors[1])

    async def statistics(self, principal: str | None, *, since: datetime | None = None) -> Statistics:
        """Pictures and money from that moment on, or ever since."""
        made = sa.select(images.c.provider, images.c.model, _day(images.c.created_at), sa.func.count(), sa.func.sum(images.c.size_bytes))
        made = _of(principal, made.where(~deleted).group_by(sa.text("1, 2, 3")))
        paid = sa.select(ledger.c.provider, ledger.c.model, _day(ledger.c.at), ledger.c.currency, sa.func.sum(ledger.c.micros))
        paid = paid.group_by(sa.text("1, 2, 3, 4"))
        if principal is not None:
            paid = paid.where(ledger.c.principal == principal)
        if since is not None:
            made, paid = made.where(images.c.created_at >= since), paid.where(ledger.c.at >= since)
        kept = _of(principal, sa.select(sa.func.count()).select_from(images))
        parts: dict[tuple[str, str, date], Tally] = {}
        async with self._read() as connection:
            for provider, model, day, count, size in await connection.execute(made):
                parts[provider, model, _date(day)] = Tally(pictures=count, size_bytes=int(size))
            for provider, model, day, currency, micros in await connection.execute(paid):
                place = provider, model, _date(day)
                before = parts.get(place, Tally())
                parts[place] = replace(before, spent={**before.spent, currency: int(micros)})
            favourites = await connection.scalar(kept.where(images.c.favourite, ~deleted))
            thrown = await connection.scalar(kept.where(deleted, images.c.deleted_at > _CONDEMNED))
        return Statistics(
            total=_sum(parts.values()),
            providers=_sums((provider, tally) for (provider, _, _), tally in sorted(parts.items())),
            models=_sums((f"{provider}/{model}", tally) for (provider, model, _), tally in sorted(parts.items())),
            days=_sums((day, tally) for (_, _, day), tally in sorted(parts.items(), key=lambda part: part[0][2], reverse=True)),
            favourites=favourites or 0,
            deleted=thrown or 0,
        )

    async def condemn(self, *, deleted_before: datetime) -> list[Image]:
        """Everybody's images whose files may be removed now: they were deleted before that moment, and cannot be got back any more.

        Those whose removal was broken off are among them. Of very many, the others come at the next call.
        """
        due = deleted & (images.c.deleted_at < deleted_before)
        async with self._read() as connection:
            if await connection.scalar(sa.select(images.c.id).where(due).limit(1)) is None:  # as nearly always; then nobody waits for a turn to write
                return []
        async with self._write() as connection:
            await connection.execute(sa.update(images).where(due).values(deleted_at=_CONDEMNED))
            return await some_images(connection, sa.select(images).where(images.c.deleted_at == _CONDEMNED).limit(_PURGED))

    async def kept_in(self, store_url: str) -> list[Image]:
        """Everybody's images whose files are in that store, also those in the trash."""
        async with self._read() as connection:
            return await some_images(connection, sa.select(images).where(images.c.store_url == store_url).order_by(images.c.created_at, images.c.id))

    async def move(self, image_id: str, store_url: str, new_url: str) -> Image | None:
        """The image, whose files are now in the new store. None, and nothing changed: they were not in the other one."""
        mine = images.c.id == image_id
        async with self._write() as connection:
            await connection.execute(sa.update(images).where(mine, images.c.store_url == store_url).values(store_url=new_url))
            found = await some_images(connection, sa.select(images).where(mine, images.c.store_url == new_url))
        return found[0] if found else None

    async def forget(self, image_ids: Collection[str]) -> None:
        """Nothing is left of these images but what they cost, and their ids where others were made from them. Only condemned ones are forgotten."""
        gone = sa.select(images.c.id).where(images.c.id.in_(image_ids), images.c.deleted_at == _CONDEMNED)
        async with self._write() as connection:
            for table in (image_tags, image_parents, image_words):
                await connection.execute(sa.delete(table).where(table.c.image_id.in_(gone)))
            await connection.execute(sa.delete(images).where(images.c.id.in_(gone)))


async def add_images(connection: AsyncConnection, made: Sequence[Image]) -> None:
    """Writes the images of a job, in their order."""
    await connection.execute(sa.insert(images), [codecs.image_to_row(image, position) for position, image in enumerate(made)])
    await connection.execute(sa.insert(image_words), [{"image_id": image.id, "words": _words(image)} for image in made])
    if parents := [{"image_id": image.id, "parent_id": parent} for image in made for parent in dict.fromkeys(image.parents)]:
        await connection.execute(sa.insert(image_parents), parents)


async def some_images(connection: AsyncConnection, query: sa.Select[Any]) -> list[Image]:
    """The images of these rows, with their tags."""
    rows = (await connection.execute(query)).mappings().all()
    tags: dict[str, list[str]] = {}
    if rows:
        theirs = sa.select(image_tags).where(image_tags.c.image_id.in_([row["id"] for row in rows])).order_by(image_tags.c.tag)
        for image_id, tag in await connection.execute(theirs):
            tags.setdefault(image_id, []).append(tag)
    return [codecs.image_from_row(row, tags.get(row["id"], ())) for row in rows]


def newest_first(query: sa.Select[Any], table: sa.Table, before: str | None, *, principal: str | None = None) -> sa.Select[Any]:
    """The query in that order, after the row with the id `before`.

    Args:
        principal: whose that row has to be, so that nobody learns when somebody else's was written; None: anybody's.
    """
    if before is not None:
        last = table.alias("last")
        place = sa.tuple_(table.c.created_at, table.c.id)
        anchor = sa.select(last.c.created_at, last.c.id).where(last.c.id == before)
        if principal is not None:
            anchor = anchor.where(last.c.principal == principal)
        query = query.where(place < anchor.scalar_subquery())
    return query.order_by(table.c.created_at.desc(), table.c.id.desc())


def _with_words(query: sa.Select[Any], wanted: Query, before: str | None, dialect: str) -> sa.Select[Any]:
    """The query for images with these words, last recorded first: the index is read in that order, and only as far as needed."""
    query = query.join(image_words, image_words.c.image_id == images.c.id)
    if dialect == "sqlite":
        number: sa.ColumnElement[int] = image_index.c.rowid
        terms = [*(f'"{word}"' for word in wanted.words), *([f'"{wanted.prefix}"*'] if wanted.prefix else [])]
        query = query.join(image_index, number == image_words.c.number).where(image_index.c.image_index.match(" ".join(terms)))
    else:
        number = image_words.c.number
        terms = [*(f"'{word}'" for word in wanted.words), *([f"'{wanted.prefix}':*"] if wanted.prefix else [])]
        held = sa.func.array_to_tsvector(sa.func.string_to_array(image_words.c.words, sa.literal_column("' '")))
        query = query.where(held.op("@@")(sa.cast(" & ".join(terms), TSQUERY)))
    if before is not None:
        last = image_words.alias("last")
        query = query.where(number < sa.select(last.c.number).where(last.c.image_id == before).scalar_subquery())
    return query.order_by(number.desc())


def _conditions(only: ImageFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [deleted & (images.c.deleted_at > _CONDEMNED) if only.deleted else ~deleted]
    if only.provider is not None:
        conditions.append(images.c.provider == only.provider)
    if only.model is not None:
        conditions.append(images.c.model == only.model)
    conditions += [images.c.id.in_(sa.select(image_tags.c.image_id).where(image_tags.c.tag == tag_of(tag))) for tag in only.tags]
    if only.shared:
        conditions.append(images.c.team.is_not(None))
    if only.favourite:
        conditions.append(images.c.favourite)
    if only.since is not None:
        conditions.append(images.c.created_at >= only.since)
    if only.until is not None:
        conditions.append(images.c.created_at < only.until)
    if only.min_edge is not None:
        conditions += [images.c.width >= only.min_edge, images.c.height >= only.min_edge]
    if only.ratio is not None:
        wide, high = (
            sa.cast(edge, sa.BigInteger) * factor for edge, factor in ((images.c.width, only.ratio.height), (images.c.height, only.ratio.width))
        )
        conditions.append(sa.func.abs(wide - high) * 100 <= high * 3)
    if only.cost_from is not None or only.cost_to is not None:
        billed = sa.select(ledger.c.job_id).where(ledger.c.micros >= (only.cost_from or 0))
        conditions.append(images.c.job_id.in_(billed.where(ledger.c.micros <= only.cost_to) if only.cost_to is not None else billed))
    if only.made_from is not None:
        conditions.append(images.c.id.in_(sa.select(image_parents.c.image_id).where(image_parents.c.parent_id == only.made_from)))
    return conditions


def _checked(tags: Collection[str]) -> list[str]:
    if len(tags) > MAX_TAGS:
        raise RequestError(f"These are {len(tags):,} tags; name at most {MAX_TAGS} at a time.")
    kept = list(dict.fromkeys(map(tag_of, tags)))
    if wrong := [tag for tag in kept if not 0 < len(tag) <= MAX_TAG_CHARS]:
        raise RequestError(f"{wrong[0]!r} is no tag; write 1 to {MAX_TAG_CHARS} characters.")
    return kept


def _of(principal: str | None, query: sa.Select[Any], team: str | None = None) -> sa.Select[Any]:
    if principal is None:
        return query
    own = images.c.principal == principal
    return query.where(own if team is None else own | (images.c.team == team))


async def _untag(connection: AsyncConnection, image_ids: Collection[str], tags: Collection[str]) -> None:
    await connection.execute(sa.delete(image_tags).where(image_tags.c.image_id.in_(image_ids), image_tags.c.tag.in_(tags)))


async def _relatives(
    connection: AsyncConnection, principal: str | None, team: str | None, image_id: str, here: sa.Column[str], there: sa.Column[str]
) -> tuple[Image, ...]:
    """The images reached from one by going from the column `here` to the column `there`, a generation at a time."""
    seen, generation = {image_id: 0}, [image_id]
    while generation and len(seen) <= _MAX_LINEAGE:
        next_ones = await connection.scalars(sa.select(there).where(here.in_(generation)).distinct().order_by(there))
        generation = [each for each in next_ones if each not in seen][:_MAX_LINEAGE]
        seen |= {each: len(seen) + place for place, each in enumerate(generation)}
    found = await some_images(connection, _of(principal, sa.select(images).where(images.c.id.in_(list(seen)[1:]), ~deleted), team))
    return tuple(sorted(found, key=lambda image: seen[image.id]))


def _words(image: Image) -> str:
    return " ".join(words_of("\n".join((image.title, *image.tags, image.prompt, image.revised_prompt or ""))))


def _day(moment: sa.Column[datetime]) -> sa.ColumnElement[int]:
    """Days since 1970 in UTC."""
    return sa.type_coerce(moment, sa.BigInteger) // _DAY_MICROS


def _date(day: int) -> date:
    return _CONDEMNED.date() + timedelta(days=day)


def _sum(parts: Iterable[Tally]) -> Tally:
    pictures = size_bytes = 0
    spent: dict[str, int] = {}
    for part in parts:
        pictures, size_bytes = pictures + part.pictures, size_bytes + part.size_bytes
        for currency, micros in part.spent.items():
            spent[currency] = spent.get(currency, 0) + micros
    return Tally(pictures=pictures, size_bytes=size_bytes, spent=spent)


def _sums(parts: Iterable[tuple[K, Tally]]) -> dict[K, Tally]:
    groups: dict[K, list[Tally]] = {}
    for key, tally in parts:
        groups.setdefault(key, []).append(tally)
    return {key: _sum(tallies) for key, tallies in groups.items()}
