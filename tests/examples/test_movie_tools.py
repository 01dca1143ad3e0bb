"""Words become pictures, pictures frames, notes sound: the same for the same seed. ffmpeg is found, or passed over."""

from __future__ import annotations

import hashlib
import random
import stat
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.comic.art.look import MOODS
from examples.comic.art.poses import POSES
from examples.comic.script import PLACES, SHOTS
from examples.movie import ffmpeg, sound
from examples.movie.camera import RATE, Air, Clip, Move, choose_move, count_frames
from examples.movie.drawing import KEYFRAME, VIEW, VIEWS, design, draw_keyframe, draw_view
from examples.movie.lettering import lettering, title_card
from examples.movie.parts import open_picture, save_picture, sweep, whole
from examples.movie.process import ProgramError, StoppedError, ask, feed, follow
from examples.movie.reading import read_look, read_picture, read_weather
from tests.examples.movies import ROUGH_TITLE

pytestmark = pytest.mark.untraced

ROUGH = [
    "",
    "It's 5:00, 100% \\ done",
    "\u202eabc\u0000",
    "🎬" * 40,
    "x" * 5000,
    "a\nb\tc",
    "%{n}:[v];'\"",
    "İstanbul ß ﬁ",
]


def look(number: int = 0) -> dict[str, Any]:
    return design(number, "Tom", "A tall old man with silver hair.", "A tweed coat.", 3)


# -- words


@pytest.mark.parametrize(
    ("words", "part", "value"),
    [
        ("A slight young woman, pale, chestnut hair in a chignon, small nose.", "hair", "chestnut"),
        ("A slight young woman, pale, chestnut hair in a chignon, small nose.", "height", "middling"),
        ("A man with short blonde hair, athletic build.", "hair", "gold"),
        ("A man with short blonde hair, athletic build.", "build", "sturdy"),
        ("A 35-year-old man, Caucasian, ginger hair.", "lines", 0),
        ("A tall old man, weathered, silver mutton chops.", "lines", 2),
        ("A tall old man, weathered, silver mutton chops.", "whiskers", "mutton"),
        ("A girl with wild black curls.", "woman", True),
    ],
)
def test_a_look_is_read_from_words(words: str, part: str, value: Any) -> None:
    assert read_look(1, words, "A plum dress with an ivory collar", 0)[part] == value


def test_clothes_have_the_colour_that_stands_before_them() -> None:
    read = read_look(
        1, "A man.", "A long charcoal frock coat with a gold necktie, slate trousers and a black bowler.", 0
    )
    assert [read[part] for part in ("coat", "neckwear", "trousers", "hat_color")] == [
        "charcoal",
        "gold",
        "slate",
        "black",
    ]
    assert (read["coat_style"], read["hat"]) == ("frock", "bowler")


def test_a_picture_is_read_from_words() -> None:
    prompt = (
        "Two shot in the sitting room at night. Mr. Pell sits and talks, sorrow; Edith points, resolve in her face."
    )
    panel = read_picture("S1", prompt, {"0": "Edith Marlow", "1": "Mr. Pell"}, "", 1, random.Random(1))
    assert (panel.shot, panel.place, panel.night, panel.tone) == ("two_shot", "sitting_room", True, "sorrow")
    assert panel.who == ["1", "0"]
    assert panel.poses == {"1": "sit_talk", "0": "point"}
    assert panel.moods == {"1": "sorrow", "0": "resolve"}


@pytest.mark.parametrize("words", [*ROUGH, "Close up of nobody", "over-the-shoulder", "silhouette of a train"])
def test_whatever_the_words_are_there_is_a_picture(words: str) -> None:
    for cast in ({}, {"0": words or "x"}, {str(i): "x y" for i in range(5)}):
        panel = read_picture("S1", words, cast, words, 1, random.Random(1))
        assert panel.shot in SHOTS
        assert panel.place in PLACES
        assert set(panel.poses.values()) <= POSES.keys()
        assert set(panel.moods.values()) <= MOODS.keys()
        assert len(panel.who) <= 3
        assert panel.who or panel.shot == "wide"


def test_a_train_is_no_rain() -> None:
    assert read_weather(["the last train"]) == "dust"
    assert read_weather(["rain on the train"]) == "rain"


# -- pictures


def test_each_view_is_drawn_the_same_again_and_is_like_no_other() -> None:
    drawn = {view: draw_view(look(), view, "Tom", 3) for view in VIEWS}
    assert {image.size for image in drawn.values()} == {VIEW}
    assert len({image.tobytes() for image in drawn.values()}) == len(VIEWS)
    assert draw_view(look(), "front", "Tom", 3).tobytes() == drawn["front"].tobytes()


