"""A request → the bytes of one picture. Runs in a worker process: everything here is pure and the same in every process."""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING

from .artwork import document, load, recolour, tinted
from .compose import Placement, compose
from .light import palette
from .looks import STYLE_OF
from .read import Scene, read
from .scenery import FOLIAGE, LEAFY, SHORT, World, build, cloud

if TYPE_CHECKING:
    from PIL import Image

    from .styles import Renderer


@dataclass(frozen=True, kw_only=True)
class Spec:
    """All that decides how one picture looks."""

    prompt: str
    negative: str = ""
    style: str | None = None
    """A key of ours or of another service; None: the style that the prompt names, else the picture book."""
    width: int
    height: int
    seed: int
    transparent: bool = False
    format: str = "png"
    compression: int | None = None
    scale: float = 1.0
    """Below 1: a smaller rendering of the same picture, as a preview."""
    source: bytes | None = None
    """A picture to restyle instead of composing one."""
    mask: bytes | None = None
    """Transparent where the things of the prompt are put into `source`; where the prompt names none, it is restyled there."""
    colours_of: bytes | None = None
    """A picture whose colours are taken."""


def random_for(spec: Spec, purpose: str = "pixels") -> Random:
    """Numbers that depend on the words, the seed and the purpose alone."""
    digest = hashlib.sha256(f"{purpose} {spec.seed}\n{spec.prompt}\n{spec.negative}".encode("utf-8", "replace")).digest()
    return Random(digest)  # noqa: S311  # a picture, not a secret


@cache
def _be_modest() -> None:
    """Let the server and the person's other programs go first."""
    if hasattr(os, "nice"):
        os.nice(15)
    # Ctrl-C in a terminal reaches every process there; what becomes of the work is for the one that asked for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(spec: Spec) -> bytes:
    """The finished file, painted in a process that is there for nothing else."""
    _be_modest()
    return paint(spec)


def paint(spec: Spec) -> bytes:
    """The finished file."""
    picture = render(spec)
    return encode(picture, spec)


def canvas_of(spec: Spec) -> tuple[float, float]:
    """Width and height in drawing units: the shorter edge is 1000, however many pixels it has."""
    unit = min(spec.width, spec.height) / SHORT
    return spec.width / unit, spec.height / unit


def render(spec: Spec) -> Image.Image:
    """The picture in its style, at `scale`."""
    from PIL.Image import Resampling

    from . import lettering, styles

    width, height = max(1, round(spec.width * spec.scale)), max(1, round(spec.height * spec.scale))
    scene, numbers = read(spec.prompt, spec.negative), random_for(spec)
    look = _look(spec, scene)
    working = look.working_size(width, height)
    if spec.source is not None and spec.mask is not None:
        finished = _painted_into(styles.opened(spec.source, width, height), spec, scene)
    elif spec.source is not None and spec.colours_of is not None and not (spec.style or scene.style):
        finished = styles.opened(spec.source, width, height)
    elif spec.source is not None:
        finished = look.apply(styles.opened(spec.source, *working), numbers)
    elif scene.drawable:
        base = rasterize(drawing(spec, scene, look), *working)
        finished = look.cut_out(base, numbers) if spec.transparent else look.apply(base, numbers)
        finished = lettering.banner(finished, scene.lettering) if scene.lettering else finished
    elif spec.transparent:
        finished = lettering.letters(scene.lettering or spec.prompt, *working)
    else:
        finished = look.apply(lettering.word_poster(scene.lettering or spec.prompt, *working, numbers), numbers)
    if spec.colours_of is not None:
        finished = styles.toned(finished, styles.opened(spec.colours_of, 256, 256))
    return finished if finished.size == (width, height) else finished.resize((width, height), Resampling.BICUBIC)


def _look(spec: Spec, scene: Scene) -> Renderer:
    """In which style it is painted."""
    from . import styles

    looks = styles.renderers()
    wanted = spec.style if spec.style in looks else STYLE_OF.get(spec.style or "")
    return looks[wanted or scene.style or ("picture_book" if spec.source is None or spec.mask is not None else "watercolor")]


