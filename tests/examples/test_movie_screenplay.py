"""The screenplay: what is read from the old JSON, and every mistake with its path, all at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from examples.comic.names import is_name
from examples.movie.mistakes import ScreenplayError
from examples.movie.screenplay import CARD, INTERPOLATION, PAN, read_screenplay

pytestmark = pytest.mark.untraced

OWN = Path(__file__).parents[2] / "examples" / "movie" / "screenplay.json"

SMALL: dict[str, Any] = {
    "title": "Small",
    "video_config": {"seed": 3},
    "character_description": [{"id": 0, "physical_appearance": "A tall man.", "style": None}],
    "scenes": [
        {
            "scene_id": "S1",
            "duration": 1,
            "keyframe_description": {"first_frame_prompt": "A lane.", "last_frame_prompt": "A lane at night."},
            "generation_strategy": {"generation_method": INTERPOLATION},
            "characters": {"primary_character_id": 0},
        }
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the small screenplay with one field changed: `scenes.0.duration`."""
    data = copy.deepcopy(SMALL)
    *way, last = path.split(".")
    place: Any = data
    for step in way:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[int(last) if last.isdigit() else last] = value
    return data


def mistakes(data: Any) -> dict[str, str]:
    with pytest.raises(ScreenplayError) as raised:
        read_screenplay(data if isinstance(data, dict) else json.dumps(data))
    return dict(raised.value.mistakes)


def test_the_film_of_this_repository_has_six_scenes_three_characters_and_no_warning() -> None:
    film = read_screenplay(OWN)
    assert (len(film.scenes), len(film.characters), film.warnings) == (6, 3, [])
    assert {scene.method for scene in film.scenes} == {CARD, INTERPOLATION, PAN}
    assert [character.id for character in film.characters] == [0, 1, 2]


def test_a_screenplay_is_read_from_a_dict_a_text_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    file.write_text(json.dumps(SMALL), encoding="utf-8")
    assert read_screenplay(SMALL) == read_screenplay(json.dumps(SMALL)) == read_screenplay(file)


def test_character_id_0_is_somebody() -> None:
    assert read_screenplay(SMALL).scenes[0].characters == [0]


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("scenes.0.duration", 0.49, "$.scenes[0].duration"),
        ("scenes.0.duration", 60.01, "$.scenes[0].duration"),
        ("scenes.0.duration", None, "$.scenes[0].duration"),
        ("scenes.0.duration", True, "$.scenes[0].duration"),
        ("scenes.0.duration", "1", "$.scenes[0].duration"),
        ("scenes.0.duration", float("nan"), "$.scenes[0].duration"),
        ("scenes.0.duration", 10**400, "$.scenes[0].duration"),
        ("scenes.0.scene_id", "../S1", "$.scenes[0].scene_id"),
        ("scenes.0.scene_id", "..", "$.scenes[0].scene_id"),
        ("scenes.0.scene_id", "S1\n", "$.scenes[0].scene_id"),
        ("scenes.0.scene_id", "s" * 101, "$.scenes[0].scene_id"),
        ("scenes.0.scene_id", 1, "$.scenes[0].scene_id"),
        ("scenes.0.characters", {"primary_character_id": 1}, "$.scenes[0].characters.primary_character_id"),
        ("scenes.0.characters", {"primary_character_id": -1}, "$.scenes[0].characters.primary_character_id"),
        ("scenes.0.characters", [0], "$.scenes[0].characters"),
        ("scenes.0.character_ids", [0, 4], "$.scenes[0].character_ids[1]"),
        ("scenes.0.character_ids", 0, "$.scenes[0].character_ids"),
        ("scenes.0.character_ids", ["0"], "$.scenes[0].character_ids[0]"),
        ("scenes.0.keyframe_description.first_frame_prompt", 7, "$.scenes[0].keyframe_description.first_frame_prompt"),
        ("scenes.0.keyframe_description", "a lane", "$.scenes[0].keyframe_description"),
        ("scenes.0.generation_strategy.duration_trim", 1.5, "$.scenes[0].generation_strategy.duration_trim"),
        ("scenes.0.generation_strategy.duration_trim", 0.1, "$.scenes[0].generation_strategy.duration_trim"),
        ("scenes.0.voiceover_text", "\ud800", "$.scenes[0].voiceover_text"),
        ("scenes.0.voiceover_text", "x" * 10_001, "$.scenes[0].voiceover_text"),
        ("scenes.0.scene_flow", 3, "$.scenes[0].scene_flow"),
        ("scenes.0", "a scene", "$.scenes[0]"),
        ("scenes", [], "$.scenes"),
        ("scenes", None, "$.scenes"),
        ("scenes", {}, "$.scenes"),
        ("scenes", SMALL["scenes"] * 201, "$.scenes"),
        ("video_config", None, "$.video_config"),
        ("video_config", [], "$.video_config"),
        ("video_config.seed", -1, "$.video_config.seed"),
        ("video_config.needs_voiceover", "yes", "$.video_config.needs_voiceover"),
        ("character_description", None, "$.character_description"),
        ("character_description", {"0": {}}, "$.character_description"),
        ("character_description.0.id", True, "$.character_description[0].id"),
        ("character_description.0.id", 0.0, "$.character_description[0].id"),
        ("character_description.0.id", None, "$.character_description[0].id"),
        ("character_description.0.id", 2**31, "$.character_description[0].id"),
        ("character_description.0.physical_appearance", "", "$.character_description[0].physical_appearance"),
        ("title", 5, "$.title"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_path(path: str, value: Any, where: str) -> None:
    assert where in mistakes(changed(path, value))


@pytest.mark.parametrize("data", [[], "film", 3, None])
def test_what_is_no_object_is_refused(data: Any) -> None:
    assert "$" in mistakes(data)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ScreenplayError, match="no JSON"):
        read_screenplay(text)


