"""Each look: how the drawing is coloured and outlined before it becomes pixels, and what is done to the pixels afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps, ImageStat

from .artwork import Colouring, hexed, mix, rgb
from .light import luminance

Finish = Callable[[Image.Image, Random], Image.Image]


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """One look."""

    finish: Finish
    """What is done to the opaque picture."""
    colouring: Colouring | None = None
    """What becomes of each colour of the drawing."""
    outline: str = ""
    """Attributes of every subject's group, such as an ink line."""
    cut: bool = False
    """Layers of land throw shadows on each other."""
    defs: str = ""
    night: bool = False
    """Always by night."""
    bare: bool = False
    """Only the ground and the subjects, with much empty space."""
    largest: int = 3072
    """Longest edge, in pixels, at which the picture is drawn and worked on; a larger one is scaled up afterwards."""

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """The size to draw at for a picture of that size."""
        share = min(1.0, self.largest / max(width, height))
        return max(1, round(width * share)), max(1, round(height * share))

    def apply(self, picture: Image.Image, random: Random) -> Image.Image:
        """The finished picture, opaque."""
        return self.finish(picture.convert("RGB"), random)

    def cut_out(self, picture: Image.Image, random: Random) -> Image.Image:
        """The same for subjects without a background: what is transparent stays so."""
        under = Image.new("RGBA", picture.size, "#f4efe6")
        under.alpha_composite(picture)
        finished = self.apply(under, random).convert("RGBA")
        finished.putalpha(picture.getchannel("A"))
        return finished


# Textures.


def unit_of(picture: Image.Image) -> float:
    """Pixels per thousandth of the shorter edge."""
    return min(picture.size) / 1000


