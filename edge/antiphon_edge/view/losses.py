"""What was lost, in words: of the last seconds, and of the whole conversation."""

from __future__ import annotations

from msgspec import structs

from antiphon_edge.view.events import Lost

_WORDS = {
    "microphone_frames": ("frame of the microphone dropped", "frames of the microphone dropped"),
    "microphone_overflows": ("overflow of the microphone", "overflows of the microphone"),
    "speaker_underflows": ("underflow of the speaker", "underflows of the speaker"),
    "playout_underruns": ("gap in the reply", "gaps in the reply"),
    "playout_dropped_ms": ("ms of the reply left out", "ms of the reply left out"),
    "unheard_frames": ("frame never heard by the model", "frames never heard by the model"),
    "late_replies": ("reply too late to be played", "replies too late to be played"),
}


def since(before: Lost, now: Lost) -> Lost:
    """What came to `before` to make it `now`."""
    return Lost(**{name: count - getattr(before, name) for name, count in structs.asdict(now).items()})


def sentence(lost: Lost) -> str:
    """The counts that are not 0, in words; empty where nothing was lost."""
    counts = ((_WORDS[name], count) for name, count in structs.asdict(lost).items() if count)
    return ", ".join(f"{count} {words[count != 1]}" for words, count in counts)
