"""What a character looks like, in numbers and colours: the content of a reference sheet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .palette import RGB


@dataclass(frozen=True)
class Look:
    """The features a panel needs to draw the same person again."""

    name: str
    skin: RGB
    hair: RGB
    hair_style: str
    nose: str
    jaw: float
    gaunt: float
    brow: float
    lines: int
    whiskers: str
    woman: bool
    build: float
    height: float
    coat_style: str
    coat: RGB
    shirt: RGB
    neckwear: RGB
    trousers: RGB
    hat: str
    hat_color: RGB
    extra: dict[str, str] = field(default_factory=dict[str, str])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, so that the sheet can be stored as the result of a job."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Look:
        """Read what `as_dict` wrote; colours may have become lists on the way."""
        values: dict[str, Any] = {k: _rgb(v) if isinstance(v, (list, tuple)) else v for k, v in data.items()}
        return cls(**values)


def _rgb(value: Any) -> RGB:
    r, g, b = value
    return (int(r), int(g), int(b))


@dataclass(frozen=True)
class Mood:
    """A facial expression: brow angle (positive is angry), brow lift, eye opening, mouth curve and gape."""

    angle: float = 0.0
    lift: float = 0.0
    eyes: float = 1.0
    mouth: float = 0.0
    gape: float = 0.0


MOODS: dict[str, Mood] = {
    "calm": Mood(0.05, 0.0, 0.85, 0.15),
    "curious": Mood(-0.05, 0.5, 1.0, 0.1),
    "fear": Mood(-0.7, 0.8, 1.35, -0.5, 0.28),
    "menace": Mood(1.0, -0.3, 0.9, -0.8, 0.2),
    "dread": Mood(0.35, 0.0, 0.95, -0.3),
    "sorrow": Mood(-0.6, 0.3, 0.65, -0.5),
    "resolve": Mood(0.5, -0.1, 0.8, -0.1),
    "horror": Mood(-0.5, 1.0, 1.55, -0.6, 0.9),
    "relief": Mood(-0.15, 0.2, 0.75, 0.6),
    "wry": Mood(0.15, 0.3, 0.7, 0.8),
    "dead": Mood(-0.2, 0.6, 1.7, -0.6, 0.5),
}
"""Expressions by name; every emotional tone is one of them."""
