"""Trains the codec's encoder and codebooks, without its decoder.

    python -m tools.clerk.train.encoder BANK tools/clerk/train/mimi_config.json OUT --steps 6000

Writes OUT/encoder.safetensors, a checkpoint to continue from, and a log. A small head predicts the frame's log-mel
spectrum from the quantized vectors, so that the codes carry the sound. Linear heads predict the spoken word and the
position in it from codebook 0, so that it becomes semantic (Mimi distills a speech model for that); words that are no
digits are a class. The clerk's own voice may come softly under a person's. The heads are not part of the product. The
stage is short because it does not run the full-rate decoder.

`--start` goes on from the encoder and the codebooks of a trained codec. Its quantizer works from the first step on, and
the heads, which no codec holds, learn alone until `--warm-up` is over.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from antiphon_cloud.codec.mimi import Encoder, MimiConfig, Weights
from tools.clerk.train import ranks
from tools.clerk.train.data.clips import FRAME, RATE, Clip, load_units
from tools.clerk.train.data.crowd import Crowd, load_crowds, one_of
from tools.clerk.train.data.scenes import CLASSES, CLEAN, SPEEDS, Track, person, stretched
from tools.clerk.train.layout import Initial, Published, encoder_file, load, save
from tools.clerk.train.quantization import Codebooks
from tools.clerk.train.rooms.echo import echo_of
from tools.clerk.train.rooms.places import placed
from tools.clerk.train.spectra import LogMel
from tools.clerk.train.stage import CHECKPOINT_STEPS, log, positive, run, save_checkpoint

FRAMES = 50  # per scene: 4 s
ANSWERS = 0.2  # share of scenes with the answering voice
OTHERS = 0.35  # share of turns of other words
ECHOES = 0.25  # share of scenes in which a person's microphone hears the answering voice
AUDIBLE = 0.002  # peak of a frame
UNKNOWN = -100  # the label of a frame that teaches nothing
FRONT = 7  # layers at 24 kHz and 6 kHz, up to and including the second stride


Scene = tuple[NDArray[np.float32], NDArray[np.int64]]  # samples [FRAMES · 1920] and labels [FRAMES]


class Scenes:
    """An endless series of batches: samples [B, FRAMES · 1920] and labels [B, FRAMES].

    The seed and its number determine a batch; `first` is the number of the first. A share of `answers` of the scenes is
    the answering voice without room or noise.
    """

    def __init__(
        self,
        crowds: Sequence[Crowd],
        units: dict[str, Clip],
        size: int,
        seed: tuple[int, ...],
        *,
        first: int = 0,
        answers: float = ANSWERS,
    ) -> None:
        self.crowds, self.units, self.size, self.seed = crowds, units, size, seed
        self.first, self.answers = first, answers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in itertools.count(self.first):
            rng = np.random.default_rng([*self.seed, number])
            tracks = [self.answer(rng) if rng.random() < self.answers else self.person(rng) for _ in range(self.size)]
            samples, labels = (np.stack(part) for part in zip(*tracks, strict=True))
            yield torch.from_numpy(samples), torch.from_numpy(labels)

    def person(self, rng: np.random.Generator) -> Scene:
        """People who say digits throughout, and other words where the crowd has some."""
        length = FRAMES * FRAME
        starts = np.cumsum(rng.uniform(0.2, 2.0, 6) * RATE).astype(int) - int(0.3 * RATE)
        turns, end = [], 0
        for start in starts:
            if max(0, start) >= end and start < length:
                turns.append((max(0, int(start)), int(rng.integers(1, 4))))
                end = start + int(0.6 * RATE * turns[-1][1])
        track = Track.silent(FRAMES)
        for turn in turns if rng.random() < 0.95 else ():
            crowd = one_of(self.crowds, rng)
            if crowd.others and rng.random() < OTHERS:
                clip = crowd.others[int(rng.integers(len(crowd.others)))]
                track.place(clip, turn[0], stretched(clip.samples, rng.uniform(*SPEEDS)))
            else:
                said = person(crowd.digits, FRAMES, [turn], rng)
                track.samples += said.samples
                track.words += said.words
        labels, samples = track.labels(), track.samples
        if rng.random() >= CLEAN:
            samples = placed(samples, rng)
        if rng.random() < ECHOES:
            echo = echo_of(self.answer(rng)[0], rng)
            samples = np.clip(samples + echo, -1, 1)
            heard = np.abs(echo).reshape(FRAMES, FRAME).max(1) > AUDIBLE
            labels[heard & (labels == 0)] = UNKNOWN  # whose it is, only the language model knows
        return samples, labels

    def answer(self, rng: np.random.Generator) -> Scene:
        """The answering voice, with words on whole frames."""
        track, at = Track.silent(FRAMES), int(rng.integers(0, 6))
        names = list(self.units)
        while at < FRAMES:
            unit = self.units[names[int(rng.integers(len(names)))]]
            at = track.place(unit, at * FRAME) // FRAME + (int(rng.integers(1, 12)) if rng.random() < 0.2 else 0)
        return track.samples, track.labels()


class Heads(nn.Module):
    """The heads that only training uses."""

    def __init__(self, dimension: int, mels: int, classes: int) -> None:
        super().__init__()
        self.mel = nn.Sequential(nn.Linear(2 * dimension, 384), nn.GELU(), nn.Linear(384, mels))
        self.semantic = nn.Linear(dimension, classes)
        self.latent = nn.Linear(2 * dimension, classes)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, or continues from the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path, help="folder that speech.py wrote")
    parser.add_argument("config", type=Path, help="mimi_config.json")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--warm-up",
        type=positive,
        default=300,
        help="steps without quantizer, which initialize the codebooks (default: %(default)s)",
    )
    parser.add_argument("--start", type=Path, help="folder of a trained codec to go on from (default: random weights)")
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--freeze", type=int, default=400, help="step after which the costly front layers are fixed")
    ranks.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ranks.meeting(arguments):
        train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Runs this process's share of the stage."""
    torch.manual_seed(arguments.seed)
    config = MimiConfig.load(arguments.config)

    def build(weights: Weights) -> Encoder:
        return Encoder(weights, config, fold=False)

    start = Initial(arguments.seed)
    if arguments.start:
        start.tensors = load(encoder_file(arguments.start))
    encoder, published = build(start), Published(build)
    codebooks = Codebooks(encoder.quantizer)
    mel = LogMel(1024, FRAME // 4, 64)
    heads = Heads(config.quantizer.dimension, 4 * 64, CLASSES)
    parameters = [p for p in (*encoder.parameters(), *heads.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint, step = arguments.out / "encoder.pt", 0
    recent: list[Tensor] = []  # latents [N, C] of the last steps without the quantizer
    if checkpoint.exists():
        held: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        step = held["step"]
        encoder.load_state_dict(held["encoder"])
        heads.load_state_dict(held["heads"])
        codebooks.load_state_dict(held["codebooks"])
        optimizer.load_state_dict(held["optimizer"])
        recent = held["recent"]

    crowds, held_out = (load_crowds(arguments.bank, held_out=held_out) for held_out in (False, True))
    units = load_units(arguments.bank / "answering.npz")
    test = next(iter(Scenes(held_out, units, 24, (1,), answers=0.0)))
    scenes = Scenes(crowds, units, arguments.batch, (arguments.seed, arguments.rank), first=step)
    batches = iter(scenes)
    began = time.monotonic()
    while step < arguments.steps:
        ranks.draws(arguments.seed, arguments.rank, step)
        warm = step >= arguments.warm_up
        quantized = warm or bool(arguments.start)
        if step == arguments.warm_up and not arguments.start:
            codebooks.start(torch.cat(recent))
            codebooks.share()
        if step >= arguments.freeze:
            for layer in encoder.seanet.layers[:FRONT]:
                layer.requires_grad_(False)
        for group in optimizer.param_groups:
            left = 1 - step / arguments.steps
            group["lr"] = arguments.learning_rate * min(1, (step + 1) / 100, 0.05 + 0.95 * min(1, left / 0.5))
        pcm, labels = next(batches)
        losses, latent, codes = evaluate(encoder, codebooks, heads, mel, pcm, labels, quantized=quantized)
        loss = losses["mel"] + losses["semantic"] + 0.5 * losses["latent"] + 0.25 * losses["commitment"]
        optimizer.zero_grad()
        loss.backward()
        published.tie_gradients(encoder)
        ranks.average_gradients(parameters)
        if quantized and not warm:
            for parameter in encoder.parameters():
                parameter.grad = None
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        flat = latent.detach().flatten(0, 1)
        if quantized and warm and step < 0.9 * arguments.steps:
            codebooks.follow(flat, codes.flatten(0, 1))
            codebooks.share()
        elif not quantized:
            recent = [*recent, flat][-8:]
        step += 1
        if step % 20 == 0 and arguments.rank == 0:
            values = {name: round(float(value.detach()), 4) for name, value in losses.items()}
            line: dict[str, Any] = {"step": step, "seconds": round(time.monotonic() - began), **values}
            if step % 200 == 0:
                with torch.no_grad():
                    tested, _, test_codes = evaluate(encoder, codebooks, heads, mel, *test, quantized=quantized)
                line |= {f"test_{name}": round(float(value), 4) for name, value in tested.items()}
                line["codes_used"] = [int(test_codes[..., k].unique().numel()) for k in range(codebooks.codebooks)]
            log(arguments.out / "encoder.jsonl", line)
        if arguments.rank == 0 and (step % CHECKPOINT_STEPS == 0 or step == arguments.steps):
            state = {
                "step": step,
                "encoder": encoder.state_dict(),
                "heads": heads.state_dict(),
                "codebooks": codebooks.state_dict(),
                "optimizer": optimizer.state_dict(),
                "recent": recent,
            }
            save_checkpoint(checkpoint, state)
    if arguments.rank == 0:
        save(arguments.out / "encoder.safetensors", published.tensors(encoder))


def evaluate(
    encoder: Encoder, codebooks: Codebooks, heads: Heads, mel: LogMel, pcm: Tensor, labels: Tensor, *, quantized: bool
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Losses, latents [B, T, C] and codes [B, T, K] of a batch of samples [B, n] with labels [B, T]."""
    latent, _ = encoder.latent(pcm, encoder.initial_state((len(pcm),)))
    projected, codes, commitment = codebooks.quantize(latent)
    seen = projected if quantized else codebooks.project(latent)
    half = seen.shape[-1] // 2
    target = mel(pcm).unflatten(1, (labels.shape[1], 4)).flatten(2)  # [B, T, 4 · mels]
    semantic = heads.semantic(seen[..., :half])
    losses = {
        "mel": functional.l1_loss(heads.mel(seen), target),
        "semantic": functional.cross_entropy(semantic.flatten(0, 1), labels.flatten()),
        "latent": functional.cross_entropy(heads.latent(codebooks.project(latent)).flatten(0, 1), labels.flatten()),
        "commitment": commitment if quantized else commitment.new_zeros(()),
        "frame_accuracy": (semantic.argmax(-1) == labels)[labels != UNKNOWN].float().mean(),
        "speech_accuracy": (semantic.argmax(-1) == labels)[labels > 0].float().mean(),
    }
    return losses, latent, codes


if __name__ == "__main__":
    run(main, "encoder")
