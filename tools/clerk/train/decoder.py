"""Trains the codec's decoder on the codes of the trained encoder, which stays fixed.

    python -m tools.clerk.train.decoder BANK tools/clerk/train/mimi_config.json OUT --steps 5000

Writes OUT/mimi.safetensors, a checkpoint to continue from, and a log. Most training tracks are the answering voice:
units placed on whole frames, as the language model will say them. A unit always has the codes that it has after silence
(`Voice`), so that the language model and the decoder learn one sequence of codes per word. The other tracks, of this
voice and others, have the codes that the encoder gives them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.mimi import Decoder, Encoder, MimiConfig, Weights
from tools.clerk.train import ranks
from tools.clerk.train.data.clips import FRAME, Clip, load_clips, load_units
from tools.clerk.train.data.scenes import Track, person
from tools.clerk.train.layout import Initial, Published, encoder_file, load, load_encoder, save
from tools.clerk.train.spectra import LogMel, magnitudes
from tools.clerk.train.stage import CHECKPOINT_STEPS, fingerprint, log, positive, run, save_checkpoint

PIECE = 50  # frames that are encoded together
FRAMES = 14  # per training track; short, because there is little to learn and much repetition


class Voice:
    """The answering voice in codes: those of each unit [n, K], and of silence [K]."""

    def __init__(self, encoder: Encoder, units: dict[str, Clip], lead: int = 24) -> None:
        self.units = units
        quiet = np.zeros(lead * FRAME, dtype=np.float32)
        self.silence = encode(encoder, quiet[None])[0, -1]
        self.codes = {
            name: encode(encoder, np.concatenate([quiet, unit.samples])[None])[0, lead:] for name, unit in units.items()
        }


@torch.no_grad()
def encode(encoder: Encoder, pcm: np.ndarray) -> Tensor:
    """Codes [B, T, K] of samples [B, n], in pieces that fit into the cache, which takes a third of the time."""
    state, codes = encoder.initial_state((len(pcm),)), list[Tensor]()
    for piece in torch.from_numpy(pcm).split(PIECE * FRAME, 1):
        found, state = encoder(piece, state)
        codes.append(found)
    return torch.cat(codes, 1)


def said(voice: Voice, frames: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Codes [frames, K] and samples of the answering voice: a sequence of words, some cut short."""
    codes = voice.silence.repeat(frames, 1)
    pcm = np.zeros(frames * FRAME, dtype=np.float32)
    names, at = list(voice.units), int(rng.integers(0, 3))
    while at < frames:
        name = names[int(rng.integers(len(names)))]
        length = min(len(voice.codes[name]), frames - at)
        if rng.random() < 0.05:
            length = min(length, int(rng.integers(1, 5)))  # an interruption
        codes[at : at + length] = voice.codes[name][:length]
        clip = voice.units[name].samples[: length * FRAME].copy()
        if length < len(voice.codes[name]):
            clip[-240:] *= np.linspace(1, 0, 240, dtype=np.float32)
        pcm[at * FRAME : at * FRAME + len(clip)] = clip
        at += length + (int(rng.integers(1, 10)) if rng.random() < 0.25 else 0)
    return codes, pcm


