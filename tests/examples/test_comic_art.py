"""The pictures: the same script gives the same ones, and the lettering hides nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.comic.__main__ import SCRIPT
from examples.comic.art.canvas import Canvas
from examples.comic.art.look import Look
from examples.comic.art.palette import TONES
from examples.comic.art.sheet import make_look
from examples.comic.art.type import width, wrap
from examples.comic.layout import lay_out
from examples.comic.lettering import Letterer, measure, overlap
from examples.comic.panel import draw, stage
from examples.comic.script import Line, Panel, Scene, Script, load_script

pytestmark = pytest.mark.untraced  # what it draws is not of the package

SCRIPT_OF_THE_BOOK = load_script(SCRIPT)


@pytest.fixture(scope="module")
def short() -> Script:
    return load_script(Path(__file__).with_name("short_story.toml"))


def looks_of(script: Script) -> dict[str, Look]:
    return {name: make_look(name, words, script.seed) for name, words in script.characters.items()}


def lettered(panel: Panel, size: tuple[int, int]) -> Letterer:
    _, letters = stage(panel, looks_of(SCRIPT_OF_THE_BOOK), size, SCRIPT_OF_THE_BOOK.seed)
    return letters


def test_the_same_panel_is_drawn_the_same_twice_and_another_seed_differently(short: Script) -> None:
    panel = short.panels[0]
    one, two = (draw(panel, looks_of(short), (420, 240), 7).tobytes() for _ in range(2))
    assert one == two
    assert draw(panel, looks_of(short), (420, 240), 8).tobytes() != one


def test_the_reference_decides_how_somebody_looks(short: Script) -> None:
    looks = looks_of(short)
    before = draw(short.panels[1], looks, (300, 300), 7).tobytes()
    looks["Grim"] = Look.from_dict({**looks["Grim"].as_dict(), "skin": [90, 160, 90]})
    assert draw(short.panels[1], looks, (300, 300), 7).tobytes() != before


def test_a_look_survives_the_way_through_plain_values(short: Script) -> None:
    for look in looks_of(short).values():
        assert Look.from_dict(look.as_dict()) == look


def test_progress_is_told_while_drawing(short: Script) -> None:
    told: list[str] = []

    def tell(done: int, total: int, what: str) -> None:
        assert 0 <= done <= total
        told.append(what)

    draw(short.panels[0], looks_of(short), (300, 200), 7, tell)
    assert told == ["the set", "the figures", "light and shadow", "lettering"]


def test_wrapping_keeps_every_word_and_the_limit() -> None:
    text = "When a clever man turns his brains to crime it is the worst of all."
    lines = wrap(text, 20, 180)
    assert " ".join(lines) == text
    assert all(width(line, 20) <= 180 for line in lines)


@pytest.mark.parametrize("text", ["Never.", "It is fear, Mr. Holmes. It is terror.", "word " * 40])
def test_a_balloon_is_larger_than_its_text(text: str) -> None:
    block = measure(text, 22, 500)
    assert 2 * block.half_height > block.text_height
    assert all(2 * block.half_width > width(line, 22) for line in block.lines)


@pytest.mark.parametrize("text", ["Never.", "It is fear, Mr. Holmes. It is terror."])
def test_a_tail_begins_inside_of_its_balloon_however_far_the_mouth_is(text: str) -> None:
    canvas = Canvas(1300, 1900, (0, 0, 0))
    letters = Letterer(canvas, TONES["calm"], "seed", {"Ann": (600, 1200, 700, 1330)}, {"Ann": (650.0, 1300.0)})
    block, center = measure(text, 30, 500), (650.0, 80.0)
    first, *_, last = letters._tail(Line("Ann", text), block, center)
    for _, y in (first, last):
        assert abs(y - center[1]) < block.half_height


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCRIPT_OF_THE_BOOK.scenes, ids=lambda scene: scene.title)
def test_lettering_stays_in_its_panel_and_off_the_faces(scene: Scene) -> None:
    for panel, slot in zip(scene.panels, lay_out(scene.panels), strict=True):
        letters = lettered(panel, (slot.width, slot.height))
        assert len(letters.boxes) == len(panel.dialogue) + bool(panel.caption)
        for i, box in enumerate(letters.boxes):
            assert box[0] >= 0, panel.id
            assert box[1] >= 0, panel.id
            assert box[2] <= slot.width, panel.id
            assert box[3] <= slot.height, panel.id
            assert all(overlap(box, other) == 0 for other in letters.boxes[i + 1 :]), panel.id
            for name, face in letters.faces.items():
                size = (face[2] - face[0]) * (face[3] - face[1])
                assert overlap(box, face) < 0.1 * size, f"{panel.id}: {name} is hidden"
