"""What a mystery must be like: who did it, who saw it, who is whose friend; checked before anything is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .script import NAME

MOST_CHARACTERS = 40
_LONGEST = 200


class ConstraintsError(ValueError):
    """A mystery that cannot be: ``mistakes`` are all that is wrong, as (path, what)."""

    def __init__(self, mistakes: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {what}" for path, what in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Character:
    """Somebody in a mystery."""

    name: str
    role: str
    faction: str | None = None
    traits: list[str] = field(default_factory=list[str])
    """What they look and are like: words such as "woman", "tall", "grey hair" are drawn."""

    @property
    def key(self) -> str:
        """The name, as it stands in ids and file names."""
        return key_of(self.name)


@dataclass(frozen=True)
class PlotConstraints:
    """What the plot has to obey. All names are names of characters.

    ``witnesses`` are names, or pairs of a name and what was seen, in words or as a name; ``factions`` have their
    members; ``winners`` and ``losers`` may be factions; ``betrayals`` are pairs (who, whom), ``alliances`` pairs.
    """

    killer: str
    victim: str
    accomplices: list[str] = field(default_factory=list[str])
    framed_suspect: str | None = None
    witnesses: list[Any] = field(default_factory=list[Any])
    factions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    winners: list[str] = field(default_factory=list[str])
    losers: list[str] = field(default_factory=list[str])
    betrayals: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    alliances: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: a pair is a list."""
        data = asdict(self)
        for name in ("witnesses", "betrayals", "alliances"):
            data[name] = [list(item) if isinstance(item, tuple) else item for item in data[name]]
        return data

    def seen(self) -> list[tuple[str, str]]:
        """Return each witness, with what was seen; nothing where it is not said."""
        return [(item, "") if isinstance(item, str) else (item[0], item[1]) for item in self.witnesses]


def key_of(name: str) -> str:
    """Return a name as it stands in ids and file names."""
    return name.replace(" ", "_")


def check(constraints: PlotConstraints, characters: list[Character]) -> None:
    """Check a mystery.

    :raises ConstraintsError: it names nobody, contradicts itself, or has nobody left who could solve it.
    """
    mistakes = list(_cast_mistakes(characters))
    if not isinstance(constraints, PlotConstraints):
        mistakes.append(("constraints", f"a PlotConstraints is needed, not {_shown(constraints)}"))
    elif not mistakes:
        mistakes.extend(_plot_mistakes(constraints, [character.name for character in characters]))
        if not mistakes and choose_detective(constraints, characters) is None:
            mistakes.append(("characters", "nobody is left to find out: all are killer, accomplices, victim or framed"))
    if mistakes:
        raise ConstraintsError(mistakes)


def choose_detective(constraints: PlotConstraints, characters: list[Character]) -> Character | None:
    """Return who finds out: somebody whose role says so, else the first one who is not in it."""
    involved = {constraints.killer, constraints.victim, constraints.framed_suspect, *constraints.accomplices}
    witnesses = {name for name, _ in constraints.seen()}
    free = [character for character in characters if character.name not in involved]
    free = [character for character in free if character.name not in witnesses] or free
    words = ("detective", "inspector", "investigator", "sleuth", "police")
    return next((c for c in free if any(word in c.role.lower() for word in words)), free[0] if free else None)


