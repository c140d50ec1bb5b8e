"""Models, and what became of questions about them, as people at a terminal read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..models import Catalogue, Model
from .facts import brief_sizes, size_words

if TYPE_CHECKING:
    from ..providers.contract import Finding
    from ..survey import Comparison

SHOWN = 12
"""Names in one cell; --json has them all."""


def plain_table(*headings: str, numbers: Sequence[str] = ()) -> Table:
    """A table whose last column takes what width is left."""
    found = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    for heading in headings:
        found.add_column(heading, justify="right" if heading in numbers else "left", no_wrap=heading != headings[-1], overflow="fold")
    return found


def overview(catalogues: Sequence[Catalogue], configured: set[str], console: Console) -> RenderableType:
    """Every model on one line, under the name of its provider and what that needs."""
    ids = [len(model.id) + 2 for catalogue in catalogues for model in catalogue.models]
    width = min(max(ids), max(24, console.width - 54))
    parts: list[RenderableType] = []
    for catalogue in catalogues:
        parts += [_heading(catalogue, configured), *_lines(catalogue, width), ""]
    words = "* is taken when no model is named; n is how many at once. Prices are list prices of one picture. `models PROVIDER` and --json tell more."
    return Group(*parts, Text(words, style="dim"))


def _heading(catalogue: Catalogue, configured: set[str]) -> Text:
    text = Text(catalogue.provider, style="bold")
    text.append(f"  {catalogue.title.partition(':')[0]}", style="not bold")
    if catalogue.provider in configured:
        return text.append("  configured", style="not bold green")
    return text.append(f"  set {' and '.join(catalogue.variables)} to use it", style="not bold yellow")


def _lines(catalogue: Catalogue, width: int) -> Iterator[RenderableType]:
    """A line for each model. An id that is too long for its column has a line of its own, so that it can be copied."""
    for model in catalogue.models:
        name = Text(f"{'*' if model.id == catalogue.default_model else ' '} {model.id}", overflow="fold", no_wrap=True)
        if name.cell_len > width:
            yield name
            name = Text()
        does = Text(" ".join(sorted(model.operations)))
        if model.ends is not None:
            does.append(f" ends {model.ends.isoformat()}", style="red")
        line = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        line.add_column(width=width, no_wrap=True)
        line.add_column(width=13, no_wrap=True)
        line.add_column(width=2, justify="right")
        line.add_column(width=12, justify="right", no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(name, brief_sizes(model.sizes), str(model.max_count), _price(model, catalogue), does)
        yield line


def _price(model: Model, catalogue: Catalogue) -> str:
    if model.price is None:
        return "–" if catalogue.variables else "free"
    return f"{model.price.amount:.4g} {model.price.currency}{'/MP' if model.price.per == 'megapixel' else ''}"


def details(catalogue: Catalogue, configured: set[str]) -> RenderableType:
    """Every fact about the models of one provider."""
    facts = _rows(
        ("models", f"{len(catalogue.models)}, and others as they are named" if catalogue.unknown is not None else str(len(catalogue.models))),
        ("styles", ", ".join(catalogue.styles)),
        ("resolutions", ", ".join(catalogue.resolutions)),
    )
    parts: list[RenderableType] = [_heading(catalogue, configured), facts]
    for model in catalogue.models:
        name = Text(f"{model.id}", style="bold").append(f"  {model.title}", style="not bold")
        parts += ["", name.append("  *", style="not bold") if model.id == catalogue.default_model else name, _rows(*_facts(model, catalogue))]
    return Group(*parts)


def _facts(model: Model, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    yield "does", ", ".join(sorted(model.operations))
    yield "sizes", size_words(model.sizes)
    yield "at once", str(model.max_count)
    takes = {"seed": model.seed, "negative prompt": model.negative_prompt, "mask": model.mask, "strength": model.strength}
    pictures = [f"{model.max_images} input picture{'s' if model.max_images > 1 else ''}"] if model.max_images else []
    yield "takes", ", ".join([*(name for name, taken in takes.items() if taken), *pictures])
    yield "qualities", ", ".join(model.qualities)
    yield "backgrounds", ", ".join(model.backgrounds)
    yield "formats", ", ".join(model.formats)
    yield "price", f"{_price(model, catalogue)}{f', as of {model.price.as_of.isoformat()}' if model.price else ''}"
    yield "ends", model.ends.isoformat() if model.ends else ""
    yield "aliases", ", ".join(model.aliases)
    yield "note", model.note


def _rows(*facts: tuple[str, str]) -> Table:
    rows = Table(box=None, show_header=False, padding=(0, 2, 0, 2), pad_edge=False)
    rows.add_column(width=13, style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, words in facts:
        if words:
            rows.add_row(f"  {name}", Text(words))
    return rows


def comparisons(found: Sequence[Comparison]) -> Table:
    """What is gone, new or ending at each service."""
    lines = plain_table("Provider", "", "Models")
    for each in found:
        ending = [f"{model.id} ({model.ends.isoformat()})" for model in each.ending if model.ends is not None]
        rows = [("gone", "red", _few(each.gone)), ("ending", "red", _few(ending)), ("new", "green", _few(each.new))]
        rows = [row for row in rows if row[2]]
        if each.words:
            rows.insert(0, ("failed", "red", each.words) if each.failed else ("", "dim", each.words))
        for index, (what, style, names) in enumerate(rows or [("", "dim", "As in the table.")]):
            lines.add_row("" if index else each.provider, Text(what, style=style), Text(names, style="" if what else style))
    return lines


def _few(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def findings(found: Sequence[Finding]) -> RenderableType:
    """What a provider made of each fault, and the promises that it did not keep."""
    lines = plain_table("The service", "Error", "Again?", "Billed?", "Calls", "Message", numbers=("Calls",))
    for each in found:
        style = "red" if each.broken else ""
        again, billed = "yes" if each.again else "", "perhaps" if each.billed else ""
        lines.add_row(each.what, each.code, again, billed, str(each.calls), Text(each.message, no_wrap=True, overflow="ellipsis"), style=style)
    broken = [Text(f"{each.what}: {promise}", style="red") for each in found for promise in each.broken]
    words = f"Broken promises: {len(broken)}." if broken else "Every promise is kept. --json has the messages whole."
    return Group(lines, "", *chain(broken, [Text(words, style="red" if broken else "green")]))
