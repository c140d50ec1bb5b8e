"""Pictures from a prompt, and from other pictures: `generate` and `edit`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ...asking import fallback_of, request_of
from ...errors import RequestError
from ...inputs import Wish, boxes, edges
from ...models import ImageRequest, Operation
from ...policy.ranking import Ranked
from ...studio import Studio
from ..facts import estimate_facts, ranked_facts
from .running import ME, AsJson, at_home, print_json, results, run
from .showing import show_job
from .watching import with_progress

ServiceName = Annotated[str, typer.Option("--provider", "-p", help="Service to draw with. Default: the first that is configured.")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="Model id, or provider/model.")]
StyleKey = Annotated[str, typer.Option("--style", "-s", help="Style key; `styles list` has them.")]
Resolution = Annotated[str, typer.Option("--size", help="1024x1024, or a ratio such as 16:9.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=10, help="How many pictures.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Same seed, same picture.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Save a copy here as well.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the path alone.")]
Fallback = Annotated[str, typer.Option(help="Who may draw instead while nobody has taken the work: providers or provider/model, any, none.")]
Agreed = Annotated[bool, typer.Option("--yes", "-y", help="Agree to what it costs without being asked.")]
OnlyEstimate = Annotated[
    bool, typer.Option("--estimate", "--dry-run", help="Say as JSON who would draw, what would be changed and what it would cost, and draw nothing.")
]


def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in any language. With --again or --template it may be left out.")] = "",
    provider: ServiceName = "",
    model: ModelName = "",
    style: StyleKey = "",
    size: Resolution = "",
    count: Count = 1,
    seed: Seed = None,
    negative: Annotated[str, typer.Option("--negative", help="What the picture must not show.")] = "",
    quality: Annotated[str, typer.Option(help="low, medium or high.")] = "",
    output_format: Annotated[str, typer.Option("--format", "-f", help="png, jpeg or webp.")] = "",
    transparent: Annotated[bool, typer.Option("--transparent", help="No background.")] = False,
    prefix: Annotated[str, typer.Option(help="First part of the file's name.")] = "",
    output: Output = None,
    quiet: Quiet = False,
    fallback: Fallback = "",
    yes: Agreed = False,
    estimate: OnlyEstimate = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show which models fit the request and why, and draw nothing.")] = False,
    again: Annotated[str, typer.Option(help="Id of a picture to draw again, seed and all, but for what is said here.")] = "",
    template: Annotated[str, typer.Option("--template", "-t", help="Template that makes the prompt; `templates list` has them.")] = "",
    var: Annotated[list[str] | None, typer.Option("--var", help="A variable of the template: name=value. May be repeated.")] = None,
    improve: Annotated[
        bool | None, typer.Option("--improve/--no-improve", help="Whether a chat model writes the prompt anew first. Default: as MCP_IMPROVE says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw pictures from a prompt, store them, and print where they are."""

    async def request(studio: Studio) -> ImageRequest:
        asked = request_of(
            studio.read_address(provider=provider, model=model, style=style, resolution=size),
            prompt=prompt,
            count=count,
            seed=seed,
            negative_prompt=negative,
            quality=quality,
            output_format=output_format,
            background="transparent" if transparent else None,
            file_prefix=prefix,
        )
        if template or var:
            asked = await studio.library.from_template(ME, asked, template, _variables(var or ()))
        return await studio.again(ME, again, **asked.wishes) if again else asked

    async def compare(studio: Studio) -> bool:
        ranking = await studio.ranking(ME, await request(studio))
        if as_json:
            print_json([ranked_facts(ranked) for ranked in ranking])
        else:
            results().print(_ranking_table(ranking))
        return True

    if explain:
        run(compare, as_json=as_json)
    else:
        _carry_out(request, fallback=fallback, estimate=estimate, agreed=yes, output=output, quiet=quiet, as_json=as_json, improve=improve)