def _painted_into(picture: Image.Image, spec: Spec, scene: Scene) -> Image.Image:
    """The picture with the things of the prompt where the mask is open; where there is nothing yet, it goes on out of focus."""
    from PIL import Image, ImageChops, ImageOps, ImageStat

    from . import styles

    assert spec.mask is not None
    with Image.open(BytesIO(spec.mask)) as mask:
        hole = ImageChops.invert(ImageOps.fit(mask.convert("RGBA").getchannel("A"), picture.size))  # cut like the picture
    box = hole.getbbox()
    if box is None:
        return picture
    if ImageStat.Stat(picture.getchannel("A"), hole).median[0] < _NOTHING:  # it is to go on beyond its edges
        return Image.composite(styles.filled(picture), picture, hole.point(lambda level: 255 if level else 0))
    if not scene.drawable:
        return Image.composite(_look(spec, scene).apply(picture, random_for(spec)).convert("RGBA"), picture, hole)
    inside = replace(spec, source=None, mask=None, colours_of=None, width=box[2] - box[0], height=box[3] - box[1], scale=1.0)
    things = render(replace(inside, transparent=True)).convert("RGBA")
    if things.getchannel("A").getbbox() is None:  # a place, and nothing in it
        things = render(inside).convert("RGBA")
    layer = Image.new("RGBA", picture.size)
    layer.paste(things, box[:2])
    return Image.composite(Image.alpha_composite(picture, layer), picture, hole)


_NOTHING = 8
"""Opacity of most pixels, beneath which a part of a picture is empty; along its edge there may be some."""


def drawing(spec: Spec, scene: Scene, style: Renderer) -> str:
    """The whole scene as SVG."""
    width, height = canvas_of(spec)
    if style.night:
        scene = replace(scene, time="night")
    colours = palette(scene)
    world = World(scene=scene, palette=colours, width=width, height=height, random=random_for(spec, "world"), cut=style.cut)
    stage = build(world, bare=style.bare)
    placements = compose(scene, stage, width, height, random_for(spec, "things"), load)
    world.back, world.front = ([], []) if spec.transparent else (world.back, world.front)
    if spec.transparent:
        placements = _centred(placements, width, height)
    subjects = "".join(_draw(world, p, style.outline, bare=spec.transparent) for p in placements)
    back, front = "".join(world.back), "".join(world.front)
    parts = f"{back}<g>{subjects}</g>{front}"
    if style.colouring:
        parts = recolour(parts, style.colouring)
        world.defs = [recolour(text, style.colouring) for text in world.defs]
    return document(width, height, f"<defs>{style.defs}{''.join(world.defs)}</defs>{parts}")


def _centred(placements: list[Placement], width: float, height: float) -> list[Placement]:
    """The group moved and grown to fill a picture without a background."""
    if not placements:
        return []
    left, right = min(p.x - p.width / 2 for p in placements), max(p.x + p.width / 2 for p in placements)
    top, bottom = min(p.top for p in placements), max(p.y for p in placements)
    scale = min(width * 0.86 / (right - left), height * 0.86 / (bottom - top))
    return [
        replace(
            p,
            x=width / 2 + (p.x - (left + right) / 2) * scale,
            y=height / 2 + (p.y - (top + bottom) / 2) * scale,
            width=p.width * scale,
            height=p.height * scale,
            mound=False,
        )
        for p in placements
    ]


def _draw(world: World, p: Placement, outline: str, *, bare: bool) -> str:
    art = load(p.art, p.tone)
    svg = tinted(art.svg, p.colour) if p.colour else art.svg
    dark = world.palette.dark
    if p.art in LEAFY and not p.colour:
        leaves = dict(zip(FOLIAGE, world.palette.leaves, strict=True))
        svg = recolour(svg, lambda colour: leaves.get(colour, colour))

    def light(colour: str) -> str:
        if colour == "#ffdf8a":
            return "#ffdb7a" if dark else world.palette.lit("#bfe0ea", 0, 0.6)
        return world.palette.lit(colour, 0.0, 0.55)

    glowing = p.art.startswith(
        ("own:firework", "own:skylantern", "1f3ee", "1f525", "1f56f", "1f388", "own:streetlamp", "1f383")
    ) or world.scene.place in ("space", "moon", "underwater")
    if not bare and not glowing:
        svg = recolour(svg, light)
    if p.art == "own:lighthouse" and dark and not bare:
        beam = f'<path d="M{art.width * 0.52:.1f} 22L-190 -14V52Z" fill="#fff3b8" opacity=".4"/>'
        svg = beam + svg
    scale = p.height / art.height
    flip = f"translate({p.width:.1f} 0) scale({-scale:.4f} {scale:.4f})" if p.flip else f"scale({scale:.4f})"
    body = f'<g {outline} transform="translate({p.x - p.width / 2:.1f} {p.top:.1f}) {flip}">{svg}</g>'
    if p.turn:
        body = f'<g transform="rotate({p.turn:.1f} {p.x:.1f} {p.y - p.height / 2:.1f})">{body}</g>'
    if bare:
        return body
    before, after = "", ""
    if p.tether:
        x, y = p.tether
        before += f'<path d="M{x:.1f} {y:.1f}Q{(x + p.x) / 2 + 14:.1f} {(y + p.y) / 2 + 20:.1f} {p.x:.1f} {p.y - p.height * 0.12:.1f}" fill="none" stroke="{world.palette.lit("#6b5a52")}" stroke-width="2.200"/>'
    if p.art.startswith(("own:firework", "own:skylantern", "1f3ee", "1f525", "1f56f", "own:streetlamp")) and dark:
        before += world.glow(p.x, p.y - p.height * 0.5, p.height * 0.95, "#ffcf7a", 0.55)
    if p.mound:
        before += _mound(world, p)
    elif p.ground == "stands":
        before += _shadow(world, p)
    elif p.ground == "floats":
        before += _reflection(p, svg, scale)
        after += "".join(
            f'<path d="M{p.x - p.width * k:.0f} {p.y + 4 + i * 9:.0f}q{p.width * k * 0.5:.0f} 7 {p.width * k:.0f} 0t{p.width * k:.0f} 0" fill="none" stroke="#ffffff" stroke-width="3" stroke-linecap="round" opacity=".45"/>'
            for i, k in enumerate((0.5, 0.34))
        )
    return before + body + after


