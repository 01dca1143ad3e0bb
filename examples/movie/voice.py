"""`python voice.py LIBRARY DATA VOICE RATE PITCH`: speak a line of stdin to stdout (PCM, 16 bit, mono).

A program of its own for each line: the state of espeak-ng is global, and what it says depends on what it said before.
"""

from __future__ import annotations

import ctypes
import sys

_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(library: str, data: str, voice: str, rate: int, pitch: int, line: bytes) -> tuple[int, bytes]:
    """Return the sample rate and the samples of a spoken line."""
    espeak = ctypes.CDLL(library)
    samples: list[bytes] = []

    def take(wave: ctypes._Pointer[ctypes.c_short], count: int, _: int) -> int:
        if wave and count > 0:
            samples.append(ctypes.string_at(wave, 2 * count))
        return 0

    kept = _CALLBACK(take)
    hertz = espeak.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), 0)
    if hertz <= 0:
        raise SystemExit("espeak-ng cannot be started")
    espeak.espeak_SetSynthCallback(kept)
    espeak.espeak_SetVoiceByName(voice.encode())
    espeak.espeak_SetParameter(_RATE, rate, 0)
    espeak.espeak_SetParameter(_PITCH, pitch, 0)
    text = line + b"\0"
    espeak.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 0, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    return hertz, b"".join(samples)


if __name__ == "__main__":
    _, library, data, voice, rate, pitch = sys.argv
    hertz, spoken = speak(library, data, voice, int(rate), int(pitch), sys.stdin.buffer.read())
    sys.stdout.buffer.write(hertz.to_bytes(4, "little") + spoken)