class Spectra(nn.Module):
    """The distance between two sounds, as a sum over several spectral resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = (256, 512, 1024, 2048)
        for size in self.sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size))
        self.mels = nn.ModuleList([LogMel(512, 120, 40), LogMel(1024, 240, 80), LogMel(2048, 480, 80)])

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Samples [B, n] each."""
        loss = made.new_zeros(())
        for mel in self.mels:
            loss = loss + (mel(made) - mel(wanted)).abs().mean()
        for size in self.sizes[1:]:
            window = self.get_buffer(f"window_{size}")
            one, other = (magnitudes(x, size, size // 4, window) for x in (made, wanted))
            loss = loss + (one - other).norm() / other.norm().clamp(min=1e-3)
        return loss


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, or continues from the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path, help="folder that speech.py wrote")
    parser.add_argument("config", type=Path, help="mimi_config.json")
    parser.add_argument("out", type=Path, help="folder of the trained encoder, and of the results")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=positive, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--start", type=Path, help="packed model whose decoder to go on from (default: random weights)")
    parser.add_argument("--seed", type=int, default=0)
    ranks.add_arguments(parser)
    arguments = parser.parse_args(argv)
    with ranks.meeting(arguments):
        train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Runs this process's share of the stage."""
    torch.manual_seed(arguments.seed)
    config = MimiConfig.load(arguments.config)

    def build(weights: Weights) -> Decoder:
        return Decoder(weights, config, fold=False)

    encoder, trained = load_encoder(arguments.out, config), load(encoder_file(arguments.out))
    start = Initial(arguments.seed)
    if arguments.start:
        start.tensors = load(arguments.start / "mimi.safetensors")
    start.tensors |= {name: value for name, value in trained.items() if name.startswith("quantizer.")}
    decoder, published = build(start), Published(build)
    decoder.quantizer.centroids.requires_grad_(False)
    distance = Spectra()
    parameters = [p for p in decoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, betas=(0.8, 0.99), weight_decay=0.0)
    checkpoint, step, codec = arguments.out / "decoder.pt", 0, fingerprint(encoder_file(arguments.out))
    if checkpoint.exists():
        held: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        if held["codec"] != codec:
            raise AntiphonError(f"{checkpoint} decodes another encoder's codes: delete it, and the stage begins anew")
        step = held["step"]
        decoder.load_state_dict(held["decoder"])
        optimizer.load_state_dict(held["optimizer"])

    bank, voice = (
        load_clips(arguments.bank / "train.npz"),
        Voice(encoder, load_units(arguments.bank / "answering.npz")),
    )
    began = time.monotonic()
    while step < arguments.steps:
        for group in optimizer.param_groups:
            left = 1 - step / arguments.steps
            group["lr"] = arguments.learning_rate * min(1, (step + 1) / 100, 0.03 + 0.97 * min(1, left / 0.6))
        rng = ranks.draws(arguments.seed, arguments.rank, step)
        codes, wanted = batch(encoder, voice, bank, arguments.batch, rng)
        made, _ = decoder(codes, decoder.initial_state((len(codes),)))
        waveform = (made - wanted).abs().mean() / wanted.abs().mean()
        spectra = distance(made, wanted)
        loss = spectra + waveform
        optimizer.zero_grad()
        loss.backward()
        published.tie_gradients(decoder)
        ranks.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        step += 1
        if step % 50 == 0 and arguments.rank == 0:
            line: dict[str, float] = {"step": step, "seconds": round(time.monotonic() - began)}
            line |= {"spectra": round(float(spectra.detach()), 4), "waveform": round(float(waveform.detach()), 4)}
            log(arguments.out / "decoder.jsonl", line)
        if arguments.rank == 0 and (step % CHECKPOINT_STEPS == 0 or step == arguments.steps):
            save(arguments.out / "mimi.safetensors", trained | published.tensors(decoder))
            state = {"step": step, "decoder": decoder.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, state | {"codec": codec})


def batch(
    encoder: Encoder, voice: Voice, bank: list[Clip], size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Codes [B, FRAMES, K] and samples [B, FRAMES · 1920]; in half of the batches one track has the encoder's codes."""
    codes, pcm = zip(*(said(voice, FRAMES, rng) for _ in range(size)), strict=True)
    all_codes, all_pcm = torch.stack(codes), np.stack(pcm)
    if rng.random() < 0.5:
        return all_codes, torch.from_numpy(all_pcm)
    if rng.random() < 0.5:
        track = Track(all_pcm[0], [])
    else:
        track = person(bank, FRAMES, [(int(rng.integers(0, 4 * FRAME)), int(rng.integers(1, 4)))], rng)
    all_pcm[0] = track.samples
    all_codes[0] = encode(encoder, track.samples[None])[0]
    return all_codes, torch.from_numpy(all_pcm)


if __name__ == "__main__":
    run(main, "decoder")