def _cast_mistakes(characters: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(characters, list) or not 2 <= len(characters) <= MOST_CHARACTERS:
        yield "characters", f"a list of 2 to {MOST_CHARACTERS} Characters is needed, not {_shown(characters)}"
        return
    keys: dict[str, int] = {}
    for i, character in enumerate(characters):
        path = f"characters[{i}]"
        if not isinstance(character, Character):
            yield path, f"a Character is needed, not {_shown(character)}"
            continue
        if not _is_text(character.name) or NAME.fullmatch(character.key) is None or not character.key.strip("."):
            yield (
                f"{path}.name",
                f"1 to 60 letters, digits, spaces, '.', '-' or \"'\" are needed, not {_shown(character.name)}",
            )
        elif keys.setdefault(character.key, i) != i:
            yield f"{path}.name", f"{character.name!r} is the name of characters[{keys[character.key]}], too"
        if not _is_text(character.role):
            yield f"{path}.role", f"a text is needed, not {_shown(character.role)}"
        if character.faction is not None and not _is_text(character.faction):
            yield f"{path}.faction", f"a text or None is needed, not {_shown(character.faction)}"
        if not isinstance(character.traits, list) or not all(_is_text(trait) for trait in character.traits):
            yield f"{path}.traits", f"a list of texts is needed, not {_shown(character.traits)}"


def _plot_mistakes(plot: PlotConstraints, names: list[str]) -> Iterator[tuple[str, str]]:
    """Check shapes and names first; what follows from them only if these are right."""
    wrong = list(_shape_mistakes(plot)) or list(_name_mistakes(plot, names))
    yield from wrong or _contradictions(plot)


def _shape_mistakes(plot: PlotConstraints) -> Iterator[tuple[str, str]]:
    for part in ("killer", "victim"):
        if not _is_text(getattr(plot, part)):
            yield part, f"a name is needed, not {_shown(getattr(plot, part))}"
    if plot.framed_suspect is not None and not _is_text(plot.framed_suspect):
        yield "framed_suspect", f"a name or None is needed, not {_shown(plot.framed_suspect)}"
    for part in ("accomplices", "winners", "losers"):
        yield from _list_mistakes(part, getattr(plot, part), _is_text, "a name")
    yield from _list_mistakes(
        "witnesses", plot.witnesses, lambda item: _is_text(item) or _is_pair(item), "a name or (name, what)"
    )
    for part in ("betrayals", "alliances"):
        yield from _list_mistakes(part, getattr(plot, part), _is_pair, "a pair of names")
    if not isinstance(plot.factions, dict):
        yield "factions", f"a dict of lists of names is needed, not {_shown(plot.factions)}"
        return
    for name, members in plot.factions.items():
        if not _is_text(name):
            yield "factions", f"a name is needed, not {_shown(name)}"
        yield from _list_mistakes(f"factions.{name}", members, _is_text, "a name")


def _list_mistakes(path: str, value: Any, fits: Any, what: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield path, f"a list is needed, not {_shown(value)}"
        return
    for i, item in enumerate(value):
        if not fits(item):
            yield f"{path}[{i}]", f"{what} is needed, not {_shown(item)}"


def _name_mistakes(plot: PlotConstraints, names: list[str]) -> Iterator[tuple[str, str]]:
    def unknown(path: str, name: str, allowed: list[str]) -> Iterator[tuple[str, str]]:
        if name not in allowed:
            yield path, f"{name!r} is not among the characters: {', '.join(names)}"

    yield from unknown("killer", plot.killer, names)
    yield from unknown("victim", plot.victim, names)
    if plot.framed_suspect is not None:
        yield from unknown("framed_suspect", plot.framed_suspect, names)
    for i, name in enumerate(plot.accomplices):
        yield from unknown(f"accomplices[{i}]", name, names)
    for i, (name, _) in enumerate(plot.seen()):
        yield from unknown(f"witnesses[{i}]", name, names)
    for faction, members in plot.factions.items():
        for i, name in enumerate(members):
            yield from unknown(f"factions.{faction}[{i}]", name, names)
    for part in ("winners", "losers"):
        for i, name in enumerate(getattr(plot, part)):
            yield from unknown(f"{part}[{i}]", name, [*names, *plot.factions])
    for part in ("betrayals", "alliances"):
        for i, pair in enumerate(getattr(plot, part)):
            for name in pair:
                yield from unknown(f"{part}[{i}]", name, names)


def _contradictions(plot: PlotConstraints) -> Iterator[tuple[str, str]]:
    if plot.killer == plot.victim:
        yield "victim", f"{plot.victim} is the killer"
    for i, name in enumerate(plot.accomplices):
        if name in (plot.killer, plot.victim):
            yield f"accomplices[{i}]", f"{name} is the {'killer' if name == plot.killer else 'victim'}"
    for i, (name, _) in enumerate(plot.seen()):
        if name in (plot.killer, plot.victim):
            yield f"witnesses[{i}]", f"{name} is the {'killer' if name == plot.killer else 'victim'}"
    if plot.framed_suspect in (plot.killer, plot.victim):
        yield (
            "framed_suspect",
            f"{plot.framed_suspect} is the {'killer' if plot.framed_suspect == plot.killer else 'victim'}",
        )
    for i, name in enumerate(plot.losers):
        if name in plot.winners:
            yield f"losers[{i}]", f"{name} is among the winners"
    for part in ("betrayals", "alliances"):
        for i, (one, two) in enumerate(getattr(plot, part)):
            if one == two:
                yield f"{part}[{i}]", f"{one} stands there twice"


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which nothing can store
        return False
    return True


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(_is_text(item) for item in value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