def edit(
    prompt: Annotated[str, typer.Argument(help="What is to change, or what the new picture shows.")],
    images: Annotated[list[str], typer.Argument(help="Pictures to work on: files, image ids or https links; more than one are references.")],
    action: Annotated[str, typer.Option(help="variation, upscale or remove_background, where the pictures alone do not say it.")] = "",
    mask: Annotated[str, typer.Option(help="Picture, transparent or white where it is to be painted anew.")] = "",
    box: Annotated[list[str] | None, typer.Option(help="In place of a mask: x,y,width,height in pixels or fractions. May be repeated.")] = None,
    extend: Annotated[str, typer.Option(help="Pixels to paint on at the left, top, right and bottom: 0,0,256,0.")] = "",
    style_image: Annotated[str, typer.Option("--style-image", help="Picture in whose look to draw.")] = "",
    strength: Annotated[float | None, typer.Option(min=0, max=1, help="0: as it was; 1: wholly new.")] = None,
    provider: ServiceName = "",
    model: ModelName = "",
    style: StyleKey = "",
    size: Resolution = "",
    count: Count = 1,
    seed: Seed = None,
    output: Output = None,
    quiet: Quiet = False,
    fallback: Fallback = "",
    yes: Agreed = False,
    estimate: OnlyEstimate = False,
    as_json: AsJson = False,
) -> None:
    """Change pictures: by words, under a mask, beyond the edges, in another picture's look, larger, or several into one."""

    async def wish(studio: Studio) -> Wish:
        painted = boxes(_numbers(each, "--box") for each in box or ())
        request = request_of(
            studio.read_address(provider=provider, model=model, style=style, resolution=size),
            prompt=prompt,
            action=_operation(action),
            extend=edges([round(number) for number in _numbers(extend, "--extend")]) if extend else None,
            strength=strength,
            count=count,
            seed=seed,
        )
        return Wish(request=request, images=tuple(images), mask=mask, boxes=painted, style_image=style_image)

    _carry_out(wish, fallback=fallback, estimate=estimate, agreed=yes, output=output, quiet=quiet, as_json=as_json)


def _carry_out(
    wanted: Callable[[Studio], Awaitable[ImageRequest | Wish]],
    *,
    fallback: str,
    estimate: bool,
    agreed: bool,
    output: Path | None,
    quiet: bool,
    as_json: bool,
    improve: bool | None = None,
) -> None:
    """Draws what is wanted and shows it; or says what would come of it."""
    allowed = fallback_of(fallback)

    async def say(studio: Studio) -> bool:
        found = await studio.estimate(at_home(), await wanted(studio), fallback=allowed, improve=improve)
        print_json(estimate_facts(found))
        return found.objection is None

    async def draw(studio: Studio) -> bool:
        job = await with_progress(studio, await wanted(studio), fallback=allowed, agreed=agreed, hidden=quiet or as_json, improve=improve)
        return await show_job(studio, job, output, quiet=quiet, as_json=as_json)

    run(say if estimate else draw, as_json=as_json, failed=2 if estimate else 4)


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise RequestError(f"--var is {wrong[0]!r}; write name=value.", code="invalid_variables")
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}


def _numbers(text: str, option: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise RequestError(f"{option} is {text!r}; write four numbers with commas between them.")
    return numbers


_ACTIONS = (Operation.VARIATION, Operation.UPSCALE, Operation.REMOVE_BACKGROUND)


def _operation(action: str) -> Operation | None:
    if action and action not in _ACTIONS:
        raise RequestError(f"--action is {action!r}; there are: {', '.join(_ACTIONS)}. Anything else follows from what is named besides.")
    return Operation(action) if action else None


def _ranking_table(ranking: Sequence[Ranked]) -> Table:
    table = Table(title="Who fits best", title_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("points", justify="right")
    table.add_column("why", overflow="fold")
    for ranked in ranking:
        why = "; ".join(f"{point.value:+.1f} {point.words}" for point in ranked.points)
        table.add_row(f"{ranked.candidate.catalogue.provider}/{ranked.candidate.model.id}", f"{ranked.score:.1f}", why)
    return table
