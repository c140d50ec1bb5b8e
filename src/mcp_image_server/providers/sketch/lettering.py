"""Words in a picture: a banner over a scene, or a whole poster of words over generative art."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageDraw

from ...pictures.lettering import font, showable, wrapped
from .artwork import mix

_INKS = (
    ("#1f3a5f", "#f6e7c8", "#e8743b", "#3f9c8f", "#f2b441"),
    ("#3d2a4f", "#fbe8e0", "#e2577a", "#6c5fb0", "#f5b65c"),
    ("#174a45", "#eef3dc", "#d9622b", "#6fa84f", "#f0c24b"),
    ("#7a1f2b", "#fdf0dc", "#d93a3a", "#e89a3c", "#2f6f73"),
    ("#22304a", "#e6f1f5", "#3f7fd6", "#7fc4d9", "#f27d6b"),
)
"""Lettering, paper, and three colours for shapes."""


_MOST_CHARS = 400


def fitted(text: str, width: float, height: float, largest: float, most_lines: int) -> tuple[int, list[str]]:
    """The largest size at which the text fits, and its lines. Of a long text the beginning is taken: nobody reads more, and trying it would take minutes."""
    text = text[:_MOST_CHARS]
    size = max(6, int(largest))
    while True:
        lines = wrapped(text, font(size), width)
        if (
            len(lines) <= most_lines and len(lines) * size * 1.24 <= height and all(font(size).getlength(line) <= width for line in lines)
        ) or size <= 6:
            return size, lines[: max(1, min(most_lines, int(height / (size * 1.24))))]
        size = max(6, int(size * 0.92))


def banner(picture: Image.Image, text: str) -> Image.Image:
    """The words on a paper ribbon in the upper part of the picture."""
    w, h = picture.size
    unit = min(w, h) / 1000
    size, lines = fitted(showable(text), w * 0.78, h * 0.26, 120 * unit, 3)
    if not lines:
        return picture
    wide = max(font(size).getlength(line) for line in lines) + size * 1.3
    tall = len(lines) * size * 1.2 + size * 0.6
    x, y = (w - wide) / 2, h * 0.05
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    fold = size * 0.5
    for side in (-1, 1):
        edge = x if side < 0 else x + wide
        draw.polygon(
            [
                (edge - side * fold * 0.4, y + fold * 0.5),
                (edge + side * fold * 1.6, y + fold * 0.5),
                (edge + side * fold, y + tall * 0.5 + fold * 0.5),
                (edge + side * fold * 1.6, y + tall + fold * 0.5),
                (edge - side * fold * 0.4, y + tall + fold * 0.5),
            ],
            fill="#c9563f",
        )
    draw.rounded_rectangle((x + 3 * unit, y + 6 * unit, x + wide + 3 * unit, y + tall + 6 * unit), radius=size * 0.2, fill=(30, 20, 40, 70))
    draw.rounded_rectangle((x, y, x + wide, y + tall), radius=size * 0.2, fill="#fff6e2", outline="#e0745a", width=max(1, round(5 * unit)))
    for i, line in enumerate(lines):
        draw.text((w / 2, y + size * 0.3 + (i + 0.5) * size * 1.2), line, font=font(size), fill="#5a2f2a", anchor="mm")
    result = picture.convert("RGBA")
    result.alpha_composite(layer)
    return result.convert(picture.mode)


def word_poster(text: str, width: int, height: int, random: Random) -> Image.Image:
    """A poster of words over shapes that grow from the random numbers."""
    ink, paper, *colours = random.choice(_INKS)
    scale = 2 if width * height < 4_000_000 else 1
    w, h = width * scale, height * scale
    unit = min(w, h) / 1000
    picture = Image.new("RGB", (w, h), paper)
    draw = ImageDraw.Draw(picture)
    random.choice((_suns, _ribbons, _tiles))(draw, w, h, unit, paper, colours, random)
    title = showable(text) or "·"
    size, lines = fitted(title, w * 0.74, h * 0.46, (240 if len(title) <= 12 else 150) * unit, 7)
    tall = len(lines) * size * 1.22
    wide = max(font(size).getlength(line) for line in lines)
    pad = size * 0.5 + 26 * unit
    left, top = (w - wide) / 2 - pad, (h - tall) / 2 - pad
    draw.rounded_rectangle((left, top, w - left, h - top), radius=28 * unit, fill=paper)
    draw.rounded_rectangle(
        (left + 14 * unit, top + 14 * unit, w - left - 14 * unit, h - top - 14 * unit),
        radius=18 * unit,
        outline=colours[0],
        width=max(1, round(4 * unit)),
    )
    for i, line in enumerate(lines):
        draw.text((w / 2, h / 2 + (i - (len(lines) - 1) / 2) * size * 1.22), line, font=font(size), fill=ink, anchor="mm")
    return picture.resize((width, height), Image.Resampling.BOX) if scale > 1 else picture


def _suns(draw: ImageDraw.ImageDraw, w: int, h: int, unit: float, paper: str, colours: list[str], random: Random) -> None:
    """Rays behind rings and hills."""
    cx, cy = w * random.uniform(0.3, 0.7), h * random.uniform(0.3, 0.42)
    reach = math.hypot(w, h)
    rays = 36
    for i in range(0, rays, 2):
        a, b = 6.283 * i / rays, 6.283 * (i + 1) / rays
        draw.polygon(
            [(cx, cy), (cx + math.cos(a) * reach, cy + math.sin(a) * reach), (cx + math.cos(b) * reach, cy + math.sin(b) * reach)],
            fill=mix(paper, colours[2], 0.32),
        )
    for k, colour in ((330, mix(colours[2], paper, 0.3)), (270, colours[2]), (210, mix(colours[0], colours[2], 0.5))):
        draw.ellipse((cx - k * unit, cy - k * unit, cx + k * unit, cy + k * unit), fill=colour)
    for layer in range(5):
        base, phase = h * (0.66 + 0.08 * layer), random.uniform(0, 6.28)
        crest = [
            (x, base + math.sin(x / (190 * unit) + phase) * 30 * unit + math.sin(x / (70 * unit) + 2 * phase) * 9 * unit)
            for x in range(0, w + 20, max(2, int(10 * unit)))
        ]
        draw.polygon([(0, h), *crest, (w + 20, h)], fill=mix(colours[1], colours[0], layer / 5))


def _ribbons(draw: ImageDraw.ImageDraw, w: int, h: int, unit: float, paper: str, colours: list[str], random: Random) -> None:
    """Lines that follow a flowing field."""
    a, b, c = (random.uniform(0, 6.28) for _ in range(3))
    for _ in range(420):
        x, y = random.uniform(-0.05, 1.05) * w, random.uniform(-0.05, 1.05) * h
        colour = mix(random.choice(colours), paper, random.uniform(0, 0.55))
        line = [(x, y)]
        for _ in range(34):
            angle = 1.7 * math.sin(x / (260 * unit) + a) + 1.7 * math.cos(y / (220 * unit) + b) + c
            x, y = x + math.cos(angle) * 11 * unit, y + math.sin(angle) * 11 * unit
            line.append((x, y))
        draw.line(line, fill=colour, width=max(1, round(random.uniform(2, 13) * unit)), joint="curve")


def _tiles(draw: ImageDraw.ImageDraw, w: int, h: int, unit: float, paper: str, colours: list[str], random: Random) -> None:
    """Squares with quarter circles, leaves and dots."""
    step = 125 * unit
    for i in range(int(w / step) + 1):
        for j in range(int(h / step) + 1):
            x, y = i * step, j * step
            first, second = random.sample([*colours, mix(colours[0], paper, 0.6), mix(colours[1], paper, 0.6)], 2)
            draw.rectangle((x, y, x + step, y + step), fill=first)
            kind = random.randrange(5)
            if kind == 0:
                draw.ellipse((x + step * 0.16, y + step * 0.16, x + step * 0.84, y + step * 0.84), fill=second)
            elif kind < 3:
                ox, oy = x + step * random.choice((0, 1)), y + step * random.choice((0, 1))
                box = (ox - step, oy - step, ox + step, oy + step)
                start = (0 if ox == x else 90) if oy == y else (270 if ox == x else 180)
                draw.pieslice(box, start, start + 90, fill=second)
            elif kind == 3:
                draw.polygon([(x, y), (x + step, y), (x, y + step)], fill=second)
            else:
                for dx in (0.3, 0.7):
                    for dy in (0.3, 0.7):
                        draw.ellipse((x + step * (dx - 0.1), y + step * (dy - 0.1), x + step * (dx + 0.1), y + step * (dy + 0.1)), fill=second)


def letters(text: str, width: int, height: int) -> Image.Image:
    """The words alone, on nothing."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    size, lines = fitted(showable(text) or "·", width * 0.9, height * 0.9, min(width, height) * 0.3, 8)
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        draw.text((width / 2, height / 2 + (i - (len(lines) - 1) / 2) * size * 1.22), line, font=font(size), fill="#1f3a5f", anchor="mm")
    return picture