@pytest.mark.parametrize("value", [float("nan"), {1: "a"}, {"a": (1, 2)}, object(), float("inf")])
def test_a_field_that_nobody_reads_must_be_json_all_the_same(value: Any) -> None:
    assert "no JSON" in mistakes({**SMALL, "mood_board": value})["$"]


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScreenplayError, match="cannot be read"):
        read_screenplay(tmp_path / "none.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ScreenplayError, match="cannot be read"):
        read_screenplay(tmp_path / "binary")


def test_all_mistakes_are_told_at_once() -> None:
    data = changed("scenes.0.duration", 0)
    data["character_description"].append({"id": 0, "physical_appearance": "again"})
    data["scenes"].append({**SMALL["scenes"][0], "scene_id": "s1", "character_ids": [9]})
    assert mistakes(data).keys() == {
        "$.scenes[0].duration",
        "$.character_description[1].id",
        "$.scenes[1].scene_id",
        "$.scenes[1].character_ids[0]",
    }


def test_a_scene_without_keyframes_becomes_a_title_card() -> None:
    film = read_screenplay(changed("scenes.0.keyframe_description", None))
    assert film.scenes[0].method == CARD
    assert "title card" in film.warnings[0]


def test_other_methods_become_image_to_video_with_a_warning() -> None:
    film = read_screenplay(changed("scenes.0.generation_strategy.generation_method", "montage_cut"))
    assert film.scenes[0].method == PAN
    assert film.warnings == [
        "$.scenes[0].generation_strategy.generation_method: 'montage_cut' is not known here and becomes image_to_video"
    ]


def test_an_interpolation_needs_both_ends() -> None:
    film = read_screenplay(changed("scenes.0.keyframe_description.last_frame_prompt", None))
    assert film.scenes[0].method == PAN
    assert len(film.warnings) == 1


def test_primary_and_other_characters_are_one_list_without_repetition() -> None:
    data = changed("scenes.0.character_ids", [4, 0, 4])
    data["character_description"].append({"id": 4, "physical_appearance": "A woman."})
    assert read_screenplay(data).scenes[0].characters == [0, 4]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("cross dissolve", "fade"),
        ("Fade to black", "fadeblack"),
        ("whip wipe", "wipeleft"),
        ("jump_cut", ""),
        (None, ""),
    ],
)
def test_words_of_a_transition_become_a_cross_fade_or_a_cut(words: str | None, kind: str) -> None:
    assert read_screenplay(changed("scenes.0.scene_flow", {"transition_technique": words})).scenes[0].transition == kind


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 100])
def test_a_name_may_be_part_of_a_file_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "...", "a/b", "a\n", "ä", "x" * 101, "a b", None, 7])
def test_anything_else_is_no_name(name: object) -> None:
    assert not is_name(name)


def test_an_empty_object_lacks_everything() -> None:
    with pytest.raises(ScreenplayError) as caught:
        read_screenplay({})
    assert {path for path, _ in caught.value.mistakes} >= {"$.scenes", "$.video_config", "$.character_description"}


def test_a_text_that_is_no_json_is_told_what_it_is_taken_for() -> None:
    with pytest.raises(ScreenplayError, match=r"a text is read as JSON: give a file as Path\(…\)"):
        read_screenplay("screenplay.json")


def test_another_ratio_of_the_pictures_is_a_warning() -> None:
    play = copy.deepcopy(SMALL)
    play["video_config"]["aspect_ratio"] = "9:16"
    assert "$.video_config.aspect_ratio: films are 16:9, and not '9:16'" in read_screenplay(play).warnings