def test_a_keyframe_is_drawn_the_same_again() -> None:
    keyframe = {"scene": "S1", "frame": "first", "number": 1, "prompt": "Close up of Tom", "mood": "fear", "seed": 3}
    one, two = (draw_keyframe(keyframe, {"0": {"name": "Tom", "look": look()}}, lambda *_: None) for _ in range(2))
    assert one.size == KEYFRAME
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("air", ["dust", "rain", "snow", "fog"])
def test_frames_are_the_same_again_number_the_length_and_never_stand_still(air: str) -> None:
    keyframes = title_card("Title", "", "dread", random.Random(1))

    def frames(seed: str) -> list[str]:
        return [hashlib.sha256(frame).hexdigest() for frame in Clip(keyframes, 0.5, seed, air, travels=True)]

    made = frames("a")
    assert len(made) == len(set(made)) == count_frames(0.5) == 12
    assert frames("a") == made
    assert frames("b") != made


def test_the_camera_stays_within_the_keyframe() -> None:
    for seed in range(40):
        move = choose_move(random.Random(seed), travels=seed % 2 == 0)
        for i in range(11):
            x0, y0, x1, y1 = move.at(i / 10)
            assert 0 <= x0 < x1 <= KEYFRAME[0] + 1e-6
            assert 0 <= y0 < y1 <= KEYFRAME[1] + 1e-6
    assert Move(0.0, 0.0, 1.0, 0.0, 0.0, 1.0).at(0.5) == (0, 0, *KEYFRAME)


@pytest.mark.parametrize("words", ROUGH)
def test_any_text_can_be_lettered(words: str) -> None:
    assert lettering(words, words).getbbox() is not None or not words.strip("\u202e\u0000")
    assert len(title_card(words, words, "dread", random.Random(1))) == 2


def test_nothing_floats_into_a_picture_of_another_size() -> None:
    image = Image.new("RGB", (854, 480))
    assert Air("snow", random.Random(1)).over(image, 0.3).size == (854, 480)


# -- sound


def test_music_is_the_same_for_the_same_seed_has_its_length_and_is_not_silent() -> None:
    one = sound.compose(1.0, "dread", "a")
    assert one == sound.compose(1.0, "dread", "a")
    assert one != sound.compose(1.0, "dread", "b")
    assert len(one) == sound.HERTZ
    assert 15_000 < max(one) < 32_767


def test_a_scene_without_music_or_voice_has_silence_of_its_length() -> None:
    assert set(sound.mix(None, None, 0.5)) == {0}


def test_music_makes_room_for_a_voice(tmp_path: Path) -> None:
    music = sound.compose(2.0, "relief", "a")
    voice = sound.array("h", [1000] * sound.HERTZ)
    mixed = sound.mix(music, voice, 2.0)
    assert len(mixed) == 2 * sound.HERTZ
    with wave.open(str(sound.save(mixed, tmp_path / "s.wav"))) as file:
        assert (file.getnframes(), file.getframerate(), file.getnchannels()) == (len(mixed), sound.HERTZ, 1)


@pytest.fixture(scope="module")
def speaker() -> sound.Speaker:
    found = sound.find_speaker()
    if found is None:
        pytest.skip("nothing can speak here: neither espeak-ng nor espeakng-loader")
    return found


def test_a_line_is_spoken_the_same_again(speaker: sound.Speaker) -> None:
    spoken = [sound.say(speaker, "It's five past one.", "Edith", 5.0) for _ in range(2)]
    assert spoken[0] == spoken[1]
    assert 0.4 < len(spoken[0]) / sound.HERTZ < 5.0
    assert max(spoken[0]) > 1000


def test_a_long_line_is_spoken_faster_and_refused_if_it_cannot_be_said_in_time(speaker: sound.Speaker) -> None:
    line = "The lamp is lit, and he is on the road tonight."
    slow = len(sound.say(speaker, line, "Edith", 10.0)) / sound.HERTZ
    assert len(sound.say(speaker, line, "Edith", slow * 0.9)) / sound.HERTZ < slow
    with pytest.raises(ProgramError, match="the scene has 0.2 s"):
        sound.say(speaker, line, "Edith", 0.2)


def test_where_nothing_can_speak_there_is_no_speaker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert sound.find_speaker() is None


# -- files


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with pytest.raises(RuntimeError), whole(path) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    with pytest.raises(OSError, match="nothing was written"), whole(path):
        pass
    assert list(tmp_path.iterdir()) == []
    with whole(path) as part:
        part.write_bytes(b"all")
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_parts_of_processes_that_are_no_more_are_swept_and_others_kept(tmp_path: Path) -> None:
    import os

    mine = tmp_path / f"a.mp4.{os.getpid()}.00ff.part"
    for file in (mine, tmp_path / "b.mp4.999999999.00ff.part", tmp_path / "c.part", tmp_path / "d.mp4"):
        file.touch()
    assert {file.name for file in sweep(tmp_path)} == {"b.mp4.999999999.00ff.part", "c.part"}
    assert {file.name for file in tmp_path.iterdir()} == {mine.name, "d.mp4"}


@pytest.mark.parametrize("damage", ["none", "empty", "text", "half", "other recipe", "missing"])
def test_only_a_whole_picture_of_the_same_recipe_is_taken(damage: str, tmp_path: Path) -> None:
    path = save_picture(Image.effect_noise((200, 200), 90).convert("RGB"), tmp_path / "p.png", "recipe")
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no picture")
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "missing":
        path.unlink()
    found = open_picture(path, "other" if damage == "other recipe" else "recipe")
    assert (found is not None) == (damage == "none")


