"""Colours: named paints of the script, and one palette of light for each emotional tone."""

# Rows of coordinates are easier to read than columns of them.
# fmt: off
from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


def mix(a: RGB, b: RGB, t: float) -> RGB:
    """Return the colour a part `t` of the way from `a` to `b`."""
    return (round(a[0] + (b[0] - a[0]) * t), round(a[1] + (b[1] - a[1]) * t), round(a[2] + (b[2] - a[2]) * t))


def times(a: RGB, b: RGB) -> RGB:
    """Return `a` seen under light of colour `b`."""
    return (a[0] * b[0] // 255, a[1] * b[1] // 255, a[2] * b[2] // 255)


def hexed(text: str) -> RGB:
    """Read `#rrggbb`."""
    return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))


PAINTS: dict[str, RGB] = {
    "black": (38, 38, 46),
    "charcoal": (66, 68, 78),
    "slate": (92, 106, 124),
    "grey": (146, 148, 150),
    "silver": (196, 198, 200),
    "white": (240, 238, 228),
    "ivory": (232, 222, 198),
    "navy": (48, 62, 98),
    "blue": (74, 108, 156),
    "teal": (52, 110, 112),
    "green": (76, 100, 70),
    "olive": (112, 108, 66),
    "tan": (184, 152, 106),
    "tweed": (150, 124, 88),
    "brown": (104, 72, 48),
    "chestnut": (122, 72, 42),
    "russet": (150, 78, 44),
    "crimson": (150, 38, 42),
    "plum": (98, 58, 92),
    "mauve": (142, 116, 146),
    "gold": (206, 164, 82),
    "pale": (240, 212, 188),
    "fair": (234, 196, 164),
    "ruddy": (220, 166, 132),
    "weathered": (200, 150, 104),
    "sallow": (206, 170, 108),
}


@dataclass(frozen=True)
class Palette:
    """The light of a panel: how every paint looks in it, lit and in shadow."""

    ink: RGB
    deep: RGB
    mid: RGB
    light: RGB
    key: RGB
    accent: RGB
    ambient: RGB
    depth: float = 0.62

    def lit(self, paint: RGB) -> RGB:
        """Return the paint where the key light falls."""
        return mix(times(paint, self.ambient), times(paint, self.key), 0.62)

    def shade(self, paint: RGB) -> RGB:
        """Return the paint in shadow."""
        return mix(times(paint, self.ambient), self.deep, self.depth)

    def half(self, paint: RGB) -> RGB:
        """Return the paint between light and shadow."""
        return mix(self.lit(paint), self.shade(paint), 0.5)


TONES: dict[str, Palette] = {
    "calm": Palette(
        hexed("#15131a"),
        hexed("#2c2534"),
        hexed("#6b5648"),
        hexed("#d9b27c"),
        hexed("#ffe2ae"),
        hexed("#b8502f"),
        hexed("#d8c4ae"),
    ),
    "curious": Palette(
        hexed("#10161a"),
        hexed("#1d3038"),
        hexed("#4b6a66"),
        hexed("#c9c08c"),
        hexed("#fff0bf"),
        hexed("#c9762e"),
        hexed("#c2cdb8"),
    ),
    "fear": Palette(
        hexed("#0b1218"),
        hexed("#15282f"),
        hexed("#3d6064"),
        hexed("#a8bfa6"),
        hexed("#f1f3c4"),
        hexed("#b33a36"),
        hexed("#a9c4bd"),
        0.7,
    ),
    "menace": Palette(
        hexed("#140a0e"),
        hexed("#35121b"),
        hexed("#7d2a2a"),
        hexed("#dd7b47"),
        hexed("#ffc98a"),
        hexed("#f0d060"),
        hexed("#dca894"),
        0.7,
    ),
    "dread": Palette(
        hexed("#070a12"),
        hexed("#111a2e"),
        hexed("#27385a"),
        hexed("#5e7ba0"),
        hexed("#ffd777"),
        hexed("#e0a83c"),
        hexed("#7e92bc"),
        0.76,
    ),
    "sorrow": Palette(
        hexed("#110f18"),
        hexed("#282440"),
        hexed("#575476"),
        hexed("#b0a8be"),
        hexed("#f4e6da"),
        hexed("#8e4257"),
        hexed("#bbb2cc"),
    ),
    "resolve": Palette(
        hexed("#0f1219"),
        hexed("#222a3d"),
        hexed("#55617a"),
        hexed("#d8b98a"),
        hexed("#ffe3a6"),
        hexed("#c4572d"),
        hexed("#c5c0c0"),
    ),
    "horror": Palette(
        hexed("#0d0708"),
        hexed("#2b0b12"),
        hexed("#8a1c1e"),
        hexed("#e8652e"),
        hexed("#ffe07a"),
        hexed("#ffe27c"),
        hexed("#cf9a86"),
        0.74,
    ),
    "relief": Palette(
        hexed("#141720"),
        hexed("#33405a"),
        hexed("#7f93a6"),
        hexed("#ecd9ad"),
        hexed("#fff1cd"),
        hexed("#cf6f3c"),
        hexed("#dfe0dc"),
        0.5,
    ),
}
"""One palette for each emotional tone; a tone that is not here is refused when the script is read."""
