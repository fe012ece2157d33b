"""Cuts what was said in one breath into clips.

Kokoro says isolated digits badly. After a carrier sentence it says them well, so a line is a carrier and several
phrases, and the cuts are at the quietest 10 ms near the boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.clerk.train.data.clips import RATE, Clip, Samples, Word, trimmed
from tools.clerk.train.voices.kokoro import Spoken
from tools.clerk.train.voices.lexicon import Pronounced

HOP = RATE // 100  # 10 ms
EARLIER_S, LATER_S = 0.12, 0.03  # how far from a boundary a cut may be: phonemes before a pause hold some of it
SHORTEST_S = 0.05  # between two cuts
FAINT = 0.05  # of the loudest 10 ms: a word ends before what is fainter


def loudness(samples: Samples) -> Samples:
    """The root mean square of every 10 ms."""
    blocks = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    return np.asarray(np.sqrt((blocks**2).mean(1)), np.float32)


def quietest(levels: Samples, from_s: float, to_s: float) -> int:
    """The sample in the middle of the quietest 10 ms between two times, given the level of every 10 ms."""
    first = min(max(0, int(from_s * 100)), len(levels) - 1)
    last = max(first + 1, int(to_s * 100))
    return (first + int(levels[first:last].argmin())) * HOP + HOP // 2


def words_of(line: Pronounced, spoken: Spoken) -> list[Word]:
    """The words with their times; silence after a word, which its last phoneme holds, is no part of it."""
    levels = loudness(spoken.samples)
    floor = FAINT * float(levels.max(initial=0))
    words = []
    for text, first, after in line.spans:
        start_s, end_s = float(spoken.starts_s[first]), float(spoken.starts_s[after])
        audible = np.flatnonzero(levels[int(start_s * 100) : int(end_s * 100)] > floor)
        words.append(Word(text, start_s, start_s + 0.01 * float(audible[-1] + 1) if len(audible) else end_s))
    return words


def clips_of(voice: str, line: Pronounced, spoken: Spoken, phrases: Sequence[int]) -> list[Clip]:
    """A clip of each phrase.

    Args:
        voice: name of the speaker.
        line: what was said.
        spoken: how it sounds.
        phrases: number of words of each phrase; the first is the carrier, which is left out.
    """
    words, levels = words_of(line, spoken), loudness(spoken.samples)
    firsts = [int(i) for i in np.cumsum(phrases)[:-1]]
    cuts = [
        quietest(
            levels, max(words[i - 1].start_s + SHORTEST_S, words[i].start_s - EARLIER_S), words[i].start_s + LATER_S
        )
        for i in firsts
    ]
    clips = []
    for i, count, start, end in zip(firsts, phrases[1:], cuts, [*cuts[1:], len(spoken.samples)], strict=True):
        moved = [
            Word(word.text, word.start_s - start / RATE, word.end_s - start / RATE) for word in words[i : i + count]
        ]
        clips.append(trimmed(voice, spoken.samples[start:end], moved))
    return clips


def paused(clip: Clip, gaps_s: Sequence[float]) -> Clip:
    """The clip with silence between its words, at the quietest 10 ms near each boundary."""
    levels, pieces, words, at, late_s = loudness(clip.samples), [], [clip.words[0]], 0, 0.0
    for word, gap_s in zip(clip.words[1:], gaps_s, strict=True):
        cut = quietest(levels, word.start_s - EARLIER_S / 2, word.start_s + LATER_S)
        pieces += [faded(clip.samples[at:cut]), np.zeros(int(gap_s * RATE), np.float32)]
        late_s += int(gap_s * RATE) / RATE
        words.append(Word(word.text, word.start_s + late_s, word.end_s + late_s))
        at = cut
    return Clip(clip.voice, np.concatenate([*pieces, clip.samples[at:]]), tuple(words))


def faded(samples: Samples) -> Samples:
    """Samples whose last 5 ms fade out."""
    out = samples.copy()
    out[-HOP // 2 :] *= np.linspace(1, 0, len(out[-HOP // 2 :]), dtype=np.float32)
    return out
