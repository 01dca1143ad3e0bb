"""The script of the comic: what it becomes, and how its mistakes are told."""

from __future__ import annotations

import copy
import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest

from examples.comic.__main__ import SCRIPT
from examples.comic.layout import FOOT, PAGE, TRIM, lay_out
from examples.comic.pipeline import choose_failing
from examples.comic.script import Panel, Script, ScriptError, load_script, parse_script


@pytest.fixture(scope="module")
def script() -> Script:
    return load_script(SCRIPT)


@pytest.fixture
def short() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("short_story.toml").read_text(encoding="utf-8"))


def test_ids_and_file_names_are_those_of_the_old_pipeline(script: Script) -> None:
    ids = [panel.id for panel in script.panels]
    assert len(set(ids)) == len(ids)
    assert ids[:3] == ["panel_Holmes_00_b01", "panel_Holmes_01", "panel_Helen_01"]
    assert [panel.output_filename for panel in script.panels][:2] == ["scene_0001.png", "scene_0002.png"]


def test_a_panel_survives_the_way_through_plain_values(script: Script) -> None:
    for panel in script.panels:
        assert Panel.from_dict(panel.as_dict()) == panel


def test_the_three_panels_that_fail_on_purpose_are_spread_over_the_book(script: Script) -> None:
    numbers = sorted(panel.number for panel in script.panels if panel.id in choose_failing(script.panels))
    assert len(numbers) == 3
    assert numbers[0] < len(script.panels) / 3 < numbers[1] < numbers[2]


def test_panels_fill_the_page_without_overlap_in_reading_order(script: Script) -> None:
    for scene in script.scenes:
        slots = lay_out(scene.panels)
        assert [slot.panel for slot in slots] == [panel.id for panel in scene.panels]
        for one, two in itertools.pairwise(slots):
            beside = two.x >= one.x + one.width and two.y == one.y
            below = two.y >= one.y + one.height
            assert beside or below
        assert max(slot.x + slot.width for slot in slots) == PAGE[0] - TRIM
        assert max(slot.y + slot.height for slot in slots) <= PAGE[1] - FOOT
        for panel, slot in zip(scene.panels, slots, strict=True):
            wider = slot.width / slot.height
            assert {"landscape": wider > 1.2, "square": 0.7 < wider < 1.6, "portrait": wider < 1.0}[panel.orientation]


def spoil(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    spoiled: Any = copy.deepcopy(data)
    *way, last = path.split("/")
    place = spoiled
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return spoiled


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("scenes/0/panels/1/shot", "closeup", r"scene 1 \(The Only Scene\), panel 2: shot: 'closeup'.*'close_up'"),
        ("scenes/0/tone", "menance", r"panel 1: tone: 'menance' is not known; did you mean 'menace'"),
        ("scenes/0/panels/0/who", ["Ada"], r"panel 1: who: 'Ada' is not known; did you mean 'Ida'"),
        ("scenes/0/panels/0/dialogue", ["no speaker here"], r"is not 'Speaker: words'"),
        ("scenes/0/panels/2/prop", "", r"a detail needs a prop"),
        ("scenes/0/panels/0/colour", "red", r"setting: 'colour' is not known"),
        ("scenes/0/panels", [], r"has no panels"),
        ("mystery/killer", "Nobody", r"mystery.killer: 'Nobody'"),
        ("characters/Grim/hair", "sliver", r"characters.Grim.hair: 'sliver'.*'silver'"),
        ("book", {}, r"needs a \[book\] table"),
        ("scenes", {"0": {}}, "scenes: a list is needed"),
        ("scenes/0", "x", "scene 1: a table is needed, not 'x'"),
        ("scenes/0/panels", "x", "scene 1: panels: a list is needed, not 'x'"),
        ("scenes/0/panels/0", 7, "panel 1: a table is needed, not 7"),
        ("scenes/0/panels/0/who", "Ida", "panel 1: who: a list is needed, not 'Ida'"),
        ("scenes/0/panels/0/dialogue", [5], r"panel 1: dialogue: texts are needed, not \[5\]"),
        ("scenes/0/panels/0/poses", "x", "panel 1: poses: a table is needed, not 'x'"),
        ("scenes/0/panels/0/night", "yes", "panel 1: night: true or false is needed, not 'yes'"),
    ],
)
def test_a_mistake_is_told_with_its_place(short: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        parse_script(spoil(short, path, value))


def test_a_script_that_is_not_there_or_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="there is no script at"):
        load_script(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[book\n")
    with pytest.raises(ScriptError, match=r"bad\.toml cannot be read"):
        load_script(tmp_path / "bad.toml")
