"""The world of a scene, back to front: sky, land, water, city or room, as SVG. Pure: the same scene and numbers give the same drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from .artwork import load, mix, recolour
from .light import Palette
from .read import Scene

SHORT = 1000.0
"""Length of the picture's shorter edge in the units that everything is drawn in."""

FOLIAGE = ("#43864a", "#5aa352", "#7fbf63")
"""The leaf colours in our own tree drawings: dark, middle, light."""

LEAFY = ("own:tree", "own:bush", "own:poplar")
"""Drawings whose leaves turn with the season."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where things may stand: heights on the canvas, downwards."""

    far: float
    """Feet of what stands farthest away."""
    near: float
    """Feet of what stands nearest."""
    water: tuple[float, float] | None = None
    """Far and near edge of the water."""
    floating: bool = False
    """Things hover anywhere: under water, in space, in the sky."""
    scale: float = 1.0
    """Close-up (above 1) or wide view."""


@dataclass
class World:
    """A scenery being drawn: `back` lies behind the subjects, `front` before them."""

    scene: Scene
    palette: Palette
    width: float
    height: float
    random: Random
    back: list[str] = field(default_factory=list)
    front: list[str] = field(default_factory=list)
    defs: list[str] = field(default_factory=list)
    cut: bool = False
    """Layers of land throw shadows, as cut paper does."""

    def gradient(self, *colours: str, across: bool = False) -> str:
        """A fill that runs through the colours, top to bottom."""
        name = f"g{len(self.defs)}"
        stops = "".join(f'<stop offset="{i / (len(colours) - 1):.3f}" stop-color="{colour}"/>' for i, colour in enumerate(colours))
        self.defs.append(f'<linearGradient id="{name}" x1="0" y1="0" x2="{int(across)}" y2="{int(not across)}">{stops}</linearGradient>')
        return f"url(#{name})"

    def glow(self, x: float, y: float, radius: float, colour: str, strength: float = 0.6) -> str:
        """A soft round light."""
        name = f"g{len(self.defs)}"
        self.defs.append(
            f'<radialGradient id="{name}"><stop offset="0" stop-color="{colour}" stop-opacity="{strength:.2f}"/>'
            f'<stop offset=".45" stop-color="{colour}" stop-opacity="{strength * 0.38:.2f}"/><stop offset="1" stop-color="{colour}" stop-opacity="0"/></radialGradient>'
        )
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="url(#{name})"/>'

    def art(self, key: str, x: float, y: float, height: float, *, haze: float = 0.0, flip: bool = False, roof: str = "") -> str:
        """A piece of artwork with its feet at (x, y), in the light of the scene."""
        found = load(key)
        scale = height / found.height
        leaves = dict(zip(FOLIAGE, self.palette.leaves, strict=True))
        roofs = {"#d2644b": roof, "#bb5240": mix(roof, "#000000", 0.12), "#e07f63": mix(roof, "#ffffff", 0.15)} if roof else {}
        dark = self.palette.dark

        def change(colour: str) -> str:
            if colour == "#ffdf8a":  # a window
                return "#ffdb7a" if dark else self.palette.lit("#bfe0ea", haze)
            if key in LEAFY:
                colour = leaves.get(colour, colour)
            return self.palette.lit(roofs.get(colour, colour), haze)

        svg = recolour(found.svg, change)
        across = f"translate({x + found.width * scale / 2:.1f} {y - height:.1f}) scale({-scale:.4f} {scale:.4f})"
        straight = f"translate({x - found.width * scale / 2:.1f} {y - height:.1f}) scale({scale:.4f})"
        return f'<g transform="{across if flip else straight}">{svg}</g>'


def curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line through the points, as SVG path commands after a first M."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for i in range(len(points) - 1):
        before, start, end, after = points[max(0, i - 1)], points[i], points[i + 1], points[min(len(points) - 1, i + 2)]
        first = (start[0] + (end[0] - before[0]) / 6, start[1] + (end[1] - before[1]) / 6)
        second = (end[0] - (after[0] - start[0]) / 6, end[1] - (after[1] - start[1]) / 6)
        parts.append(f"C{first[0]:.1f} {first[1]:.1f} {second[0]:.1f} {second[1]:.1f} {end[0]:.1f} {end[1]:.1f}")
    return "".join(parts)


def rolling(world: World, y: float, swing: float, steps: int = 7) -> list[tuple[float, float]]:
    """The crest of a hill across the picture."""
    r, w = world.random, world.width
    phase, phase2 = r.uniform(0, 6.28), r.uniform(0, 6.28)
    waves = r.uniform(0.7, 1.2) * w / 1200
    return [
        (w * i / steps, y + swing * (math.sin(phase + waves * 6.28 * i / steps) * 0.7 + math.sin(phase2 + waves * 14 * i / steps) * 0.3))
        for i in range(-1, steps + 2)
    ]


