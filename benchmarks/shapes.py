"""Shapes of graphs: a chain, layers, a fan. Only the standard library: other job libraries run them, too."""

from __future__ import annotations

import random
from collections.abc import Iterator

Parents = list[list[int]]
"""Per node, its parents, as indices of nodes before it."""


def chain(length: int) -> Parents:
    """Each after the one before."""
    return [[i - 1] if i else [] for i in range(length)]


def layered(layers: int, width: int, parents: int) -> Parents:
    """Each node of a layer after some of the layer before."""
    draw = random.Random(7)
    nodes: Parents = []
    for layer in range(layers):
        first = (layer - 1) * width
        for _ in range(width):
            nodes.append([first + i for i in draw.sample(range(width), parents)] if layer else [])
    return nodes


def fan(width: int) -> Parents:
    """One, then many, then one after all of them."""
    return [[], *([0] for _ in range(width)), list(range(1, width + 1))]


def layers_of(parents: Parents) -> Iterator[list[int]]:
    """The nodes of each depth, the first ones first: for libraries whose graphs are groups, one after the other."""
    depths: list[int] = []
    for above in parents:
        depths.append(1 + max((depths[parent] for parent in above), default=-1))
    for depth in range(max(depths) + 1):
        yield [node for node, its in enumerate(depths) if its == depth]
