"""Page layout: panels in reading order into tiers, each panel close to the shape it asks for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .script import Panel

PAGE = (1400, 2100)
TRIM = 64
HEAD = 70
FOOT = 54
GUTTER = 18
_ASPECT = {"landscape": 1.75, "square": 1.05, "portrait": 0.68}


@dataclass(frozen=True)
class Slot:
    """Where a panel is on its page, in page pixels."""

    panel: str
    x: int
    y: int
    width: int
    height: int


def lay_out(panels: list[Panel]) -> list[Slot]:
    """Return a slot for each panel of a page: of all ways to break them into tiers, the one that bends shapes least."""
    width = PAGE[0] - 2 * TRIM
    height = PAGE[1] - TRIM - HEAD - FOOT - TRIM // 2
    wanted = [_ASPECT[p.orientation] for p in panels]
    best: tuple[float, list[list[int]]] | None = None
    n = len(panels)
    for cuts in itertools.product((False, True), repeat=n - 1):
        tiers: list[list[int]] = [[0]]
        for i, cut in enumerate(cuts, 1):
            if cut:
                tiers.append([i])
            else:
                tiers[-1].append(i)
        if max(len(t) for t in tiers) > 3:
            continue
        cost = _cost(tiers, wanted, width, height)
        if best is None or cost < best[0]:
            best = (cost, tiers)
    if best is None:
        raise ValueError(f"{n} panels do not fit on a page")
    return _slots(best[1], wanted, panels, width, height)


def _natural(tier: list[int], wanted: list[float], width: int) -> float:
    return (width - GUTTER * (len(tier) - 1)) / sum(wanted[i] for i in tier)


def _cost(tiers: list[list[int]], wanted: list[float], width: int, height: int) -> float:
    natural = [_natural(t, wanted, width) for t in tiers]
    room = height - GUTTER * (len(tiers) - 1)
    stretch = room / sum(natural)
    cost = max(stretch, 1 / stretch) - 1
    for tier, tall in zip(tiers, natural, strict=True):
        share = tall * stretch / room
        cost += max(0.0, share - 0.46) * 3 + max(0.0, 0.2 - share) * 8
        if len(tier) == 1 and wanted[tier[0]] < 1:
            cost += 1.0
        smallest = min(wanted[i] for i in tier) / sum(wanted[i] for i in tier)
        cost += max(0.0, 0.27 - smallest) * 5
    return cost


def _slots(tiers: list[list[int]], wanted: list[float], panels: list[Panel], width: int, height: int) -> list[Slot]:
    natural = [_natural(t, wanted, width) for t in tiers]
    room = height - GUTTER * (len(tiers) - 1)
    stretch = room / sum(natural)
    slots: list[Slot] = []
    y = float(TRIM // 2 + HEAD)
    for tier, tall in zip(tiers, natural, strict=True):
        tall *= stretch
        free = width - GUTTER * (len(tier) - 1)
        total = sum(wanted[i] for i in tier)
        x = float(TRIM)
        for i in tier:
            w = free * wanted[i] / total
            slots.append(Slot(panels[i].id, round(x), round(y), round(x + w) - round(x), round(y + tall) - round(y)))
            x += w + GUTTER
        y += tall + GUTTER
    return slots