def height_at(points: Sequence[tuple[float, float]], x: float) -> float:
    """How high a crest lies at x."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def shadow(edge: str) -> str:
    """A soft shadow along the upper edge of a layer: strokes, since blurring whole layers takes seconds."""
    strokes = "".join(f'<path d="{edge}" stroke-width="{width}"/>' for width in (8, 18, 30, 44))
    return f'<g fill="none" stroke="#1c1430" stroke-opacity=".09" transform="translate(2 -3)">{strokes}</g>'


def land(world: World, crest: Sequence[tuple[float, float]], colour: str, *, haze: float = 0.0, shade: float = 0.16) -> str:
    """Ground below a crest, lighter at the top."""
    lit = world.palette.lit(colour, haze)
    fill = world.gradient(mix(lit, "#ffffff", 0.10), lit, mix(lit, "#1c2a33", shade))
    edge = curve(crest)
    return f'{shadow(edge) if world.cut else ""}<path d="{edge}L{world.width + 200:.0f} {world.height + 60:.0f}H-200Z" fill="{fill}"/>'


# Sky.


def sky(world: World, horizon: float) -> None:
    """Sky with sun, moon, stars, rainbow, northern lights and clouds."""
    w, p, scene, r = world.width, world.palette, world.scene, world.random
    world.back.append(f'<rect width="{w:.0f}" height="{world.height:.0f}" fill="{p.sky[2]}"/>')
    world.back.append(f'<rect width="{w:.0f}" height="{horizon + 4:.0f}" fill="{world.gradient(*p.sky)}"/>')
    veiled = bool({"rain", "storm", "fog"} & scene.weather)
    night = scene.time == "night"
    if (night or "stars" in scene.sky) and "stars" not in scene.without and not ({"rain", "storm"} & scene.weather):
        for _ in range(int(70 * w / SHORT)):
            x, y, size = r.uniform(0, w), r.uniform(0, horizon * 0.92), r.choice((1.2, 1.5, 1.9, 2.6))
            world.back.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{size}" fill="#fffbe6" opacity="{r.uniform(0.45, 1):.2f}"/>')
        for _ in range(int((9 if "stars" in scene.sky else 4) * w / SHORT) + 1):
            x, y, s = r.uniform(0, w), r.uniform(20, horizon * 0.6), r.uniform(7, 13)
            world.back.append(_twinkle(x, y, s))
    if "aurora" in scene.weather:
        _aurora(world, horizon)
    _sun_or_moon(world, horizon, veiled)
    if "rainbow" in scene.weather:
        _rainbow(world, horizon)
    if "clouds" not in scene.without and not (night and "cloudy" not in scene.weather and r.random() < 0.3):
        many = 7 if {"cloudy", "storm", "rain"} & scene.weather else 4 if scene.place == "sky" else 3
        for i in range(max(2, round(many * w / SHORT))):
            x = w * (i + r.uniform(0.1, 0.9)) / max(2, round(many * w / SHORT))
            y = r.uniform(0.1, 0.62) * horizon
            world.back.append(cloud(world, x, y, r.uniform(0.55, 1.15) * (0.7 + 0.5 * (1 - y / horizon)) * 105))
    if "storm" in scene.weather:
        x = w * r.uniform(0.2, 0.8)
        world.back.append(world.glow(x, horizon * 0.4, 260, "#dfe6ff", 0.5))
        world.back.append(
            f'<path d="M{x:.0f} {horizon * 0.1:.0f}l-46 {horizon * 0.34:.0f}h40l-34 {horizon * 0.36:.0f} 96-{horizon * 0.46:.0f}h-44l34-{horizon * 0.24:.0f}z" fill="#fff6c9"/>'
        )


def _twinkle(x: float, y: float, s: float) -> str:
    return f'<path d="M{x:.0f} {y - s:.1f}Q{x:.0f} {y:.0f} {x + s:.1f} {y:.0f}Q{x:.0f} {y:.0f} {x:.0f} {y + s:.1f}Q{x:.0f} {y:.0f} {x - s:.1f} {y:.0f}Q{x:.0f} {y:.0f} {x:.0f} {y - s:.1f}Z" fill="#fff6d0"/>'


def _sun_or_moon(world: World, horizon: float, veiled: bool) -> None:
    scene, r, w = world.scene, world.random, world.width
    side = r.choice((0.2, 0.24, 0.76, 0.8))
    x = w * side
    moon = (scene.time == "night" or "moon" in scene.sky) and "sun" not in scene.sky
    if moon and "moon" not in scene.without:
        y, radius = horizon * 0.27 + 20, 56.0
        world.back.append(world.glow(x, y, radius * 4.4, "#fff4c9", 0.55))
        world.back.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius}" fill="#fff3c6"/>')
        for dx, dy, crater in ((-18, -14, 11), (16, 6, 15), (-8, 24, 8), (22, -24, 6)):
            world.back.append(f'<circle cx="{x + dx:.0f}" cy="{y + dy:.0f}" r="{crater}" fill="#eedfa6" opacity=".7"/>')
    elif not moon and "sun" not in scene.without and (not veiled or "sun" in scene.sky):
        low = scene.time in ("dawn", "sunset")
        if low:
            x = w * (0.5 + (side - 0.5) * 0.7)
        y, radius = (horizon * 0.8, 84.0) if low else (horizon * 0.26 + 20, 62.0)
        world.back.append(world.glow(x, y, radius * 4.4, "#fff1bf" if low else "#fffbe0", 0.75))
        world.back.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius}" fill="{"#fff0b5" if low else "#ffe27a"}"/>')
        world.back.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius * 0.86:.0f}" fill="{"#fff7d6" if low else "#ffeb9c"}"/>')


def cloud(world: World, x: float, y: float, size: float) -> str:
    """A soft cloud with a flat base and a shaded underside."""
    r, p = world.random, world.palette
    bumps = [(-0.95, -0.14, 0.36), (-0.42, -0.4, 0.52), (0.2, -0.5, 0.6), (0.78, -0.26, 0.44)]
    shapes = []
    for colour, dx, dy, grow in ((p.cloud_shade, 0.0, 0.0, 1.0), (p.cloud, -0.04, -0.1, 0.93)):
        shapes.append(
            f'<rect x="{x + (-1.32 + dx) * size:.1f}" y="{y + (-0.42 + dy) * size:.1f}" width="{2.56 * size:.1f}" height="{0.46 * size:.1f}" rx="{0.23 * size:.1f}" fill="{colour}"/>'
        )
        shapes += [
            f'<circle cx="{x + (bx + dx) * size:.1f}" cy="{y + (by + dy) * size:.1f}" r="{br * size * grow:.1f}" fill="{colour}"/>'
            for bx, by, br in bumps
        ]
    flip = r.choice((1, -1))
    return f'<g transform="translate({x * (1 - flip):.1f} 0) scale({flip} 1)">{"".join(shapes)}</g>'


def _rainbow(world: World, horizon: float) -> None:
    w = world.width
    cx, radius = w * world.random.uniform(0.42, 0.58), min(w * 0.46, horizon * 0.86)
    for i, colour in enumerate(("#ee6b6b", "#f5a25d", "#f8d866", "#8bcf7f", "#6db5e8", "#9a86d8")):
        size = radius - i * 15
        world.back.append(
            f'<path d="M{cx - size:.0f} {horizon + 30:.0f}A{size:.0f} {size:.0f} 0 0 1 {cx + size:.0f} {horizon + 30:.0f}" fill="none" stroke="{colour}" stroke-width="15.500" opacity=".62"/>'
        )


def _aurora(world: World, horizon: float) -> None:
    r, w = world.random, world.width
    for colour, base in (("#5ff0b0", 0.5), ("#62d6e8", 0.36), ("#b78bff", 0.26)):
        name = f"g{len(world.defs)}"
        world.defs.append(
            f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{colour}" stop-opacity="0"/><stop offset=".75" stop-color="{colour}" stop-opacity=".5"/><stop offset="1" stop-color="{colour}" stop-opacity="0"/></linearGradient>'
        )
        crest = rolling(world, horizon * base, 60, 9)
        tall = horizon * 0.42
        for i in range(60):
            x = w * i / 59
            y = height_at(crest, x)
            extra = r.uniform(0, 60)
            world.back.append(
                f'<rect x="{x:.0f}" y="{y - tall * 0.5 - extra:.0f}" width="{w / 52:.0f}" height="{tall + extra:.0f}" fill="url(#{name})" opacity=".55"/>'
            )


# Land.


def tufts(world: World, top: float, bottom: float, count: int, colour: str) -> str:
    """Grass, larger and sparser towards the viewer."""
    r, parts = world.random, []
    for _ in range(int(count * world.width / SHORT)):
        depth = r.random()
        x, y = r.uniform(0, world.width), top + (bottom - top) * depth
        s = 7 + 15 * depth
        parts.append(
            f"M{x - s * 0.5:.1f} {y - s * 0.8:.1f}Q{x - s * 0.1:.1f} {y - s * 0.3:.1f} {x:.1f} {y:.1f}M{x:.1f} {y - s:.1f}V{y:.1f}M{x + s * 0.55:.1f} {y - s * 0.75:.1f}Q{x + s * 0.1:.1f} {y - s * 0.3:.1f} {x:.1f} {y:.1f}"
        )
    return f'<path d="{"".join(parts)}" fill="none" stroke="{world.palette.lit(colour)}" stroke-width="2.600" stroke-linecap="round" opacity=".55"/>'


def blossoms(world: World, top: float, bottom: float, count: int, size: float = 1.0) -> str:
    """Small flowers scattered over the grass."""
    r, p, parts = world.random, world.palette, []
    colours = ("#ffffff", "#ffd95e", "#f48fb1", "#ef6f6c", "#b39ddb", "#fff3d6")
    places = sorted((r.random(), r.uniform(0, world.width)) for _ in range(int(count * world.width / SHORT)))
    for depth, x in places:
        y, s = top + (bottom - top) * depth, (3 + 8 * depth) * size
        colour = p.lit(r.choice(colours), 0, 0.8)
        stem = p.lit("#4f8f45")
        parts.append(f'<path d="M{x:.1f} {y:.1f}v{s * 2.4:.1f}" stroke="{stem}" stroke-width="{s * 0.32:.1f}"/>')
        parts += [
            f'<circle cx="{x + math.cos(a) * s * 0.72:.1f}" cy="{y + math.sin(a) * s * 0.72:.1f}" r="{s * 0.56:.1f}" fill="{colour}"/>'
            for a in (0, 1.26, 2.51, 3.77, 5.03)
        ]
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s * 0.42:.1f}" fill="{p.lit("#f6b93b", 0, 0.8)}"/>')
    return "".join(parts)


def trees(world: World, crest: Sequence[tuple[float, float]], count: int, height: float, *, haze: float, kinds: Sequence[str]) -> None:
    """Trees along a crest."""
    if "trees" in world.scene.without:
        return
    r = world.random
    for _ in range(max(1, int(count * world.width / SHORT))):
        x = r.uniform(-0.02, 1.02) * world.width
        tall = height * r.uniform(0.75, 1.2)
        world.back.append(world.art(r.choice(kinds), x, height_at(crest, x) + tall * 0.06, tall, haze=haze, flip=r.random() < 0.5))


def _tree_kinds(world: World) -> tuple[str, ...]:
    season = world.scene.season
    if season == "winter":
        return ("own:snowpine",)
    if season == "autumn":
        return ("own:tree", "own:maple", "own:tree", "own:pine")
    if season == "spring":
        return ("own:tree", "own:blossom", "own:poplar")
    return ("own:tree", "own:tree", "own:pine", "own:poplar")


def ridges(world: World, horizon: float, tall: float, *, layers: int = 2) -> None:
    """Mountains with a sunny and a shady side and snow on top."""
    r, w, p = world.random, world.width, world.palette
    for layer in range(layers):
        haze = 0.5 - 0.3 * layer
        body = p.lit(("#7f93ad", "#6d86a0")[layer % 2], haze)
        shade = mix(body, p.lit("#2f4260", haze), 0.45)
        cap = p.lit("#f6fafc", haze * 0.6)
        count = max(3, round(w / 330)) + layer
        for i in range(count):
            x = w * (i + 0.5 + r.uniform(-0.25, 0.25)) / count
            top = horizon - tall * r.uniform(0.6, 1.0) * (1 - 0.28 * layer)
            half = (horizon - top) * r.uniform(0.75, 0.95)
            base = horizon + 60
            world.back.append(
                f'<path d="M{x - half * 1.15:.0f} {base:.0f}L{x - half * 0.42:.0f} {top + (base - top) * 0.36:.0f}L{x:.0f} {top:.0f}L{x + half * 0.36:.0f} {top + (base - top) * 0.3:.0f}L{x + half * 1.2:.0f} {base:.0f}Z" fill="{body}" stroke="{body}" stroke-width="14" stroke-linejoin="round"/>'
            )
            world.back.append(
                f'<path d="M{x:.0f} {top:.0f}L{x + half * 0.36:.0f} {top + (base - top) * 0.3:.0f}L{x + half * 1.2:.0f} {base:.0f}H{x + half * 0.1:.0f}L{x + half * 0.16:.0f} {top + (base - top) * 0.6:.0f}L{x - half * 0.06:.0f} {top + (base - top) * 0.34:.0f}Z" fill="{shade}"/>'
            )
            d = (base - top) * 0.24
            world.back.append(
                f'<path d="M{x:.0f} {top - 6:.0f}L{x - half * 0.3:.0f} {top + d:.0f}L{x - half * 0.16:.0f} {top + d * 0.84:.0f}L{x - half * 0.06:.0f} {top + d * 1.22:.0f}L{x + half * 0.08:.0f} {top + d * 0.86:.0f}L{x + half * 0.2:.0f} {top + d * 1.16:.0f}L{x + half * 0.29:.0f} {top + d * 0.98:.0f}Z" fill="{cap}"/>'
            )


def corners(world: World, colour: str) -> None:
    """Grass blades and flowers in the lower corners, close to the viewer."""
    r, w, h, p = world.random, world.width, world.height, world.palette
    for side in (0, 1):
        parts = []
        for _ in range(15):
            x = (r.random() ** 1.6) * 230
            x = w - x if side else x
            tall = r.uniform(40, 120) * (1 - abs(x - (w if side else 0)) / 330)
            lean = r.uniform(-26, 26)
            parts.append(
                f'<path d="M{x - 7:.0f} {h + 4:.0f}Q{x:.0f} {h - tall * 0.5:.0f} {x + lean:.0f} {h - tall:.0f}Q{x + 6:.0f} {h - tall * 0.5:.0f} {x + 8:.0f} {h + 4:.0f}Z" fill="{p.lit(mix(colour, r.choice(("#2f6b3c", "#3f7f45", "#1f5a3a")), 0.6))}"/>'
            )
        world.front.append("".join(parts))


def horizon_of(place: str, h: float) -> float:
    """Height of the horizon."""
    share = {
        "sea": 0.5,
        "beach": 0.42,
        "desert": 0.58,
        "city": 0.7,
        "mountains": 0.62,
        "forest": 0.58,
        "snow": 0.56,
        "lake": 0.5,
        "moon": 0.66,
        "sky": 0.8,
    }.get(place, 0.56)
    return h * share


def meadow(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("meadow", h)
    sky(world, horizon + 40)
    far = rolling(world, horizon - 26, 26)
    world.back.append(land(world, far, p.ground[0], haze=0.42))
    trees(world, far, 5, 70, haze=0.4, kinds=_tree_kinds(world))
    middle = rolling(world, horizon + 40, 28)
    world.back.append(land(world, middle, p.ground[1], haze=0.14))
    trees(world, middle, 3, 150, haze=0.14, kinds=_tree_kinds(world))
    near = rolling(world, horizon + h * 0.13, 16)
    world.back.append(land(world, near, p.ground[2]))
    snowy = world.scene.season == "winter"
    if not snowy:
        world.back.append(tufts(world, horizon + h * 0.16, h, 70, "#4c8a3f" if world.scene.season != "autumn" else "#8f6a2c"))
        if "flowers" not in world.scene.without:
            many = {"garden": 150, "spring": 60}.get(world.scene.place, 60 if world.scene.season == "spring" else 26)
            world.back.append(blossoms(world, horizon + h * 0.17, h * 0.99, many, 1.5 if world.scene.place == "garden" else 1.0))
        corners(world, p.ground[2])
    if world.scene.place == "garden":
        for i in range(int(w / 150) + 1):
            world.back.append(world.art("own:fence", 75 + i * 150, horizon + h * 0.17, 62))
    if world.scene.place == "park":
        world.back.append(world.art("own:bench", w * r.choice((0.16, 0.84)), horizon + h * 0.2, 84))
        world.back.append(world.art("own:streetlamp", w * r.choice((0.08, 0.92)), horizon + h * 0.18, 250))
    return Stage(far=horizon + h * 0.15, near=h * 0.93)


def farm(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("farm", h)
    sky(world, horizon + 40)
    far = rolling(world, horizon - 20, 22)
    world.back.append(land(world, far, p.ground[0], haze=0.36))
    trees(world, far, 6, 70, haze=0.36, kinds=_tree_kinds(world))
    middle = rolling(world, horizon + 36, 14)
    world.back.append(land(world, middle, "#dcc063" if world.scene.season != "winter" else p.ground[1], haze=0.1))
    centre = w * r.uniform(0.4, 0.6)
    rows = "".join(f"M{centre + (i - 9) * 14:.0f} {horizon + 44:.0f}L{centre + (i - 9) * w * 0.13:.0f} {horizon + h * 0.2:.0f}" for i in range(19))
    world.back.append(f'<path d="{rows}" stroke="{p.lit("#b9973f")}" stroke-width="5" opacity=".5"/>')
    if not any(s.art == "own:barn" for s in world.scene.subjects):
        world.back.append(world.art("own:barn", w * r.choice((0.14, 0.86)), horizon + 64, 190, haze=0.06))
    near = rolling(world, horizon + h * 0.16, 10)
    world.back.append(land(world, near, p.ground[2]))
    for i in range(int(w / 190) + 1):
        world.back.append(world.art("own:fence", 95 + i * 190, horizon + h * 0.185, 60))
    if world.scene.season != "winter":
        world.back.append(tufts(world, horizon + h * 0.2, h, 60, "#4c8a3f"))
        corners(world, p.ground[2])
    return Stage(far=horizon + h * 0.2, near=h * 0.93)


def village(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("village", h)
    sky(world, horizon + 40)
    ridges(world, horizon, h * 0.22, layers=1)
    far = rolling(world, horizon - 10, 22)
    world.back.append(land(world, far, p.ground[0], haze=0.3))
    trees(world, far, 6, 84, haze=0.3, kinds=_tree_kinds(world))
    roofs = ("#d2644b", "#c98a4b", "#7a8fb5", "#b8576b", "#5f8f8b")
    snowy = world.scene.season == "winter"
    for row, (size, haze) in enumerate(((92, 0.2), (128, 0.08))):
        crest = rolling(world, horizon + 30 + row * h * 0.07, 12)
        world.back.append(land(world, crest, p.ground[1], haze=haze))
        count = max(3, round(w / (150 + 60 * row)))
        for i in range(count):
            x = w * (i + 0.5 + r.uniform(-0.22, 0.22)) / count
            if r.random() < 0.24:
                world.back.append(world.art(r.choice(_tree_kinds(world)), x, height_at(crest, x) + 12, size * 1.25, haze=haze))
            else:
                world.back.append(
                    world.art(
                        "own:smallhouse",
                        x,
                        height_at(crest, x) + 14,
                        size * r.uniform(0.9, 1.15),
                        haze=haze,
                        roof="#eef4f9" if snowy else r.choice(roofs),
                    )
                )
    near = rolling(world, horizon + h * 0.17, 10)
    world.back.append(land(world, near, p.ground[2]))
    x0 = w * r.uniform(0.4, 0.6)
    world.back.append(
        f'<path d="M{x0 - 20:.0f} {horizon + h * 0.155:.0f}C{x0 - 90:.0f} {horizon + h * 0.24:.0f} {x0 + 60:.0f} {h * 0.9:.0f} {x0 - 170:.0f} {h + 10:.0f}H{x0 + 200:.0f}C{x0 + 190:.0f} {h * 0.9:.0f} {x0 + 10:.0f} {horizon + h * 0.24:.0f} {x0 + 22:.0f} {horizon + h * 0.155:.0f}Z" fill="{p.lit("#e8d3a8" if not snowy else "#dfe6ee")}"/>'
    )
    if not snowy:
        world.back.append(tufts(world, horizon + h * 0.2, h, 50, "#4c8a3f"))
        corners(world, p.ground[2])
    return Stage(far=horizon + h * 0.2, near=h * 0.93)


def mountains(world: World) -> Stage:
    h, p = world.height, world.palette
    horizon = horizon_of("mountains", h)
    sky(world, horizon)
    ridges(world, horizon, h * 0.42)
    far = rolling(world, horizon - 8, 18)
    world.back.append(land(world, far, mix(p.ground[0], "#7fae8a", 0.4), haze=0.26))
    trees(world, far, 12, 90, haze=0.24, kinds=("own:snowpine",) if world.scene.season == "winter" else ("own:pine",))
    near = rolling(world, horizon + h * 0.1, 16)
    world.back.append(land(world, near, p.ground[2]))
    trees(world, near, 3, 180, haze=0.05, kinds=("own:snowpine",) if world.scene.season == "winter" else ("own:pine",))
    if world.scene.season != "winter":
        world.back.append(tufts(world, horizon + h * 0.13, h, 60, "#4c8a3f"))
        if "flowers" not in world.scene.without:
            world.back.append(blossoms(world, horizon + h * 0.15, h, 22))
        corners(world, p.ground[2])
    return Stage(far=horizon + h * 0.13, near=h * 0.93)


def snowfield(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("snow", h)
    sky(world, horizon + 20)
    ridges(world, horizon + 10, h * 0.22, layers=1)
    far = rolling(world, horizon, 20)
    world.back.append(land(world, far, p.ground[0], haze=0.2, shade=0.05))
    trees(world, far, 7, 92, haze=0.22, kinds=("own:snowpine",))
    for y, colour in ((0.1, p.ground[1]), (0.2, p.ground[2])):
        crest = rolling(world, horizon + h * y, 18)
        world.back.append(land(world, crest, mix(colour, "#c9dcec", 0.25), shade=0.07))
    trees(world, rolling(world, horizon + h * 0.12, 10), 2, 190, haze=0.03, kinds=("own:snowpine",))
    sparkle = "".join(
        f'<circle cx="{r.uniform(0, w):.0f}" cy="{r.uniform(horizon + h * 0.15, h):.0f}" r="{r.uniform(1, 2.6):.1f}"/>' for _ in range(60)
    )
    world.back.append(f'<g fill="#ffffff" opacity=".8">{sparkle}</g>')
    return Stage(far=horizon + h * 0.18, near=h * 0.93)


def forest(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("forest", h)
    sky(world, horizon + 40)
    haze = mix(p.haze, p.lit(p.leaves[2]), 0.35)
    world.back.append(f'<rect y="0" width="{w:.0f}" height="{h:.0f}" fill="{haze}" opacity="{0.2 if p.dark else 0.55}"/>')
    winter = world.scene.season == "winter"
    kinds = ("own:snowpine",) if winter else _tree_kinds(world)
    bamboo = any(s.art in ("own:bamboo", "plush:1f43c:panda") for s in world.scene.subjects)
    if bamboo:
        kinds = ("own:bamboo",)
    for row, (size, fade) in enumerate(((230, 0.6), (330, 0.38), (450, 0.16))):
        y = horizon + row * h * 0.05
        count = max(4, round(w / (120 + row * 45)))
        for i in range(count):
            x = w * (i + r.uniform(0.15, 0.85)) / count
            if row == 2 and abs(x - w / 2) < w * 0.26:
                continue
            world.back.append(world.art(r.choice(kinds), x, y + r.uniform(0, 24), size * r.uniform(0.85, 1.2), haze=fade, flip=r.random() < 0.5))
        crest = rolling(world, y + 6, 10)
        world.back.append(land(world, crest, mix(p.ground[row if winter else min(row, 2)], p.leaves[0], 0.0 if winter else 0.28), haze=fade * 0.7))
    if world.scene.time in ("day", "dawn") and not ({"rain", "storm"} & world.scene.weather):
        beams = "".join(
            f'<path d="M{x:.0f} -20L{x + 70:.0f} -20L{x - 150:.0f} {h * 0.86:.0f}H{x - 330:.0f}Z"/>' for x in (w * 0.62, w * 0.84, w * 1.06)
        )
        world.back.append(f'<g fill="#fff7cf" opacity=".13">{beams}</g>')
    near = rolling(world, horizon + h * 0.16, 14)
    world.back.append(land(world, near, mix(p.ground[2], p.leaves[0], 0.0 if winter else 0.22)))
    if not winter:
        world.back.append(tufts(world, horizon + h * 0.18, h, 90, "#356b38" if world.scene.season != "autumn" else "#7d5a2a"))
        for _ in range(4):
            world.back.append(world.art("1f344", r.choice((r.uniform(0, 0.2), r.uniform(0.8, 1))) * w, h * r.uniform(0.8, 0.95), r.uniform(34, 60)))
        if "flowers" not in world.scene.without:
            world.back.append(blossoms(world, horizon + h * 0.2, h, 14))
        corners(world, mix(p.ground[2], p.leaves[0], 0.4))
    for x, flip in ((-0.02, False), (1.02, True)):
        if "trees" not in world.scene.without:
            world.back.append(world.art(kinds[0], w * x, h * 0.9, h * 0.82, flip=flip))
    return Stage(far=horizon + h * 0.19, near=h * 0.93)


def waves(world: World, top: float, bottom: float) -> str:
    """Light strokes on water, finer towards the horizon."""
    r, parts = world.random, []
    for _ in range(int(64 * world.width / SHORT)):
        depth = r.random() ** 1.4
        x, y = r.uniform(0, world.width), top + 8 + (bottom - top - 8) * depth
        s = 14 + 46 * depth
        parts.append(f"M{x - s:.0f} {y:.0f}q{s * 0.5:.0f} {-s * 0.16:.0f} {s:.0f} 0t{s:.0f} 0")
    return f'<path d="{"".join(parts)}" fill="none" stroke="#ffffff" stroke-width="2.800" stroke-linecap="round" opacity="{0.16 if world.palette.dark else 0.34}"/>'


def water(world: World, top: float, bottom: float) -> None:
    """A sheet of water with glitter under a low sun or moon."""
    w, p, r = world.width, world.palette, world.random
    world.back.append(f'<rect x="-20" y="{top:.0f}" width="{w + 40:.0f}" height="{bottom - top:.0f}" fill="{world.gradient(*p.water)}"/>')
    if world.scene.time != "day" and not ({"rain", "storm"} & world.scene.weather):
        light = "".join(
            f'<ellipse cx="{w / 2 + r.uniform(-1, 1) * (40 + 120 * d):.0f}" cy="{top + (bottom - top) * d:.0f}" rx="{10 + 36 * r.random():.0f}" ry="{1.5 + 2.5 * d:.1f}"/>'
            for d in (i / 34 for i in range(34))
        )
        world.back.append(f'<g fill="{p.sun}" opacity=".5">{light}</g>')
    world.back.append(waves(world, top, bottom))


def sea(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("sea", h)
    sky(world, horizon)
    side = r.choice((0, 1))
    x = w * (0.86 if side else 0.14)
    world.back.append(
        f'<path d="M{x - 260:.0f} {horizon + 4:.0f}Q{x - 150:.0f} {horizon - 70:.0f} {x - 40:.0f} {horizon - 44:.0f}Q{x + 60:.0f} {horizon - 96:.0f} {x + 250:.0f} {horizon + 4:.0f}Z" fill="{p.lit("#7fa59b", 0.5)}"/>'
    )
    water(world, horizon, h)
    for i, y in enumerate((0.78, 0.88, 0.97)):
        crest = [(w * k / 14, h * y + (9 + 5 * i) * math.sin(k * 1.9 + i * 1.3)) for k in range(-1, 16)]
        colour = mix(p.water[1], "#0d3a5c" if not p.dark else "#070f2a", 0.1 + 0.13 * i)
        target = world.back if i == 0 else world.front
        target.append(f'<path d="{curve(crest)}L{w + 80:.0f} {h + 30:.0f}H-80Z" fill="{colour}" opacity=".88"/>')
        target.append(f'<path d="{curve(crest)}" fill="none" stroke="#ffffff" stroke-width="{3 + i}" opacity="{0.3 if p.dark else 0.5}"/>')
    return Stage(far=h * 0.72, near=h * 0.84, water=(horizon + h * 0.12, h * 0.84))


def beach(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("beach", h)
    sky(world, horizon)
    water(world, horizon, h * 0.7)
    shore = [(w * k / 8, h * 0.62 + 16 * math.sin(k * 1.3 + 0.6)) for k in range(-1, 10)]
    for lift, colour, opacity in ((-16, "#ffffff", 0.5), (-6, "#ffffff", 0.85)):
        world.back.append(
            f'<path d="{curve([(a, b + lift) for a, b in shore])}L{w + 200:.0f} {h:.0f}H-200Z" fill="{p.lit(colour)}" opacity="{opacity}"/>'
        )
    world.back.append(land(world, [(a, b + 4) for a, b in shore], mix(p.ground[2], "#b98f5a", 0.28)))
    world.back.append(land(world, [(a, b + 26) for a, b in shore], p.ground[0], shade=0.08))
    dots = "".join(
        f'<circle cx="{r.uniform(0, w):.0f}" cy="{r.uniform(h * 0.7, h):.0f}" r="{r.uniform(1, 2.6):.1f}"/>' for _ in range(int(90 * w / SHORT))
    )
    world.back.append(f'<g fill="{p.lit("#b98f5a")}" opacity=".5">{dots}</g>')
    for key in ("own:starfish", "1f41a", "1f41a"):
        world.back.append(world.art(key, r.uniform(0.05, 0.95) * w, h * r.uniform(0.74, 0.97), 34))
    if "trees" not in world.scene.without and not any(s.art == "own:palm" for s in world.scene.subjects):
        right = r.random() < 0.5
        world.back.append(world.art("own:palm", w * (0.93 if right else 0.07), h * 0.78, h * 0.52, flip=right))
    return Stage(far=h * 0.7, near=h * 0.93, water=(horizon + 30, h * 0.58))


def lake(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("lake", h)
    sky(world, horizon)
    ridges(world, horizon - 6, h * 0.24, layers=1)
    far = rolling(world, horizon - 22, 16)
    world.back.append(land(world, far, p.ground[0], haze=0.3))
    trees(world, far, 9, 84, haze=0.28, kinds=_tree_kinds(world))
    water(world, horizon + 8, h * 0.92)
    mirror = p.lit(p.ground[0], 0.3)
    world.back.append(f'<rect y="{horizon + 8:.0f}" width="{w:.0f}" height="46" fill="{mirror}" opacity=".34"/>')
    bank = [(w * k / 6, h * 0.87 + 16 * math.sin(k * 1.7 + 0.4) - 30 * abs(k / 6 - 0.5)) for k in range(-1, 8)]
    world.back.append(land(world, bank, p.ground[2]))
    if world.scene.season != "winter":
        reeds = "".join(
            f'<path d="M{x:.0f} {height_at(bank, x) + 14:.0f}q{r.uniform(-8, 8):.0f} -44 {r.uniform(-12, 12):.0f} {-r.uniform(60, 110):.0f}" stroke="{p.lit("#5d8f47")}" stroke-width="4" fill="none" stroke-linecap="round"/>'
            for x in [r.choice((r.uniform(0, 0.16), r.uniform(0.84, 1))) * w for _ in range(14)]
        )
        world.back.append(reeds)
        world.back.append(tufts(world, h * 0.91, h, 40, "#4c8a3f"))
        for _ in range(5):
            x, y = r.uniform(0.05, 0.95) * w, h * r.uniform(0.66, 0.8)
            world.back.append(f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="26" ry="7.500" fill="{p.lit("#5fa06a")}"/>')
            if "flowers" not in world.scene.without and r.random() < 0.6:
                world.back.append(world.art("1fab7", x, y + 1, 24))
        corners(world, p.ground[2])
    return Stage(far=h * 0.88, near=h * 0.95, water=(horizon + h * 0.1, h * 0.8))


def desert(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("desert", h)
    sky(world, horizon)
    for x, wide, tall in ((w * 0.2, 150, 120), (w * 0.78, 190, 150)):
        colour = p.lit("#c98a63", 0.45)
        world.back.append(
            f'<path d="M{x - wide:.0f} {horizon + 20:.0f}L{x - wide * 0.72:.0f} {horizon - tall:.0f}H{x + wide * 0.6:.0f}L{x + wide:.0f} {horizon + 20:.0f}Z" fill="{colour}"/>'
        )
        world.back.append(
            f'<path d="M{x + wide * 0.2:.0f} {horizon - tall:.0f}H{x + wide * 0.6:.0f}L{x + wide:.0f} {horizon + 20:.0f}H{x + wide * 0.36:.0f}Z" fill="{mix(colour, "#6d3f3a", 0.22)}"/>'
        )
    for i, (y, colour) in enumerate(((-0.02, p.ground[0]), (0.07, p.ground[1]), (0.17, p.ground[2]))):
        crest = rolling(world, horizon + h * y, 38 - 8 * i, 5)
        world.back.append(land(world, crest, colour, haze=0.3 - 0.14 * i, shade=0.12))
        side = [(a + 40, b + 3) for a, b in crest if a < w * 0.6]
        if len(side) > 2:
            lit = p.lit(mix(colour, "#b5763f", 0.35), 0.3 - 0.14 * i)
            world.back.append(
                f'<path d="{curve(side)}Q{side[-1][0] - 60:.0f} {side[-1][1] + 90:.0f} {side[0][0]:.0f} {side[0][1] + 130:.0f}Z" fill="{lit}" opacity=".32"/>'
            )
    if not any(s.art == "own:cactus" for s in world.scene.subjects):
        for x, y, size in ((r.uniform(0.06, 0.2), 0.72, 150), (r.uniform(0.8, 0.94), 0.68, 110)):
            world.back.append(world.art("own:cactus", w * x, h * y, size, haze=0.05))
    return Stage(far=horizon + h * 0.16, near=h * 0.92)


def city(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    horizon = horizon_of("city", h)
    sky(world, horizon)
    lamp = "#ffd97a"
    for layer, (haze, tall) in enumerate(((0.62, 0.56), (0.4, 0.42))):
        x = -30.0
        while x < w + 20:
            wide, high = r.uniform(60, 120), h * tall * r.uniform(0.5, 1.0)
            colour = p.lit(r.choice(("#8fa3b8", "#a39fb5", "#9fb0b8", "#b5a8a4")), haze)
            world.back.append(f'<rect x="{x:.0f}" y="{horizon - high:.0f}" width="{wide:.0f}" height="{high + 40:.0f}" fill="{colour}"/>')
            if layer and r.random() < 0.5:
                world.back.append(f'<path d="M{x + wide / 2:.0f} {horizon - high - 50:.0f}v52" stroke="{colour}" stroke-width="5"/>')
            glass = mix(colour, lamp if p.dark else "#ffffff", 0.75 if p.dark else 0.22)
            panes = "".join(
                f'<rect x="{x + 12 + i * 19:.0f}" y="{horizon - high + 16 + j * 26:.0f}" width="9" height="13"/>'
                for i in range(int((wide - 18) / 19))
                for j in range(int(high / 26))
                if r.random() < (0.45 if p.dark else 0.8)
            )
            world.back.append(f'<g fill="{glass}">{panes}</g>')
            x += wide + r.uniform(0, 12)
    x = -40.0
    front = horizon + h * 0.03
    walls = ("#e9b08a", "#f0d09a", "#a9c7b8", "#d99a93", "#b7b3d6", "#f2e3c6", "#9fbfd6")
    previous = ""
    while x < w:
        wide, high = r.uniform(120, 170), r.uniform(190, 290) * (0.8 + 0.2 * h / 1000)
        wall = r.choice([c for c in walls if c != previous])
        previous = wall
        colour = p.lit(wall, 0.04)
        top = front - high
        roof = p.lit(r.choice(("#a8574a", "#6d6f86", "#8a6a54")), 0.04)
        gable = r.random() < 0.6
        if gable:
            world.back.append(
                f'<path d="M{x - 6:.0f} {top + 2:.0f}L{x + wide / 2:.0f} {top - wide * 0.42:.0f}L{x + wide + 6:.0f} {top + 2:.0f}Z" fill="{roof}"/>'
            )
        else:
            world.back.append(f'<rect x="{x - 4:.0f}" y="{top - 18:.0f}" width="{wide + 8:.0f}" height="24" rx="4" fill="{roof}"/>')
        world.back.append(
            f'<rect x="{x:.0f}" y="{top:.0f}" width="{wide:.0f}" height="{high + 6:.0f}" fill="{world.gradient(colour, mix(colour, "#3a2f3f", 0.12))}"/>'
        )
        columns, rows = (3 if wide > 145 else 2), int((high - 96) / 66)
        for i in range(columns):
            for j in range(rows):
                px, py = x + wide * (i + 0.5) / columns, top + 22 + j * 66
                lit = p.dark and r.random() < 0.6
                world.back.append(
                    f'<rect x="{px - 17:.0f}" y="{py - 3:.0f}" width="34" height="46" rx="3" fill="{mix(colour, "#ffffff", 0.5)}"/><rect x="{px - 13:.0f}" y="{py:.0f}" width="26" height="40" rx="2" fill="{lamp if lit else p.lit("#86aec2")}"/><path d="M{px:.0f} {py:.0f}v40M{px - 13:.0f} {py + 20:.0f}h26" stroke="{mix(colour, "#ffffff", 0.5)}" stroke-width="3"/>'
                )
        awning = r.choice(("#d9534f", "#3f8f86", "#d99a2b", "#5470a8"))
        world.back.append(
            f'<rect x="{x + 14:.0f}" y="{front - 62:.0f}" width="{wide - 28:.0f}" height="62" fill="{lamp if p.dark else p.lit("#7fa3b3")}"/><rect x="{x + wide * 0.62:.0f}" y="{front - 62:.0f}" width="28" height="62" fill="{p.lit("#6d4a3d")}"/>'
        )
        stripe = (wide - 16) / 8
        world.back.append(
            "".join(
                f'<path d="M{x + 8 + i * stripe:.1f} {front - 78:.0f}h{stripe:.1f}v20a{stripe / 2:.1f} {stripe / 2:.1f} 0 0 1 {-stripe:.1f} 0z" fill="{p.lit(awning if i % 2 == 0 else "#fff6e6")}"/>'
                for i in range(8)
            )
        )
        x += wide + 2
    pavement, road = p.lit("#d8d2c8"), p.lit("#6c7078")
    curb = h * 0.82
    world.back.append(
        f'<rect y="{front:.0f}" width="{w:.0f}" height="{curb - front + 10:.0f}" fill="{world.gradient(mix(pavement, "#000000", 0.06), pavement)}"/>'
    )
    world.back.append(
        f'<path d="{"".join(f"M{w / 2 + (i - 12) * 70:.0f} {front:.0f}L{w / 2 + (i - 12) * 110:.0f} {curb:.0f}" for i in range(25))}" stroke="{mix(pavement, "#5b5348", 0.25)}" stroke-width="2" opacity=".6"/>'
    )
    world.back.append(
        f'<rect y="{curb:.0f}" width="{w:.0f}" height="14" fill="{mix(pavement, "#5b5348", 0.3)}"/><rect y="{curb + 12:.0f}" width="{w:.0f}" height="{h - curb:.0f}" fill="{world.gradient(road, mix(road, "#20242b", 0.25))}"/>'
    )
    world.back.append(
        "".join(
            f'<rect x="{i * 170 + 30}" y="{h * 0.93:.0f}" width="96" height="10" rx="4" fill="{p.lit("#f5edd8")}" opacity=".8"/>'
            for i in range(int(w / 170) + 1)
        )
    )
    for x in (w * 0.06, w * 0.94):
        if p.dark:
            world.back.append(world.glow(x, curb - 250, 170, "#ffe39a", 0.75))
        world.back.append(world.art("own:streetlamp", x, curb + 4, 300))
    if "trees" not in world.scene.without:
        for x in (w * 0.19, w * 0.81):
            world.back.append(world.art(_tree_kinds(world)[0], x, curb - 6, 220))
    if {"rain", "storm"} & world.scene.weather:
        world.back.append(
            "".join(
                f'<ellipse cx="{r.uniform(0, w):.0f}" cy="{r.uniform(curb + 30, h):.0f}" rx="{r.uniform(40, 100):.0f}" ry="7" fill="{p.sky[2]}" opacity=".35"/>'
                for _ in range(6)
            )
        )
    return Stage(far=curb - 8, near=h * 0.96)


def space(world: World) -> Stage:
    w, h, r = world.width, world.height, world.random
    world.back.append(f'<rect width="{w:.0f}" height="{h:.0f}" fill="{world.gradient("#120c33", "#241a5c", "#3b2673")}"/>')
    for _ in range(6):
        world.back.append(
            world.glow(r.uniform(0, w), r.uniform(0, h), r.uniform(220, 460), r.choice(("#7a4fd0", "#d04f9a", "#3f7fe0", "#3fc0c0")), 0.34)
        )
    stars = "".join(
        f'<circle cx="{r.uniform(0, w):.0f}" cy="{r.uniform(0, h):.0f}" r="{r.choice((1.2, 1.6, 2.2, 3.0))}" opacity="{r.uniform(0.4, 1):.2f}"/>'
        for _ in range(int(150 * w * h / SHORT**2))
    )
    world.back.append(f'<g fill="#fff9e8">{stars}</g>')
    world.back += [_twinkle(r.uniform(0, w), r.uniform(0, h), r.uniform(8, 16)) for _ in range(8)]
    if world.scene.place == "moon":
        return _moonscape(world)
    for x, y, size, colour in ((w * 0.15, h * 0.84, 150, "#e58a5c"), (w * 0.87, h * 0.18, 84, "#6fc0c9")):
        name = f"clip{len(world.defs)}"
        world.defs.append(f'<clipPath id="{name}"><circle cx="{x:.0f}" cy="{y:.0f}" r="{size}"/></clipPath>')
        bands = "".join(
            f'<path d="M{x - size:.0f} {y + k * size:.0f}q{size:.0f} {size * 0.34:.0f} {2 * size:.0f} 0v{size * 0.16:.0f}q{-size:.0f} {size * 0.34:.0f} {-2 * size:.0f} 0z" fill="{mix(colour, "#ffffff", 0.25)}" opacity=".6"/>'
            for k in (-0.8, -0.35, 0.1, 0.5)
        )
        world.back.append(world.glow(x, y, size * 1.7, colour, 0.4))
        world.back.append(
            f'<g clip-path="url(#{name})"><circle cx="{x:.0f}" cy="{y:.0f}" r="{size}" fill="{colour}"/>{bands}<circle cx="{x - size * 0.5:.0f}" cy="{y - size * 0.5:.0f}" r="{size * 1.5:.0f}" fill="none" stroke="#1a1040" stroke-width="{size * 0.7:.0f}" opacity=".3"/></g>'
        )
    return Stage(far=h * 0.4, near=h * 0.86, floating=True)


def _moonscape(world: World) -> Stage:
    w, h, r = world.width, world.height, world.random
    world.back.append(world.glow(w * 0.78, h * 0.24, 260, "#7fc4ff", 0.5))
    world.back.append(world.art("1f30d", w * 0.78, h * 0.24 + 95, 190))
    for y, colour in ((0.62, "#8d8aa3"), (0.72, "#b9b6c6")):
        crest = rolling(world, h * y, 26)
        fill = world.gradient(mix(colour, "#ffffff", 0.25), colour, mix(colour, "#3a3654", 0.3))
        world.back.append(f'<path d="{curve(crest)}L{w + 200:.0f} {h + 60:.0f}H-200Z" fill="{fill}"/>')
    for _ in range(9):
        depth = r.random()
        x, y, s = r.uniform(0, w), h * (0.77 + 0.2 * depth), 20 + 50 * depth
        world.back.append(
            f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{s:.0f}" ry="{s * 0.32:.0f}" fill="#9a97ab"/><ellipse cx="{x:.0f}" cy="{y + s * 0.07:.0f}" rx="{s * 0.84:.0f}" ry="{s * 0.22:.0f}" fill="#86839a"/>'
        )
    return Stage(far=h * 0.78, near=h * 0.92)


def underwater(world: World) -> Stage:
    w, h, p, r = world.width, world.height, world.palette, world.random
    dim = 0.45 if p.dark else 0.0
    top, middle, deep = (mix(c, "#061233", dim) for c in ("#8fe3e6", "#3aa9cf", "#14548f"))
    world.back.append(f'<rect width="{w:.0f}" height="{h:.0f}" fill="{world.gradient(top, middle, deep)}"/>')
    beams = "".join(
        f'<path d="M{x:.0f} -10h{r.uniform(40, 110):.0f}L{x - 120 + r.uniform(0, 160):.0f} {h * 0.9:.0f}H{x - 330:.0f}Z"/>'
        for x in [w * (i + r.random()) / 6 for i in range(1, 8)]
    )
    world.back.append(f'<g fill="#ffffff" opacity=".09">{beams}</g>')
    for y, colour in ((0.74, "#2f7fa8"), (0.81, "#3f8fa8")):
        world.back.append(
            f'<path d="{curve(rolling(world, h * y, 34))}L{w + 200:.0f} {h + 60:.0f}H-200Z" fill="{mix(colour, deep, 0.4)}" opacity=".7"/>'
        )
    sand = rolling(world, h * 0.87, 12)
    world.back.append(
        f'<path d="{curve(sand)}L{w + 200:.0f} {h + 60:.0f}H-200Z" fill="{world.gradient(mix("#f0dca6", deep, 0.16 + dim), mix("#d9bd82", deep, 0.3 + dim))}"/>'
    )
    for _ in range(int(9 * w / SHORT) + 2):
        x = r.choice((r.uniform(0, 0.3), r.uniform(0.7, 1))) * w
        y, tall, colour = height_at(sand, x) + r.uniform(6, 50), r.uniform(90, 260), mix(r.choice(("#3f9a6a", "#2f8a72", "#6aae4f")), deep, 0.2 + dim)
        for k in range(r.choice((2, 3))):
            dx = (k - 1) * 16
            world.back.append(
                f'<path d="M{x + dx:.0f} {y:.0f}c-26 {-tall * 0.3:.0f} 26 {-tall * 0.5:.0f} 0 {-tall * (1 - 0.16 * k):.0f}" fill="none" stroke="{colour}" stroke-width="{13 - 3 * k}" stroke-linecap="round"/>'
            )
    for key in ("1fab8", "own:rock", "1fab8", "own:starfish", "1f41a"):
        x = r.choice((r.uniform(0.02, 0.34), r.uniform(0.66, 0.98))) * w
        world.back.append(world.art(key, x, height_at(sand, x) + r.uniform(16, 70), {"1fab8": 110, "own:rock": 70}.get(key, 36), haze=0.05))
    shoal = "".join(
        f'<path d="M{x:.0f} {y:.0f}q14 -10 28 0l10 -7v14l-10 -7q-14 10 -28 0z"/>'
        for x, y in [(w * 0.66 + r.uniform(-90, 90), h * 0.3 + r.uniform(-50, 50)) for _ in range(9)]
    )
    world.back.append(f'<g fill="{mix(middle, deep, 0.5)}" opacity=".6">{shoal}</g>')
    bubbles = "".join(
        f'<circle cx="{r.uniform(0, w):.0f}" cy="{r.uniform(0, h * 0.9):.0f}" r="{r.uniform(3, 13):.1f}"/>' for _ in range(int(24 * w / SHORT))
    )
    world.front.append(f'<g fill="#ffffff" fill-opacity=".14" stroke="#ffffff" stroke-opacity=".6" stroke-width="1.800">{bubbles}</g>')
    return Stage(far=h * 0.34, near=h * 0.9, floating=True)


def heaven(world: World) -> Stage:
    w, h, r = world.width, world.height, world.random
    sky(world, h * 0.95)
    for row in range(3):
        count = max(3, round(w / 260))
        target = world.front if row == 2 else world.back
        for i in range(count + 1):
            target.append(cloud(world, w * (i + r.uniform(-0.2, 0.2)) / count, h * (0.86 + 0.1 * row), r.uniform(130, 200)))
    return Stage(far=h * 0.3, near=h * 0.78, floating=True)


def _window(world: World, x: float, y: float, wide: float, tall: float) -> None:
    """A window with the weather of the scene outside."""
    p, r = world.palette, world.random
    name = f"clip{len(world.defs)}"
    world.defs.append(f'<clipPath id="{name}"><rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{tall:.0f}" rx="6"/></clipPath>')
    view = [f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{tall:.0f}" fill="{world.gradient(*p.sky)}"/>']
    if world.scene.time == "night":
        view += [f'<circle cx="{x + r.uniform(0, wide):.0f}" cy="{y + r.uniform(0, tall * 0.7):.0f}" r="2" fill="#fff8dc"/>' for _ in range(16)]
        view.append(f'<circle cx="{x + wide * 0.7:.0f}" cy="{y + tall * 0.26:.0f}" r="{wide * 0.09:.0f}" fill="#fff3c6"/>')
    else:
        view.append(cloud(world, x + wide * 0.64, y + tall * 0.3, wide * 0.13))
    for k, colour in ((0.7, p.ground[0]), (0.84, p.ground[2])):
        view.append(
            f'<path d="M{x - 10:.0f} {y + tall * k:.0f}q{wide * 0.3:.0f} -30 {wide * 0.55:.0f} 0t{wide * 0.6:.0f} -6V{y + tall + 9:.0f}H{x - 10:.0f}Z" fill="{p.lit(colour, 0.2)}"/>'
        )
    if {"rain", "storm"} & world.scene.weather:
        view.append(
            "".join(
                f'<path d="M{x + r.uniform(0, wide):.0f} {y + r.uniform(0, tall):.0f}l-8 34" stroke="#ffffff" stroke-width="2" opacity=".5"/>'
                for _ in range(34)
            )
        )
    if "snow" in world.scene.weather:
        view.append(
            "".join(
                f'<circle cx="{x + r.uniform(0, wide):.0f}" cy="{y + r.uniform(0, tall):.0f}" r="{r.uniform(2, 4):.1f}" fill="#ffffff"/>'
                for _ in range(40)
            )
        )
    world.back.append(
        f'<rect x="{x - 16:.0f}" y="{y - 16:.0f}" width="{wide + 32:.0f}" height="{tall + 32:.0f}" rx="10" fill="#fbf3e4"/><g clip-path="url(#{name})">{"".join(view)}</g>'
    )
    world.back.append(
        f'<path d="M{x + wide / 2:.0f} {y:.0f}v{tall:.0f}M{x:.0f} {y + tall * 0.45:.0f}h{wide:.0f}" stroke="#fbf3e4" stroke-width="12"/><rect x="{x - 30:.0f}" y="{y + tall + 10:.0f}" width="{wide + 60:.0f}" height="20" rx="6" fill="#f1e4cc"/>'
    )


def _walls(world: World, floor: float) -> tuple[str, str]:
    w, p, r = world.width, world.palette, world.random
    wall, second = r.choice((("#f3dcc0", "#eccfaa"), ("#cfe0d6", "#bfd4c8"), ("#d9d3e8", "#cbc3df"), ("#f6d9cf", "#efc8ba"), ("#cfe0ea", "#bdd3e0")))
    lit = mix(wall, "#2a2e5c", 0.4) if p.dark else wall
    other = mix(second, "#2a2e5c", 0.4) if p.dark else second
    world.back.append(f'<rect width="{w:.0f}" height="{floor + 6:.0f}" fill="{world.gradient(mix(lit, "#ffffff", 0.12), lit)}"/>')
    if r.random() < 0.5:
        stripes = "".join(f'<rect x="{i * 70}" width="30" height="{floor:.0f}"/>' for i in range(int(w / 70) + 1))
    else:
        stripes = "".join(
            f'<circle cx="{i * 74 + (37 if j % 2 else 0)}" cy="{j * 62 + 30}" r="7"/>' for i in range(int(w / 74) + 2) for j in range(int(floor / 62))
        )
    world.back.append(f'<g fill="{other}" opacity=".5">{stripes}</g>')
    return lit, other


def room(world: World) -> Stage:
    """A wall, a floor, and what stands along them."""
    w, h, p, r = world.width, world.height, world.palette, world.random
    floor = h * 0.7
    _walls(world, floor)
    left = r.random() < 0.5
    wide, tall = min(300.0, w * 0.34), min(330.0, h * 0.36)
    x, y = (w * 0.09 if left else w * 0.91 - wide), h * 0.13
    _window(world, x, y, wide, tall)
    curtain = p.lit(r.choice(("#d9776a", "#6f9fb5", "#8fae7a", "#d9a441")), 0, 0.55)
    for side in (0, 1):
        cx = x - 44 if side == 0 else x + wide + 44
        inward = 1 if side == 0 else -1
        world.back.append(
            f'<path d="M{cx - inward * 14:.0f} {y - 34:.0f}h{inward * 92:.0f}q{-inward * 8:.0f} {tall * 0.6:.0f} {-inward * 52:.0f} {tall * 0.72:.0f}q{inward * 10:.0f} {tall * 0.3:.0f} {inward * 6:.0f} {tall * 0.46:.0f}h{-inward * 46:.0f}z" fill="{curtain}"/>'
        )
    world.back.append(f'<rect x="{x - 76:.0f}" y="{y - 44:.0f}" width="{wide + 152:.0f}" height="12" rx="6" fill="{p.lit("#8a5a3c", 0, 0.6)}"/>')
    fx = w * (0.72 if left else 0.2)
    world.back.append(
        f'<rect x="{fx - 74:.0f}" y="{h * 0.2:.0f}" width="150" height="112" rx="5" fill="{p.lit("#a8703f", 0, 0.6)}"/><rect x="{fx - 62:.0f}" y="{h * 0.2 + 12:.0f}" width="126" height="88" fill="{p.lit("#cfe6ee", 0, 0.6)}"/><path d="M{fx - 62:.0f} {h * 0.2 + 100:.0f}v-22l36 -30 30 26 26 -18 34 28v16z" fill="{p.lit("#7fae74", 0, 0.6)}"/><circle cx="{fx + 36:.0f}" cy="{h * 0.2 + 36:.0f}" r="11" fill="{p.lit("#f6c945", 0, 0.6)}"/>'
    )
    boards = p.lit("#c9925c", 0, 0.7)
    world.back.append(
        f'<rect y="{floor:.0f}" width="{w:.0f}" height="{h - floor:.0f}" fill="{world.gradient(mix(boards, "#5b3620", 0.12), boards)}"/>'
    )
    world.back.append(
        f'<path d="{"".join(f"M{w / 2 + (i - 14) * 62:.0f} {floor:.0f}L{w / 2 + (i - 14) * 124:.0f} {h:.0f}" for i in range(29))}" stroke="{mix(boards, "#5b3620", 0.35)}" stroke-width="2.500" opacity=".6"/>'
    )
    world.back.append(f'<rect y="{floor - 16:.0f}" width="{w:.0f}" height="20" fill="{p.lit("#fbf3e4", 0, 0.7)}"/>')
    rug = p.lit(r.choice(("#c9584c", "#4f7f9f", "#6f9a6a", "#8a6aa8")), 0, 0.7)
    for grow, colour in ((1.0, rug), (0.84, mix(rug, "#fff3dc", 0.45)), (0.74, rug)):
        world.back.append(
            f'<ellipse cx="{w / 2:.0f}" cy="{h * 0.875:.0f}" rx="{min(w * 0.42, 470) * grow:.0f}" ry="{h * 0.088 * grow:.0f}" fill="{colour}"/>'
        )
    if not any(s.kind == "furniture" and s.height > 0.9 for s in world.scene.subjects):
        world.back.append(world.art("1fab4", w * (0.95 if left else 0.05), h * 0.79, 190))
    if p.dark:
        world.front.append(world.glow(w * 0.5, h * 0.5, max(w, h) * 0.62, "#ffcf87", 0.34))
    return Stage(far=h * 0.8, near=h * 0.93, scale=1.35)


def table(world: World) -> Stage:
    """A table seen from its side, with room for what is laid on it."""
    w, h, p, r = world.width, world.height, world.palette, world.random
    edge = h * 0.6
    _walls(world, edge)
    wide, tall = min(420.0, w * 0.46), h * 0.36
    _window(world, w * r.choice((0.1, 0.46)), h * 0.08, wide, tall)
    wood = p.lit("#c08a55", 0, 0.6)
    world.back.append(
        f'<rect x="-20" y="{edge:.0f}" width="{w + 40:.0f}" height="{h - edge + 20:.0f}" fill="{world.gradient(mix(wood, "#fff0d0", 0.22), wood, mix(wood, "#5b3620", 0.25))}"/>'
    )
    grain = "".join(
        f"M-10 {y:.0f}Q{w * 0.3:.0f} {y + r.uniform(-9, 9):.0f} {w * 0.6:.0f} {y:.0f}T{w + 10:.0f} {y + r.uniform(-6, 6):.0f}"
        for y in (edge + (h - edge) * k for k in (0.1, 0.22, 0.36, 0.52, 0.7, 0.88))
    )
    world.back.append(f'<path d="{grain}" stroke="{mix(wood, "#5b3620", 0.4)}" stroke-width="3" fill="none" opacity=".45"/>')
    cloth = p.lit(r.choice(("#fdf6e8", "#e9f1f2", "#fbe9e4")), 0, 0.6)
    check = p.lit(r.choice(("#d9776a", "#6f9fb5", "#8fae7a")), 0, 0.6)
    cx = w / 2
    a, b, top, low = min(w * 0.36, 400), min(w * 0.47, 540), edge + (h - edge) * 0.12, h * 0.955
    world.back.append(f'<path d="M{cx - a:.0f} {top:.0f}H{cx + a:.0f}L{cx + b:.0f} {low:.0f}H{cx - b:.0f}Z" fill="{cloth}"/>')
    lines = "".join(f"M{cx + a * k:.0f} {top:.0f}L{cx + b * k:.0f} {low:.0f}" for k in (-0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.9)) + "".join(
        f"M{cx - (a + (b - a) * k):.0f} {top + (low - top) * k:.0f}H{cx + (a + (b - a) * k):.0f}" for k in (0.08, 0.26, 0.48, 0.72, 0.94)
    )
    world.back.append(f'<path d="{lines}" stroke="{check}" stroke-width="9" opacity=".4"/>')
    return Stage(far=edge + (h - edge) * 0.34, near=h * 0.9, scale=4.2)


PLACES: dict[str, Callable[[World], Stage]] = {
    "meadow": meadow, "garden": meadow, "park": meadow, "farm": farm, "village": village, "mountains": mountains, "snow": snowfield, "forest": forest,
    "sea": sea, "beach": beach, "lake": lake, "desert": desert, "city": city, "space": space, "moon": space, "underwater": underwater, "sky": heaven,
    "room": room, "table": table,
}  # fmt: skip


def weather(world: World) -> None:
    """What falls or drifts before everything: rain, snow, fog, petals, leaves, fireflies."""
    scene, w, h, r = world.scene, world.width, world.height, world.random
    if scene.place in ("room", "table", "space", "moon", "underwater"):
        return
    area = w * h / SHORT**2
    if {"rain", "storm"} & scene.weather:
        drops = "".join(
            f"M{r.uniform(-20, w + 40):.0f} {r.uniform(-20, h):.0f}l{-8 * k:.0f} {36 * k:.0f}"
            for k in [r.uniform(0.6, 1.4) for _ in range(int(120 * area))]
        )
        world.front.append(f'<path d="{drops}" stroke="#eaf4fb" stroke-width="2.600" stroke-linecap="round" opacity=".5"/>')
    if "snow" in scene.weather:
        flakes = "".join(
            f'<circle cx="{r.uniform(0, w):.0f}" cy="{r.uniform(0, h):.0f}" r="{r.choice((2.5, 3.5, 5, 7.5)):.1f}" opacity="{r.uniform(0.6, 0.95):.2f}"/>'
            for _ in range(int(110 * area))
        )
        world.front.append(f'<g fill="#ffffff">{flakes}</g>')
    if "fog" in scene.weather:
        for y in (0.42, 0.56, 0.72):
            name = f"g{len(world.defs)}"
            world.defs.append(
                f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{world.palette.haze}" stop-opacity="0"/><stop offset=".5" stop-color="{world.palette.haze}" stop-opacity=".75"/><stop offset="1" stop-color="{world.palette.haze}" stop-opacity="0"/></linearGradient>'
            )
            world.front.append(f'<rect y="{h * y - 110:.0f}" width="{w:.0f}" height="220" fill="url(#{name})"/>')
    drift = {"spring": ("#f9c5d3", "#f7a8be"), "autumn": ("#e2703a", "#f2a94e", "#c24b30")}.get(scene.season)
    if drift and scene.place not in ("sea", "desert", "beach"):
        for _ in range(int(22 * area)):
            x, y, s, turn = r.uniform(0, w), r.uniform(h * 0.1, h), r.uniform(6, 12), r.uniform(0, 180)
            world.front.append(
                f'<path transform="translate({x:.0f} {y:.0f}) rotate({turn:.0f})" d="M0 {-s:.1f}Q{s * 0.8:.1f} 0 0 {s:.1f}Q{-s * 0.8:.1f} 0 0 {-s:.1f}Z" fill="{world.palette.lit(r.choice(drift))}"/>'
            )
    if (scene.mood == "magic" and world.palette.dark) or (scene.time == "night" and scene.place in ("forest", "garden")):
        for _ in range(int(16 * area)):
            x, y = r.uniform(0, w), r.uniform(h * 0.4, h * 0.95)
            world.front.append(world.glow(x, y, r.uniform(14, 26), "#f6ff9a", 0.95))


def quiet(world: World) -> Stage:
    """A disc of light and one line of land or water, whatever the place."""
    w, h, p, r = world.width, world.height, world.palette, world.random
    high = {"space", "underwater", "sky"}
    world.back.append(f'<rect width="{w:.0f}" height="{h:.0f}" fill="{mix(p.sky[1], "#fbf3e4", 0.1 if p.dark else 0.55)}"/>')
    size = min(w, h) * 0.27
    world.back.append(
        f'<circle cx="{w * r.choice((0.36, 0.5, 0.64)):.0f}" cy="{h * 0.44:.0f}" r="{size:.0f}" fill="{mix("#f6c177" if not p.dark else "#fdf3cf", p.sky[2], 0.35)}"/>'
    )
    if world.scene.place in high:
        return Stage(far=h * 0.36, near=h * 0.86, floating=True)
    watery = world.scene.place in ("sea", "lake", "beach")
    ground = p.water[1] if watery else p.lit("#c9925c" if world.scene.place in ("room", "table") else p.ground[2])
    world.back.append(f'<path d="{curve(rolling(world, h * 0.72, 12))}L{w + 200:.0f} {h + 60:.0f}H-200Z" fill="{mix(ground, "#fbf3e4", 0.3)}"/>')
    scale = {"table": 4.2, "room": 1.35}.get(world.scene.place, 1.0)
    return Stage(far=h * 0.78, near=h * 0.9, water=(h * 0.7, h * 0.86) if watery else None, scale=scale)


def build(world: World, *, bare: bool = False) -> Stage:
    """Draw the world of the scene, and say where things may stand in it; `bare` leaves out all but the ground."""
    if bare:
        return quiet(world)
    stage = PLACES[world.scene.place](world)
    weather(world)
    return stage