def _shadow(world: World, p: Placement) -> str:
    name = f"g{len(world.defs)}"
    world.defs.append(
        f'<radialGradient id="{name}"><stop offset="0" stop-color="#1a2238" stop-opacity=".42"/><stop offset=".6" stop-color="#1a2238" stop-opacity=".26"/><stop offset="1" stop-color="#1a2238" stop-opacity="0"/></radialGradient>'
    )
    return f'<ellipse cx="{p.x + p.width * 0.05:.1f}" cy="{p.y - 1:.1f}" rx="{p.width * 0.56:.1f}" ry="{max(7.0, min(p.width * 0.09, 26.0)):.1f}" fill="url(#{name})"/>'


def _reflection(p: Placement, svg: str, scale: float) -> str:
    flip = f"translate({p.width:.1f} 0) scale({-scale:.4f} {-scale * 0.55:.4f})" if p.flip else f"scale({scale:.4f} {-scale * 0.55:.4f})"
    return f'<g opacity=".26" transform="translate({p.x - p.width / 2:.1f} {p.y + p.height * 0.55:.1f}) {flip}">{svg}</g>'


def _mound(world: World, p: Placement) -> str:
    """Something to stand on: a cloud in the sky, an islet or a floe at sea."""
    if world.scene.place == "sky":
        return cloud(world, p.x, p.y + p.width * 0.12, p.width * 0.62)
    top, side = ("#f4f9fd", "#c3dbea") if world.scene.season == "winter" else ("#8cc265", "#b08d62")
    lit, edge = world.palette.lit(top), world.palette.lit(side)
    wide = p.width * 0.85 + 60
    return (
        f'<path d="M{p.x - wide:.0f} {p.y + 26:.0f}Q{p.x - wide * 0.7:.0f} {p.y - 12:.0f} {p.x:.0f} {p.y - 14:.0f}T{p.x + wide:.0f} {p.y + 26:.0f}Q{p.x:.0f} {p.y + 50:.0f} {p.x - wide:.0f} {p.y + 26:.0f}Z" fill="{edge}"/>'
        f'<path d="M{p.x - wide * 0.86:.0f} {p.y + 8:.0f}Q{p.x - wide * 0.6:.0f} {p.y - 16:.0f} {p.x:.0f} {p.y - 18:.0f}T{p.x + wide * 0.86:.0f} {p.y + 8:.0f}Q{p.x:.0f} {p.y + 26:.0f} {p.x - wide * 0.86:.0f} {p.y + 8:.0f}Z" fill="{lit}"/>'
    )


def rasterize(svg: str, width: int, height: int) -> Image.Image:
    """The drawing in pixels, with its transparency."""
    from PIL import Image
    from resvg_py import svg_to_bytes

    with Image.open(BytesIO(bytes(svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True)))) as drawn:
        picture = drawn.convert("RGBA")
    return picture if picture.size == (width, height) else picture.resize((width, height))


def encode(picture: Image.Image, spec: Spec) -> bytes:
    """The file in the wanted format."""
    from PIL import Image

    out = BytesIO()
    if spec.format == "jpeg":
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture.convert("RGBA"))
        ground.convert("RGB").save(out, "JPEG", quality=90 if spec.compression is None else max(1, spec.compression), optimize=False)
    elif spec.format == "webp":
        picture.save(out, "WEBP", quality=88 if spec.compression is None else spec.compression, method=2)
    else:
        picture.save(out, "PNG", compress_level=2)
    return out.getvalue()
