"""Light and colour of a scene: sky, ambient light, ground and leaves by time of day, weather and season."""

from __future__ import annotations

from dataclasses import dataclass

from .artwork import mix, multiply, rgb
from .read import Scene

Light = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours a scene is painted with."""

    sky: tuple[str, str, str]
    """Top, middle, horizon."""
    light: Light
    """What everything on the ground is multiplied with."""
    haze: str
    """What far things fade into."""
    sun: str
    cloud: str
    cloud_shade: str
    ground: tuple[str, str, str]
    """Far, middle, near; in daylight."""
    leaves: tuple[str, str, str]
    """Dark, middle, light; in daylight."""
    water: tuple[str, str]
    """Far and near, as they look."""
    dark: bool
    """Lamps are lit."""

    def lit(self, colour: str, haze: float = 0.0, strength: float = 1.0) -> str:
        """A daylight colour as it looks here; `haze` 0–1 for distance."""
        light = tuple(1 + (part - 1) * strength for part in self.light)
        return mix(multiply(colour, (light[0], light[1], light[2])), self.haze, haze)


_SKIES = {
    "dawn": ("#7fa9d6", "#f6c9c0", "#ffe6bf"),
    "day": ("#63b9e6", "#a9dcf0", "#e8f6f3"),
    "sunset": ("#5a6bb0", "#f08d7d", "#ffd08a"),
    "night": ("#10183d", "#243570", "#5467a8"),
}
_LIGHTS: dict[str, Light] = {"dawn": (1.0, 0.93, 0.89), "day": (1, 1, 1), "sunset": (0.98, 0.82, 0.74), "night": (0.5, 0.56, 0.82)}
_SUNS = {"dawn": "#fff0c4", "day": "#fff3b8", "sunset": "#ffdf8f", "night": "#fdf3cf"}
_VEILS: dict[str, tuple[str, float, Light]] = {
    "cloudy": ("#b4c3cd", 0.45, (0.95, 0.96, 0.98)),
    "rain": ("#8b9dab", 0.62, (0.82, 0.87, 0.92)),
    "storm": ("#4d586b", 0.78, (0.66, 0.7, 0.8)),
    "fog": ("#dde3e3", 0.6, (0.97, 0.98, 0.98)),
    "snow": ("#c3d3e2", 0.4, (0.96, 0.98, 1.0)),
}
_GROUNDS = {
    "spring": ("#b5d99a", "#9ccd74", "#7fbb55"),
    "summer": ("#a8d08a", "#8cc265", "#6dad4c"),
    "autumn": ("#e0c98a", "#d9b45c", "#bf9140"),
    "winter": ("#dbe8f3", "#e9f2f9", "#f7fbfe"),
}
_LEAVES = {
    "spring": ("#5ba35a", "#7cc06a", "#a5d98a"),
    "summer": ("#3f8650", "#5aa352", "#84c26a"),
    "autumn": ("#b8502f", "#dd7a38", "#f2a94e"),
    "winter": ("#a9bccb", "#cfdde8", "#f3f9fd"),
}
_SANDS = ("#f0dfb0", "#ecd399", "#e3c27e")


def palette(scene: Scene) -> Palette:
    """The colours of that scene."""
    sky = _SKIES[scene.time]
    light = _LIGHTS[scene.time]
    dark = scene.time == "night"
    if "moon" in scene.sky and scene.time == "day":
        dark = True
    for weather in ("cloudy", "snow", "rain", "fog", "storm"):
        if weather not in scene.weather:
            continue
        veil, part, dim = _VEILS[weather]
        veil = multiply(veil, (0.36, 0.42, 0.6)) if dark else veil
        sky = (mix(sky[0], veil, part), mix(sky[1], veil, part), mix(sky[2], mix(veil, "#ffffff", 0 if dark else 0.3), part))
        light = (light[0] * dim[0], light[1] * dim[1], light[2] * dim[2])
    if scene.mood == "dark" and scene.time in ("night", "day"):
        sky = (mix(sky[0], "#2a2144", 0.55), mix(sky[1], "#4a3a66", 0.5), mix(sky[2], "#8a6f8f", 0.4))
        light = (light[0] * 0.8, light[1] * 0.76, light[2] * 0.86)
    ground = (
        _SANDS if scene.place in ("beach", "desert") and scene.season != "winter" else _GROUNDS["winter" if scene.place == "snow" else scene.season]
    )
    water_near = {"dawn": "#5c93b8", "day": "#2f8fbf", "sunset": "#4f6a9c", "night": "#16264f"}[scene.time]
    water = (mix(sky[2], water_near, 0.45), mix(water_near, sky[1], 0.12))
    if {"rain", "storm"} & scene.weather:
        water = (mix(water[0], "#6f8796", 0.45), mix(water[1], "#3f5868", 0.5))
    return Palette(
        sky=sky,
        light=light,
        haze=mix(sky[2], sky[1], 0.25),
        sun=_SUNS[scene.time],
        cloud=mix("#ffffff", sky[1], 0.72 if dark else 0.55 if {"rain", "storm"} & scene.weather else 0.08 if scene.time == "day" else 0.3),
        cloud_shade=mix("#ffffff", sky[1], 0.9 if dark else 0.85 if {"rain", "storm"} & scene.weather else 0.45 if scene.time == "day" else 0.62),
        ground=ground,
        leaves=_LEAVES[scene.season],
        water=water,
        dark=dark or "storm" in scene.weather,
    )


def luminance(colour: str) -> float:
    """How bright the colour looks, 0 to 1."""
    red, green, blue = rgb(colour)
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
