"""Makes the language model's training data: conversations as text tokens and the codes of both sides.

    python -m tools.clerk.train.data.conversations BANK tools/clerk/train/mimi_config.json CODEC OUT --shards 400

Writes numbered shards into OUT; those that exist are kept. The person's codes come from the trained encoder, the
clerk's from `Voice`. The number of a shard is its seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.mimi import MimiConfig
from tools.clerk.train.data import dialogue
from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, load_units
from tools.clerk.train.data.crowd import load_crowds
from tools.clerk.train.data.dialogue import Dialogue
from tools.clerk.train.data.scenes import CLEAN
from tools.clerk.train.data.text import PADDING, token
from tools.clerk.train.decoder import Voice, encode
from tools.clerk.train.layout import encoder_file, load_encoder
from tools.clerk.train.stage import fingerprint, positive, run

FRAMES = 200  # 16 s
SLOTS = 4  # most digits per turn


def tokens_of(conversation: Dialogue, user_codes: NDArray[np.int64], voice: Voice) -> NDArray[np.int64]:
    """Text, the clerk's codes and the person's codes: [1 + 2 · K, T]."""
    frames = len(user_codes)
    text = np.full(frames, PADDING)
    own = np.repeat(voice.silence.numpy()[None], frames, 0)  # [T, K]
    for reply in conversation.replies:
        at = reply.start
        for unit in reply.units:
            codes = voice.codes[unit].numpy()
            length = max(0, min(len(codes), reply.end - at, frames - at))
            own[at : at + length] = codes[:length]
            for word in voice.units[unit].words:
                parts = word.text.split()
                for i, part in enumerate(parts):
                    frame = at + int((word.start_s + i * (word.end_s - word.start_s) / len(parts)) * RATE) // FRAME
                    if frame < min(frames, reply.end):
                        text[frame] = token(part)
            at += len(codes)
    return np.concatenate([text[None], own.T, user_codes.T]).astype(np.int64)


def heard_of(conversation: Dialogue, frames: int) -> NDArray[np.int64]:
    """The digits of the person's current turn up to each frame, [T, 4]: a digit + 1, or 0 for none."""
    heard = np.zeros((frames, SLOTS), dtype=np.int64)
    for start_s, _, digits in conversation.turns:
        first = int(start_s * RATE) // FRAME
        heard[first:] = 0
        words = [word for word in conversation.words if word.start_s >= start_s - 1e-6][: len(digits)]
        for place, word in enumerate(words):
            heard[int(word.end_s * RATE) // FRAME :, place] = DIGITS.index(word.text) + 1
    return heard


def load_shard(path: Path, codec: str) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    """Tokens [N, streams, T] and the digits heard so far [N, T, 4].

    Raises:
        AntiphonError: the shard was made with a codec of another fingerprint, so its codes have another meaning.
    """
    with np.load(path) as shard:
        if str(shard["codec"]) != codec:
            raise AntiphonError(f"{path} was made with another codec: give another folder, or delete this one")
        return shard["tokens"], shard["heard"]


def main() -> None:
    """Writes the missing shards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("config", type=Path, help="mimi_config.json")
    parser.add_argument("codec", type=Path, help="folder with encoder.safetensors, or a packed model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard (default: %(default)s)")
    parser.add_argument("--shards", type=positive, default=100)
    parser.add_argument("--each", type=positive, default=32, help="conversations per shard (default: %(default)s)")
    parser.add_argument("--held-out", action="store_true", help="use the held-out voices")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(arguments.codec, MimiConfig.load(arguments.config))
    codec = fingerprint(encoder_file(arguments.codec))
    crowds = load_crowds(arguments.bank, held_out=arguments.held_out)
    voice = Voice(encoder, load_units(arguments.bank / "answering.npz"))
    lengths = {name: len(codes) for name, codes in voice.codes.items()}
    for shard in range(arguments.first, arguments.first + arguments.shards):
        path = arguments.out / f"{shard:04}.npz"
        if path.exists():
            load_shard(path, codec)  # raises if its codec differs
            continue
        rng = np.random.default_rng([shard, arguments.held_out])
        made = [
            dialogue.make(crowds, lengths, FRAMES, rng, clean=rng.random() < CLEAN, units=voice.units)
            for _ in range(arguments.each)
        ]
        codes = torch.cat(
            [encode(encoder, np.stack([d.samples for d in made[i : i + 4]])) for i in range(0, len(made), 4)]
        )
        tokens = np.stack([tokens_of(d, c, voice) for d, c in zip(made, codes.numpy(), strict=True)])
        heard = np.stack([heard_of(d, FRAMES) for d in made])
        parts: dict[str, NDArray[Any]] = {"codec": np.array(codec)}
        parts |= {"tokens": tokens.astype(np.int16), "heard": heard.astype(np.int8)}
        np.savez(path.with_suffix(".new.npz"), allow_pickle=False, **parts)
        path.with_suffix(".new.npz").replace(path)


if __name__ == "__main__":
    run(main, "conversations")