def noise(size: tuple[int, int], cell: float, random: Random, strength: int) -> Image.Image:
    """Soft grey blotches around the middle: `cell` pixels across, ± strength."""
    small = (max(2, round(size[0] / cell) + 2), max(2, round(size[1] / cell) + 2))
    if small[0] >= size[0] or small[1] >= size[1]:
        small = size
    raw = Image.frombytes("L", small, random.randbytes(small[0] * small[1]))
    return raw.point(lambda v: 128 + (v - 128) * strength // 128).resize(size, Image.Resampling.BICUBIC)


def grain(size: tuple[int, int], random: Random, strength: int) -> Image.Image:
    """Fine paper grain, from one tile."""
    raw = Image.frombytes("L", (256, 256), random.randbytes(65536)).filter(ImageFilter.GaussianBlur(0.7))
    tile = raw.point(lambda v: 128 + (v - 128) * strength // 48)
    sheet = Image.new("L", size)
    for x in range(0, size[0], 256):
        for y in range(0, size[1], 256):
            sheet.paste(tile, (x, y))
    return sheet


def textured(picture: Image.Image, *textures: Image.Image) -> Image.Image:
    """The picture lightened and darkened by grey textures around 128."""
    texture = textures[0]
    for more in textures[1:]:
        texture = ImageChops.add(texture, more, 1, -128)
    return ImageChops.overlay(picture, Image.merge("RGB", (texture,) * 3))


def vignette(picture: Image.Image, strength: float, colour: str = "#2b1d3a") -> Image.Image:
    """Darker towards the corners."""
    mask = Image.radial_gradient("L").point(lambda v: int(max(0, v - 120) * strength)).resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", picture.size, colour), picture, mask)


def gradient_map(picture: Image.Image, *stops: str) -> Image.Image:
    """Brightness, from dark to light, turned into these colours."""
    grey = picture.convert("L")
    ramp: list[tuple[int, int, int]] = []
    for level in range(256):
        at = level / 255 * (len(stops) - 1)
        low = min(int(at), len(stops) - 2)
        ramp.append(rgb(mix(stops[low], stops[low + 1], at - low)))
    return Image.merge("RGB", [grey.point([colour[channel] for colour in ramp]) for channel in range(3)])


def edges(picture: Image.Image, width: float) -> Image.Image:
    """Where brightness changes: 0 nothing, 255 a strong edge."""
    size = max(3, int(width) * 2 + 1)
    grey = picture.convert("L").filter(ImageFilter.GaussianBlur(max(0.4, width * 0.35)))
    return ImageChops.subtract(grey.filter(ImageFilter.MaxFilter(size)), grey.filter(ImageFilter.MinFilter(size)))


def wobbled(picture: Image.Image, random: Random, amount: float, cell: float) -> Image.Image:
    """The picture as drawn by an unsteady hand: a mesh whose points are moved a little."""
    w, h = picture.size
    columns, rows = max(2, round(w / cell)), max(2, round(h / cell))
    xs, ys = [round(w * i / columns) for i in range(columns + 1)], [round(h * j / rows) for j in range(rows + 1)]
    moved = [[(x + random.uniform(-amount, amount) * (0 < x < w), y + random.uniform(-amount, amount) * (0 < y < h)) for x in xs] for y in ys]
    mesh = [
        ((xs[i], ys[j], xs[i + 1], ys[j + 1]), (*moved[j][i], *moved[j + 1][i], *moved[j + 1][i + 1], *moved[j][i + 1]))
        for j in range(rows)
        for i in range(columns)
    ]
    return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


# The looks.


def picture_book(picture: Image.Image, random: Random) -> Image.Image:
    """Gouache on paper: mottled colour, a little grain, darker corners."""
    u = unit_of(picture)
    painted = textured(picture, noise(picture.size, 60 * u, random, 9), noise(picture.size, 11 * u, random, 6), grain(picture.size, random, 4))
    return vignette(painted, 0.26)


def flat(picture: Image.Image, random: Random) -> Image.Image:
    """The drawing as it is."""
    return picture


def watercolor(picture: Image.Image, random: Random) -> Image.Image:
    """Bleeding pigment that gathers at the edges, on rough white paper."""
    u = unit_of(picture)
    size = picture.size
    drawn = wobbled(picture, random, 4.2 * u, 26 * u).filter(ImageFilter.MedianFilter(5 if u > 0.5 else 3))
    soft = drawn.filter(ImageFilter.GaussianBlur(4 * u))
    washed = Image.blend(drawn, soft, 0.55)
    rim = ImageOps.invert(edges(washed, 2.4 * u).point(lambda v: min(120, v)))
    washed = ImageEnhance.Color(washed).enhance(1.12)
    washed = Image.blend(washed, Image.new("RGB", size, "#fffdf7"), 0.24)
    washed = ImageChops.multiply(washed, Image.merge("RGB", (rim.point(lambda v: 150 + v * 105 // 255),) * 3))
    washed = textured(washed, noise(size, 90 * u, random, 30), noise(size, 22 * u, random, 18), grain(size, random, 12))
    w, h = size
    inner = Image.new("L", (max(8, w // 4), max(8, h // 4)), 0)
    margin = 10 * u
    ImageDraw.Draw(inner).rectangle((margin, margin, inner.width - margin, inner.height - margin), fill=255)
    inner = wobbled(inner, random, 6 * u, 12 * u).filter(ImageFilter.GaussianBlur(1.2 * u)).resize(size, Image.Resampling.BICUBIC)
    paper = textured(Image.new("RGB", size, "#fbf8f0"), grain(size, random, 10))
    return Image.composite(washed, paper, inner)


def ink(picture: Image.Image, random: Random) -> Image.Image:
    """Chinese ink on rice paper: washes of grey, a breath of colour, a red seal."""
    u = unit_of(picture)
    size = picture.size
    drawn = wobbled(picture, random, 3.4 * u, 22 * u)
    soft = drawn.filter(ImageFilter.GaussianBlur(5 * u))
    grey = ImageOps.autocontrast(Image.blend(drawn, soft, 0.5).convert("L"), cutoff=1)
    wash = gradient_map(grey.convert("RGB"), "#20201f", "#6a6862", "#b9b4a6", "#e9e2d0", "#f6f0e1")
    tinted = Image.blend(wash, ImageChops.multiply(ImageEnhance.Color(drawn).enhance(0.8), Image.new("RGB", size, "#f4ecd9")), 0.2)
    line = edges(drawn, 1.5 * u).point(lambda v: 255 - min(190, max(0, v - 22) * 2)).filter(ImageFilter.GaussianBlur(0.8 * u))
    inked = ImageChops.multiply(tinted, Image.merge("RGB", (line,) * 3))
    inked = textured(inked, noise(size, 120 * u, random, 22), noise(size, 16 * u, random, 14), grain(size, random, 12))
    paper = textured(Image.new("RGB", size, "#f3ead6"), noise(size, 6 * u, random, 10), grain(size, random, 10))
    fade = Image.radial_gradient("L").point(lambda v: max(0, min(255, 430 - int(v * 1.75)))).resize(size, Image.Resampling.BILINEAR)
    fade = ImageChops.add(fade, noise(size, 70 * u, random, 40), 1, -128)
    result = Image.composite(inked, paper, fade)
    return _sealed(result, u)


def _sealed(picture: Image.Image, u: float) -> Image.Image:
    """The painter's red seal in the lower right corner."""
    from ...pictures.lettering import font

    side = round(62 * u)
    if side < 10:
        return picture
    x, y = picture.width - round(112 * u), picture.height - round(118 * u)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((x, y, x + side, y + side), radius=max(1, side // 9), fill="#b5342a")
    draw.text((x + side / 2, y + side / 2), "画", font=font(round(side * 0.78)), fill="#f6ecd8", anchor="mm")
    return picture


def pixel_art(picture: Image.Image, random: Random) -> Image.Image:
    """Large square pixels in few colours."""
    cells = 120
    share = cells / min(picture.size)
    small = (max(1, min(picture.width, round(picture.width * share))), max(1, min(picture.height, round(picture.height * share))))
    low = ImageEnhance.Color(picture.resize(small, Image.Resampling.BOX)).enhance(1.25)
    few = low.quantize(72, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return few.resize(picture.size, Image.Resampling.NEAREST)


def paper(picture: Image.Image, random: Random) -> Image.Image:
    """Cut coloured paper; the shadows between its layers are in the drawing already."""
    u = unit_of(picture)
    return textured(picture, noise(picture.size, 5 * u, random, 9), grain(picture.size, random, 13))


def red_paper(picture: Image.Image, random: Random) -> Image.Image:
    """A New Year's window flower: red paper with its edges cut out, on cream."""
    u = unit_of(picture)
    grey = ImageOps.autocontrast(picture.convert("L").filter(ImageFilter.GaussianBlur(1.5 * u)), cutoff=2)
    cut = edges(picture, 1.8 * u).point(lambda v: 255 if v > 26 else 0)
    light = grey.point(lambda v: 255 if v > 205 else 0)
    hatch = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(hatch)
    step = max(3.0, 13 * u)
    for i in range(int((picture.width + picture.height) / step) + 1):
        draw.line((i * step - picture.height, 0, i * step, picture.height), fill=255, width=max(1, round(2.4 * u)))
    middle = ImageChops.multiply(grey.point(lambda v: 255 if 140 < v <= 205 else 0), hatch)
    holes = ImageChops.lighter(ImageChops.lighter(cut, light), middle).filter(ImageFilter.GaussianBlur(0.7 * u))
    red = textured(Image.new("RGB", picture.size, "#c8161d"), noise(picture.size, 6 * u, random, 10), grain(picture.size, random, 12))
    cream = textured(Image.new("RGB", picture.size, "#fdf3df"), grain(picture.size, random, 6))
    shadow = ImageChops.offset(holes, round(4 * u), round(5 * u)).filter(ImageFilter.GaussianBlur(3 * u))
    cream = ImageChops.multiply(cream, Image.merge("RGB", [shadow.point(lambda v, low=low: low + v * (255 - low) // 255) for low in (205, 190, 180)]))
    result = Image.composite(cream, red, holes)
    return _framed(result, u, "#c8161d", "#fdf3df")


def _framed(picture: Image.Image, u: float, outer: str, inner: str) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    w, h = picture.size
    a, b = round(26 * u), round(34 * u)
    draw.rectangle((0, 0, w, a), fill=outer)
    draw.rectangle((0, h - a, w, h), fill=outer)
    draw.rectangle((0, 0, a, h), fill=outer)
    draw.rectangle((w - a, 0, w, h), fill=outer)
    draw.rectangle((b, b, w - b, h - b), outline=inner, width=max(1, round(4 * u)))
    return picture


def poster(picture: Image.Image, random: Random) -> Image.Image:
    """A screen-printed travel poster: few warm inks, a cream border."""
    u = unit_of(picture)
    smooth = picture.filter(ImageFilter.MedianFilter(5 if u > 0.5 else 3))
    warm = Image.blend(smooth, gradient_map(smooth, "#1d2b45", "#2f5d73", "#d9734e", "#f2b45c", "#fbe9c6"), 0.3)
    few = ImageEnhance.Color(warm).enhance(1.3).quantize(24, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    printed = textured(few, grain(picture.size, random, 14))
    return ImageOps.expand(
        printed.resize((max(1, picture.width - 2 * round(38 * u)), max(1, picture.height - 2 * round(38 * u)))), round(38 * u), "#fbf0d9"
    ).resize(picture.size)


def cyberpunk(picture: Image.Image, random: Random) -> Image.Image:
    """Neon over darkness: bloom, coloured fringes, scan lines."""
    u = unit_of(picture)
    picture = ImageOps.autocontrast(picture, cutoff=1)
    mapped = gradient_map(picture, "#08051a", "#1d0f4a", "#5a1a8c", "#d11f9c", "#ff5fb0", "#6ff4ff")
    toned = Image.blend(mapped, ImageEnhance.Color(picture).enhance(1.7), 0.42)
    toned = ImageEnhance.Contrast(toned).enhance(1.15)
    neon = edges(picture, 1.6 * u).point(lambda v: min(255, max(0, v - 30) * 2))
    lines = Image.composite(Image.new("RGB", picture.size, "#35f2ff"), Image.new("RGB", picture.size, "#000000"), neon)
    lines = ImageChops.screen(lines, lines.filter(ImageFilter.GaussianBlur(6 * u)))
    glow = (
        ImageEnhance.Brightness(toned.point(lambda v: max(0, v - 120) * 2))
        .enhance(0.9)
        .resize((max(1, picture.width // 4), max(1, picture.height // 4)))
        .filter(ImageFilter.GaussianBlur(6 * u))
        .resize(picture.size)
    )
    lit = ImageChops.screen(ImageChops.screen(toned, glow), ImageEnhance.Brightness(lines).enhance(0.8))
    red, green, blue = lit.split()
    shift = max(1, round(2.2 * u))
    lit = Image.merge("RGB", (ImageChops.offset(red, shift, 0), green, ImageChops.offset(blue, -shift, 0)))
    scan = Image.new("L", (1, picture.height), 128)
    step = max(2, round(4 * u))
    scan.putdata([112 if y % step == 0 else 132 for y in range(picture.height)])
    return vignette(textured(lit, scan.resize(picture.size), grain(picture.size, random, 6)), 0.7, "#05020f")


def strokes(picture: Image.Image, random: Random, sizes: Sequence[float], jitter: int, calm: float) -> Image.Image:
    """The picture painted again with a brush: large strokes first, then smaller ones where there is something to see."""
    u = unit_of(picture)
    w, h = picture.size
    canvas = picture.filter(ImageFilter.GaussianBlur(8 * u))
    detail = edges(picture, 3 * u)
    phases = [random.uniform(0, 6.28) for _ in range(4)]
    for level, size in enumerate(sizes):
        sample = picture.filter(ImageFilter.GaussianBlur(size * u * 0.35)).load()
        seen = detail.filter(ImageFilter.MaxFilter(5)).load()
        assert sample is not None
        assert seen is not None
        draw = ImageDraw.Draw(canvas)
        step = max(2.0, size * u * 0.9)
        spots = [(x * step, y * step) for x in range(int(w / step) + 1) for y in range(int(h / step) + 1)]
        random.shuffle(spots)
        for x0, y0 in spots:
            x, y = int(min(w - 1, max(0, x0 + random.uniform(-step, step) * 0.5))), int(min(h - 1, max(0, y0 + random.uniform(-step, step) * 0.5)))
            edge = seen[x, y]
            assert isinstance(edge, int)
            if level and edge < 12 + 8 * level and random.random() < calm:
                continue
            colour = sample[x, y]
            assert isinstance(colour, tuple)
            lift = random.randint(-jitter, jitter)
            angle = 0.9 * math.sin(x / (150 * u) + phases[0]) + 0.9 * math.cos(y / (130 * u) + phases[1]) + random.uniform(-0.3, 0.3)
            long = size * u * random.uniform(0.6, 1.1) * (0.35 if edge > 40 else 1)
            dx, dy = math.cos(angle) * long, math.sin(angle) * long * 0.7
            wide = max(1, round(size * u * 0.5))
            fill = tuple(max(0, min(255, part + lift + random.randint(-jitter // 3, jitter // 3))) for part in colour)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=wide)
            r = wide / 2
            draw.ellipse((x - dx - r, y - dy - r, x - dx + r, y - dy + r), fill=fill)
            draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=fill)
    return canvas


def oil_painting(picture: Image.Image, random: Random) -> Image.Image:
    """Thick brush strokes with light on their ridges, on canvas."""
    painted = strokes(ImageEnhance.Color(picture).enhance(1.15), random, (30, 14, 7, 4), 12, 0.93)
    relief = painted.convert("L").filter(ImageFilter.Kernel((3, 3), (-1, -1, 0, -1, 0, 1, 0, 1, 1), 1, 128))
    return vignette(textured(painted, relief.point(lambda v: 128 + (v - 128) // 2), grain(picture.size, random, 8)), 0.4)


def impressionist(picture: Image.Image, random: Random) -> Image.Image:
    """Short dabs of broken, lively colour."""
    bright = ImageEnhance.Brightness(ImageEnhance.Color(picture).enhance(1.3)).enhance(1.06)
    return textured(strokes(bright, random, (18, 10, 5), 26, 0.6), grain(picture.size, random, 8))


def sketch(picture: Image.Image, random: Random) -> Image.Image:
    """Graphite: contours, hatching in the shadows, rough paper."""
    u = unit_of(picture)
    size = picture.size
    shaky = wobbled(picture, random, 1.6 * u, 30 * u)
    grey = ImageOps.autocontrast(shaky.convert("L"), cutoff=1)
    dodge = _dodged(grey, 7 * u)
    line = edges(shaky, 1.3 * u).point(lambda v: 255 - min(215, max(0, v - 10) * 3))
    hatch = Image.new("L", size, 255)
    draw = ImageDraw.Draw(hatch)
    step = max(3.0, 6.5 * u)
    for i in range(int((size[0] + size[1]) / step) + 1):
        x = i * step + random.uniform(-1, 1) * u
        draw.line((x, 0, x - size[1] * 0.9, size[1]), fill=90 + random.randint(0, 50), width=max(1, round(1.5 * u)))
    cross = hatch.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    dark = grey.point(lambda v: 0 if v > 165 else min(190, (165 - v) * 2))
    darker = grey.point(lambda v: 0 if v > 85 else min(200, (85 - v) * 3))
    white = Image.new("L", size, 255)
    shaded = ImageChops.multiply(Image.composite(hatch, white, dark), Image.composite(cross, white, darker))
    tone = grey.point(lambda v: 222 + v * 33 // 255)
    drawn = ImageChops.multiply(ImageChops.multiply(ImageChops.multiply(dodge, line), shaded), tone)
    tooth = ImageChops.add(grain(size, random, 26), Image.new("L", size, 40))
    drawn = ImageChops.lighter(drawn, ImageChops.multiply(drawn, tooth))
    return textured(gradient_map(drawn.convert("RGB"), "#33312f", "#8d8882", "#faf6ec"), grain(size, random, 12))


def _dodged(grey: Image.Image, radius: float) -> Image.Image:
    """Brightness divided by its blurred self: only what stands out stays dark."""
    inverse = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(radius))
    return ImageChops.add(grey, inverse)


def comic(picture: Image.Image, random: Random) -> Image.Image:
    """Bold colours, ink lines, and dots in the shadows."""
    u = unit_of(picture)
    bold = ImageEnhance.Contrast(ImageEnhance.Color(picture).enhance(1.45)).enhance(1.08)
    few = bold.filter(ImageFilter.MedianFilter(3)).quantize(48, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    dots = _dots(picture.size, max(4.0, 9 * u), 0.36)
    middle = picture.convert("L").point(lambda v: 70 if 95 < v < 190 else 0)
    few = Image.composite(ImageEnhance.Brightness(few).enhance(0.82), few, ImageChops.multiply(dots, middle))
    line = edges(picture, 1.7 * u).point(lambda v: 255 - min(235, max(0, v - 34) * 4))
    return _framed(ImageChops.multiply(few, Image.merge("RGB", (line,) * 3)), u * 0.55, "#fffdf6", "#1a1a22")


def _dots(size: tuple[int, int], step: float, fill: float) -> Image.Image:
    """A printer's screen of round dots."""
    tile = max(2, round(step)) * 8
    screen = Image.new("L", (tile, tile), 0)
    draw = ImageDraw.Draw(screen)
    each = tile / 8
    for i in range(9):
        for j in range(9):
            x, y, r = (i + 0.5 * (j % 2)) * each, j * each, each * fill
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    sheet = Image.new("L", size)
    for x in range(0, size[0], tile):
        for y in range(0, size[1], tile):
            sheet.paste(screen, (x, y))
    return sheet


def manga(picture: Image.Image, random: Random) -> Image.Image:
    """Black ink and screen tone on white."""
    u = unit_of(picture)
    grey = ImageOps.autocontrast(picture.convert("L"), cutoff=1)
    line = edges(picture, 1.7 * u).point(lambda v: 255 - min(255, max(0, v - 24) * 5))
    dots, fine = _dots(picture.size, max(4.0, 8 * u), 0.42), _dots(picture.size, max(4.0, 8 * u), 0.25)
    page = Image.new("L", picture.size, 255)
    page = ImageChops.multiply(page, ImageOps.invert(ImageChops.multiply(fine, grey.point(lambda v: 255 if 110 < v <= 190 else 0))))
    page = ImageChops.multiply(page, ImageOps.invert(ImageChops.multiply(dots, grey.point(lambda v: 255 if 55 < v <= 110 else 0))))
    page = ImageChops.multiply(page, grey.point(lambda v: 0 if v <= 55 else 255).filter(ImageFilter.GaussianBlur(0.5 * u)))
    return _framed(ImageChops.multiply(page, line).convert("RGB"), u * 0.55, "#ffffff", "#111111")


def minimalist(picture: Image.Image, random: Random) -> Image.Image:
    """Quiet colours and much air."""
    calm = Image.blend(ImageEnhance.Color(picture).enhance(0.8), Image.new("RGB", picture.size, "#f7f1e6"), 0.1)
    return textured(calm, grain(picture.size, random, 5))


def porcelain(picture: Image.Image, random: Random) -> Image.Image:
    """Cobalt blue under white glaze, with a border of waves."""
    u = unit_of(picture)
    size = picture.size
    drawn = wobbled(picture, random, 1.8 * u, 24 * u)
    grey = ImageOps.autocontrast(Image.blend(drawn, drawn.filter(ImageFilter.GaussianBlur(4 * u)), 0.6).convert("L"), cutoff=2)
    blue = gradient_map(grey.convert("RGB"), "#0d2a6e", "#2f5cb0", "#8fb2e0", "#dbe7f5", "#f8fafc", "#fdfdfb")
    line = edges(drawn, 1.6 * u).point(lambda v: min(255, max(0, v - 16) * 3)).filter(ImageFilter.GaussianBlur(0.7 * u))
    painted = Image.composite(Image.new("RGB", size, "#143a8c"), blue, line)
    painted = textured(painted, noise(size, 40 * u, random, 18), noise(size, 9 * u, random, 10))
    return _bordered(painted, u)


def _bordered(picture: Image.Image, u: float) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    w, h = picture.size
    band = round(58 * u)
    if band < 6:
        return picture
    for box in ((0, 0, w, band), (0, h - band, w, h), (0, 0, band, h), (w - band, 0, w, h)):
        draw.rectangle(box, fill="#f7f9fc")
    cobalt, thin = "#1d469e", max(1, round(3 * u))
    for inset in (8 * u, 50 * u):
        draw.rectangle((inset, inset, w - inset, h - inset), outline=cobalt, width=thin)
    r = 17 * u

    def scales(count: int, x0: float, y0: float, dx: float, dy: float) -> None:
        for i in range(count):
            cx, cy = x0 + dx * (i + 0.5), y0 + dy * (i + 0.5)
            for k, colour in ((1.0, cobalt), (0.62, "#6f95d6"), (0.3, cobalt)):
                draw.ellipse((cx - r * k, cy - r * k, cx + r * k, cy + r * k), outline=colour, width=thin)

    across, down = max(1, round((w - 100 * u) / (40 * u))), max(1, round((h - 100 * u) / (40 * u)))
    for y in (29 * u, h - 29 * u):
        scales(across, 50 * u, y, (w - 100 * u) / across, 0)
    for x in (29 * u, w - 29 * u):
        scales(down, x, 50 * u, 0, (h - 100 * u) / down)
    return picture


def mosaic(picture: Image.Image, random: Random) -> Image.Image:
    """Small stones of one colour each, in pale mortar."""
    return _stones(picture, random, 78, 0.16, "#e9e0cf", 26)


def cubist(picture: Image.Image, random: Random) -> Image.Image:
    """Facets: triangles of one colour, turned against each other."""
    w, h = picture.size
    across = max(4, round(30 * w / min(w, h)))
    down = max(4, round(30 * h / min(w, h)))
    points = [
        [
            (
                (i + (random.uniform(-0.36, 0.36) if 0 < i < across else 0)) * w / across,
                (j + (random.uniform(-0.36, 0.36) if 0 < j < down else 0)) * h / down,
            )
            for i in range(across + 1)
        ]
        for j in range(down + 1)
    ]
    vivid = ImageEnhance.Color(picture).enhance(1.35).filter(ImageFilter.BoxBlur(min(w, h) / 260))
    result = vivid.copy()
    draw = ImageDraw.Draw(result)
    for j in range(down):
        for i in range(across):
            a, b, c, d = points[j][i], points[j][i + 1], points[j + 1][i + 1], points[j + 1][i]
            for triangle in ((a, b, c), (a, c, d)) if (i + j) % 2 else ((a, b, d), (b, c, d)):
                cx, cy = sum(p[0] for p in triangle) / 3, sum(p[1] for p in triangle) / 3
                colour = vivid.getpixel((min(w - 1, int(cx)), min(h - 1, int(cy))))
                assert isinstance(colour, tuple)
                lift = random.randint(-16, 16)
                draw.polygon(triangle, fill=tuple(max(0, min(255, int(part) + lift)) for part in colour))
    return textured(result, grain(picture.size, random, 6))


def _stones(picture: Image.Image, random: Random, count: int, gap: float, mortar: str, jitter: int) -> Image.Image:
    w, h = picture.size
    across, down = max(4, round(count * w / min(w, h))), max(4, round(count * h / min(w, h)))
    small = ImageEnhance.Color(picture).enhance(1.3).resize((across, down), Image.Resampling.BOX)
    result = Image.new("RGB", (w, h), mortar)
    draw = ImageDraw.Draw(result)
    sx, sy = w / across, h / down
    for j in range(down):
        for i in range(across):
            colour = small.getpixel((i, j))
            assert isinstance(colour, tuple)
            lift = random.randint(-jitter, jitter)
            corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
            shape = [
                ((i + gap / 2 + a * (1 - gap) + random.uniform(-0.07, 0.07)) * sx, (j + gap / 2 + b * (1 - gap) + random.uniform(-0.07, 0.07)) * sy)
                for a, b in corners
            ]
            draw.polygon(shape, fill=tuple(max(0, min(255, int(part) + lift)) for part in colour))
    relief = result.convert("L").filter(ImageFilter.Kernel((3, 3), (-1, -1, 0, -1, 0, 1, 0, 1, 1), 1, 128))
    return textured(result, relief.point(lambda v: 128 + (v - 128) // 4), grain(picture.size, random, 8))


def _soft_colours(colour: str) -> str:
    level = luminance(colour)
    return mix(colour, hexed(*(255 * (0.25 + 0.72 * level),) * 3), 0.35)


_SHADOW = '<filter id="snip" x="-10%" y="-10%" width="125%" height="130%"><feDropShadow dx=".5" dy=".9" stdDeviation=".8" flood-color="#1c1430" flood-opacity=".5"/></filter>'
_INK_LINE = 'stroke="#2b2622" stroke-width="0.450" stroke-linejoin="round"'


@cache
def renderers() -> dict[str, Renderer]:
    """Every look by its key."""
    return {
        "picture_book": Renderer(finish=picture_book),
        "flat": Renderer(finish=flat),
        "watercolor": Renderer(finish=watercolor, largest=2048),
        "ink": Renderer(finish=ink, largest=2048),
        "pixel_art": Renderer(finish=pixel_art),
        "paper_cut": Renderer(finish=paper, cut=True, outline='filter="url(#snip)"', defs=_SHADOW),
        "new_year_paper_cut": Renderer(finish=red_paper, outline=_INK_LINE, largest=2048),
        "poster": Renderer(finish=poster, largest=2048),
        "cyberpunk": Renderer(finish=cyberpunk, night=True, largest=2048),
        "oil_painting": Renderer(finish=oil_painting, largest=1280),
        "impressionist": Renderer(finish=impressionist, largest=1280),
        "sketch": Renderer(finish=sketch, outline=_INK_LINE, largest=2048),
        "comic": Renderer(finish=comic, outline=_INK_LINE, largest=2048),
        "manga": Renderer(finish=manga, outline=_INK_LINE, largest=2048),
        "minimalist": Renderer(finish=minimalist, colouring=_soft_colours, bare=True),
        "porcelain": Renderer(finish=porcelain, outline=_INK_LINE, largest=2048),
        "mosaic": Renderer(finish=mosaic, largest=2048),
        "cubist": Renderer(finish=cubist, largest=2048),
    }


def opened(data: bytes, width: int, height: int) -> Image.Image:
    """A picture that came with the request, cut to the wanted shape."""
    with Image.open(BytesIO(data)) as found:
        return ImageOps.fit(ImageOps.exif_transpose(found).convert("RGBA"), (width, height))


def filled(picture: Image.Image) -> Image.Image:
    """The picture with something behind what is transparent: itself, large and out of focus."""
    box = picture.getchannel("A").getbbox()
    if box is None or picture.getchannel("A").getextrema()[0] == 255:
        return picture
    behind = ImageOps.fit(picture.crop(box), picture.size).filter(ImageFilter.GaussianBlur(unit_of(picture) * 30))
    behind.putalpha(255)
    behind.alpha_composite(picture)
    return behind


_STRONGEST = 2.5
"""How much a contrast may grow when it is brought to that of another picture."""


def toned(picture: Image.Image, like: Image.Image) -> Image.Image:
    """The picture in the colours of another: its light, and each of its hues, lie where those of the other do, and are spread as far."""
    bands = []
    for ours, theirs in zip(picture.convert("YCbCr").split(), like.convert("YCbCr").split(), strict=True):
        mine, other = ImageStat.Stat(ours), ImageStat.Stat(theirs)
        gain = min(_STRONGEST, other.stddev[0] / max(mine.stddev[0], 1.0))
        bands.append(ours.point([max(0, min(255, round((level - mine.mean[0]) * gain + other.mean[0]))) for level in range(256)]))
    finished = Image.merge("YCbCr", bands).convert(picture.mode)
    if picture.mode == "RGBA":
        finished.putalpha(picture.getchannel("A"))
    return finished
