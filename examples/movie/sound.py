"""The sound of a scene: music, and a voice where espeak-ng is there; PCM that is the same for the same seed."""

from __future__ import annotations

import math
import random
import shutil
import sys
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

from .parts import whole
from .process import ProgramError, Stop, ask, go_on

HERTZ = 22_050
_CHORDS = {
    "minor": ((0, 3, 7), (-4, 0, 3), (-7, -4, 0), (-5, -1, 2)),
    "major": ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2)),
}
_BRIGHT = {"relief", "calm", "high_energy", "joy", "happy"}
_BAR = 2.0
VOICES = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp")
_SPEEDS = (150, 180, 215, 250)
"""Words a minute, one after the other until a line fits into its scene."""


def compose(seconds: float, mood: str, seed: str) -> array[int]:
    """Return music of a length: slow strings in a chord a bar, a bass, and a few plucked notes."""
    rng = random.Random(seed)
    root = rng.choice((45, 47, 48, 50))
    chords = _CHORDS["major" if mood in _BRIGHT else "minor"]
    total = round(seconds * HERTZ)
    mixed = [0.0] * total
    for bar in range(math.ceil(seconds / _BAR)):
        chord = chords[bar % len(chords)]
        start = round(bar * _BAR * HERTZ)
        length = min(round((_BAR + 0.4) * HERTZ), total - start)
        for step in chord:
            _add(mixed, start, _string(_hertz(root + step + 12), length, rng.uniform(0.8, 1.0)))
        _add(mixed, start, _string(_hertz(root + chord[0] - 12), length, 1.6))
        for beat in rng.sample(range(8), 3):
            at = start + round(beat * _BAR / 8 * HERTZ)
            _add(mixed, at, _pluck(_hertz(root + 24 + rng.choice(chord)), min(round(0.9 * HERTZ), total - at), 1.1))
    return _developed(mixed)


def _hertz(note: int) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


def _string(hertz: float, length: int, gain: float) -> list[float]:
    """A bowed note: three partials that swell and fade."""
    turn, sin = math.tau * hertz / HERTZ, math.sin
    swell = 0.35 * HERTZ
    rest = max(1, length)
    return [
        gain
        * min(1.0, i / swell, (rest - i) / swell)
        * (sin(turn * i) + 0.4 * sin(2.003 * turn * i) + 0.2 * sin(2.996 * turn * i))
        for i in range(length)
    ]


def _pluck(hertz: float, length: int, gain: float) -> list[float]:
    """A plucked note: a partial and its octave that die away."""
    turn, sin, fall = math.tau * hertz / HERTZ, math.sin, math.exp(-4.5 / HERTZ)
    notes: list[float] = []
    level = gain
    for i in range(max(0, length)):
        notes.append(level * min(1.0, i / 60) * (sin(turn * i) + 0.3 * sin(2 * turn * i)))
        level *= fall
    return notes


def _add(mixed: list[float], start: int, notes: list[float]) -> None:
    end = start + len(notes)
    mixed[start:end] = [a + b for a, b in zip(mixed[start:end], notes, strict=True)]


def _developed(mixed: list[float]) -> array[int]:
    """Bring the loudest moment to 70 percent, and fade in and out."""
    loudest = max((abs(value) for value in mixed), default=0.0) or 1.0
    gain, n, edge = 0.7 * 32767 / loudest, len(mixed), 0.15 * HERTZ
    return array("h", [round(gain * value * min(1.0, i / edge, (n - i) / edge)) for i, value in enumerate(mixed)])


# -- voices


@dataclass(frozen=True)
class Speaker:
    """What speaks: the program espeak-ng, or the library of espeakng-loader with its data."""

    program: str = ""
    library: str = ""
    data: str = ""

    def command(self, voice: str, rate: int, pitch: int) -> list[str]:
        """Return the command that reads a line from stdin and writes sound to stdout."""
        if self.program:
            return [self.program, "--stdin", "--stdout", "-b", "1", "-v", voice, "-s", str(rate), "-p", str(pitch)]
        child = str(Path(__file__).with_name("voice.py"))
        return [sys.executable, "-I", "-S", child, self.library, self.data, voice, str(rate), str(pitch)]


def find_speaker() -> Speaker | None:
    """Return what can speak on this machine, or None: then there are captions."""
    if program := shutil.which("espeak-ng"):
        return Speaker(program=program)
    try:
        import espeakng_loader

        return Speaker(library=espeakng_loader.get_library_path(), data=espeakng_loader.get_data_path())
    except (ImportError, RuntimeError):
        return None


def say(speaker: Speaker, line: str, name: str, seconds: float, stop: Stop = go_on) -> array[int]:
    """Return a spoken line that fits into a time, by speaking faster if it must.

    :raises ProgramError: it cannot be spoken, or not within the time.
    """
    rng = random.Random(f"voice/{name}")
    voice, pitch = rng.choice(VOICES[:2]), rng.choice((22, 34, 46, 58, 70))
    for rate in _SPEEDS:
        samples = _samples(speaker, ask(speaker.command(voice, rate, pitch), line.encode(), stop))
        if not samples:
            raise ProgramError("espeak-ng said nothing")
        if len(samples) <= seconds * HERTZ:
            return samples
    raise ProgramError(f"the line takes {len(samples) / HERTZ:.1f} s, and the scene has {seconds:.1f} s for it")


def _samples(speaker: Speaker, answer: bytes) -> array[int]:
    """Return the samples in our rate; a wave file of a pipe does not know its length, so its head is skipped."""
    if speaker.program:
        head = answer.find(b"data")
        hertz, body = int.from_bytes(answer[24:28], "little"), answer[head + 8 :] if head >= 0 else b""
    else:
        hertz, body = int.from_bytes(answer[:4], "little"), answer[4:]
    samples = array("h")
    samples.frombytes(body[: len(body) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    if hertz == HERTZ or not samples:
        return samples
    step = hertz / HERTZ
    return array("h", [samples[int(i * step)] for i in range(int(len(samples) / step))])


def mix(music: array[int] | None, voice: array[int] | None, seconds: float) -> array[int]:
    """Return music and voice together, the music lower while somebody speaks."""
    total = round(seconds * HERTZ)
    mixed = [0.0] * total if music is None else [0.5 * value for value in music[:total]]
    if voice is not None:
        start = min(round(0.35 * HERTZ), max(0, total - len(voice)))
        end = min(total, start + len(voice))
        mixed[start:end] = [0.45 * a + 0.9 * b for a, b in zip(mixed[start:end], voice, strict=False)]
    return array("h", [max(-32768, min(32767, round(value))) for value in mixed])


def save(samples: array[int], path: Path) -> Path:
    """Save samples as a wave file."""
    stored = array("h", samples)
    if sys.byteorder == "big":
        stored.byteswap()
    with whole(path) as part, wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(HERTZ)
        file.writeframes(stored.tobytes())
    return path