# -- programs


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_program_is_fed_followed_and_asked() -> None:
    told: list[int] = []
    feed(python("import sys; sys.exit(len(sys.stdin.read()) != 6)"), [b"abc", b"def"], told.append)
    assert told == [1, 2]
    lines: list[bytes] = []
    follow(python("print('a'); print('b')"), lines.append)
    assert lines == [b"a\n", b"b\n"]
    assert ask(python("import sys; print(sys.stdin.read()[::-1], end='')"), b"abc") == b"cba"


def test_a_program_that_dies_says_what_it_said() -> None:
    with pytest.raises(ProgramError, match=r"exit code 3.*no room"):
        feed(
            python("import sys; sys.stderr.write('no room'); sys.exit(3)"), iter([b"x" * 100_000] * 50), lambda _: None
        )


def test_a_program_that_takes_nothing_more_is_killed() -> None:
    with pytest.raises(ProgramError, match="made no progress"):
        feed(python("import time; time.sleep(1000)"), iter([b"x" * 100_000] * 50), lambda _: None, patience=0.3)


def test_a_program_is_killed_when_the_body_is_to_stop() -> None:
    stop: list[int] = []
    with pytest.raises(StoppedError):
        follow(
            python("import time; print('a', flush=True); time.sleep(1000)"),
            lambda _: stop.append(1),
            lambda: bool(stop),
        )


def test_what_a_picture_is_drawn_wrong_of_is_raised_and_the_program_is_gone() -> None:
    def pieces() -> Any:
        yield b"x"
        raise KeyError("a picture")

    with pytest.raises(KeyError):
        feed(python("import time; time.sleep(1000)"), pieces(), lambda _: None)


def fake(folder: Path, encoders: str, filters: str) -> Path:
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$2" in -encoders) echo "{encoders}";; -filters) echo "{filters}";; esac\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_ffmpeg_of_path_is_taken_if_it_can_do_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake(tmp_path / "bin", "V libx264 A aac", "xfade VV->V")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert ffmpeg.find_ffmpeg() == ffmpeg.Found(str(program))


@pytest.mark.parametrize(
    ("encoders", "filters", "lack"),
    [("V libx265 A aac", "xfade", "libx264"), ("V libx264", "xfade", "aac"), ("libx264 aac", "fade", "xfade")],
)
def test_another_one_is_passed_over_with_a_line(
    encoders: str, filters: str, lack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imageio_ffmpeg")
    program = fake(tmp_path / "bin", encoders, filters)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = ffmpeg.find_ffmpeg()
    assert found.path != str(program)
    assert found.passed_over == f"{program} is passed over: it has no {lack}"


def test_without_any_the_error_names_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ffmpeg.NoFfmpegError, match=r"apt-get install ffmpeg.*pip install imageio-ffmpeg"):
        ffmpeg.find_ffmpeg()


def test_a_cut_is_as_long_as_its_scenes_less_what_they_share() -> None:
    def piece(frames: int, transition: str = "") -> ffmpeg.Piece:
        return ffmpeg.Piece(Path("x"), frames, transition)

    assert ffmpeg.count_cut([piece(48, "fade"), piece(24), piece(24)]) == 48 + 24 + 24 - 12
    assert ffmpeg.list_starts([piece(48, "fade"), piece(24), piece(24)]) == [0, 36, 60]
    assert ffmpeg.fade_frames(piece(12, "fade"), piece(100)) == 6
    assert ffmpeg.fade_frames(piece(48, "fade';drawtext"), piece(48)) == 0


def test_a_clip_is_encoded_finished_and_cut_whatever_its_title_says(tmp_path: Path) -> None:
    from tests.examples.movies import decode

    rough = tmp_path / "it's: 100% \\ [v];,"
    rough.mkdir()
    told: list[int] = []
    keyframes = title_card(ROUGH_TITLE, "", "relief", random.Random(1))
    ffmpeg.encode(Clip(keyframes, 1.0, "a", "dust", travels=True), rough / "c.mp4", told.append)
    assert told == list(range(1, RATE + 1))
    lettering(ROUGH_TITLE, ROUGH_TITLE).save(rough / "l.png")
    sound.save(sound.compose(0.75, "relief", "a"), rough / "s.wav")
    ffmpeg.finish(rough / "c.mp4", rough / "l.png", rough / "s.wav", 18, ffmpeg.Grade(), rough / "p.mp4", told.append)
    assert told[-1] == 18
    ffmpeg.cut(
        [ffmpeg.Piece(rough / "p.mp4", 18, kind) for kind in ffmpeg.TRANSITIONS], rough / "film.mp4", told.append
    )
    film = decode(rough / "film.mp4")
    assert abs(film.frames - (18 * 5 - 9 * 4)) <= 1  # xfade of ffmpeg 5 loses one
    assert abs(film.heard - film.seconds) < 0.1
    assert film.loudness > 300
    assert not list(rough.glob("*.part"))
