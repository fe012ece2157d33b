"""Trains the language model, teacher-forced on the conversations of `conversations.py`.

    python -m tools.clerk.train.lm DIALOGUES tools/clerk/train/config.json CODEC OUT --steps 5600

Writes OUT/model.safetensors, a checkpoint to continue from, and a log. Only training has a head that predicts, at every
frame, the digits of the person's turn so far. With it, the network learns to recognize digits long before it learns to
answer. The person's embeddings are initialized from the codec's vectors, so that codes that sound alike start alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon.errors import AntiphonError
from antiphon_cloud.checkpoint.config_file import read_config
from antiphon_cloud.model.forced import delayed_streams, forced_logits
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.tokens import ZERO
from tools.clerk.train import ranks
from tools.clerk.train.data.conversations import SLOTS, load_shard
from tools.clerk.train.data.text import PADDING
from tools.clerk.train.layout import encoder_file, load, save
from tools.clerk.train.stage import CHECKPOINT_STEPS, fingerprint, log, positive, run, save_checkpoint

WITHHELD = 0.5  # share of the person's fine codebooks that are masked
SWAPPED = 0.3  # share of the person's semantic codes that are replaced
SIMILAR = 6  # nearest codes that may replace one
AUDIO_STEPS = 40  # per conversation, with a loss on the codes; the text has one on all steps
PIECE = 16  # conversations per test batch


def initialize(model: LanguageModel, codec: dict[str, Tensor], seed: int) -> None:
    """Draws the weights; derives the person's embeddings from the codec's codebooks."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            nn.init.ones_(parameter)
        elif "emb" in name:
            nn.init.normal_(parameter, std=0.02 if "text" in name else 0.01, generator=generator)
        else:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5, generator=generator)
            if "out_proj" in name or "linear_out" in name:
                parameter.data.mul_((2 * model.config.num_layers) ** -0.5)
    with torch.no_grad():
        for rvq, levels in (("rvq_first", 1), ("rvq_rest", model.config.user_codebooks - 1)):
            tables = [codec[f"quantizer.{rvq}.vq.layers.{k}._codebook.embedding_sum"] for k in range(levels)]
            spread = tables[0].std()
            matrix = torch.randn(tables[0].shape[1], model.config.dim, generator=generator) * tables[0].shape[1] ** -0.5
            first = model.config.dep_q + (0 if rvq == "rvq_first" else 1)
            for k, table in enumerate(tables):
                weight: Tensor = model.emb[first + k].weight  # type: ignore[assignment]
                weight[: len(table)] = (table / spread) @ matrix * (1.0 if rvq == "rvq_first" else 0.3)


class Conversations:
    """The shards of a folder: tokens [N, streams, T] and the digits heard so far [N, T, 4].

    Raises:
        AntiphonError: the folder has none, or has one of a codec with another fingerprint.
    """

    def __init__(self, folder: Path, codec: str) -> None:
        paths = sorted(folder.glob("[0-9]*[0-9].npz"))
        if not paths:
            raise AntiphonError(f"no shards in {folder}: train.conversations makes them")
        tokens, heard = list[Tensor](), list[Tensor]()
        for path in paths:
            for parts, part in zip((tokens, heard), load_shard(path, codec), strict=True):
                parts.append(torch.from_numpy(part))
        self.tokens, self.heard = torch.cat(tokens), torch.cat(heard)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A random batch: tokens [B, streams, T] and the digits heard so far [B, T, 4]."""
        rows = torch.from_numpy(rng.integers(len(self.tokens), size=size))
        return self.tokens[rows].long(), self.heard[rows].long()

    def pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All conversations in order, `PIECE` at a time."""
        for tokens, heard in zip(self.tokens.split(PIECE), self.heard.split(PIECE), strict=True):
            yield tokens.long(), heard.long()


def neighbours(codec: dict[str, Tensor]) -> Tensor:
    """The codes whose centroids are nearest to each semantic code's, [card, SIMILAR]."""
    table = codec["quantizer.rvq_first.vq.layers.0._codebook.embedding_sum"]  # every usage is 1
    return torch.cdist(table, table).topk(SIMILAR, largest=False).indices


def losses(
    model: LanguageModel,
    listener: nn.Linear,
    tokens: Tensor,
    heard: Tensor,
    similar: Tensor,
    rng: np.random.Generator | None,
) -> dict[str, Tensor]:
    """Cross entropies of a batch.

    With `rng`, some of the person's fine codes are masked and some semantic codes replaced by `similar` ones, to
    augment the small set of voices, and only some steps have a loss on the codes.
    """
    config, user = model.config, 1 + model.config.dep_q
    delayed = delayed_streams(config, tokens)  # [B, streams, T + 1]
    wanted = delayed[:, :user, 1:]  # [B, 1 + dep_q, T]
    steps = None
    if rng is not None:
        fine = torch.from_numpy(rng.random((len(tokens), config.user_codebooks, 1)) < WITHHELD)
        fine[:, 0] = False
        semantic = delayed[:, user]
        other = similar[
            semantic.clamp(max=config.card - 1), torch.from_numpy(rng.integers(SIMILAR, size=semantic.shape))
        ]
        swapped = torch.from_numpy(rng.random(semantic.shape) < SWAPPED) & (semantic < config.card)
        delayed = torch.cat(
            [delayed[:, :user], torch.where(swapped, other, semantic)[:, None], delayed[:, user + 1 :]], 1
        )
        hole = torch.from_numpy(rng.random((len(tokens), 1, delayed.shape[2])) < 0.02)
        delayed = torch.cat([delayed[:, :user], delayed[:, user:].masked_fill(fine | hole, ZERO)], 1)
        talking = (wanted[:, 1] != wanted[:, 1].mode(1, keepdim=True).values).float() + 0.05
        steps = torch.multinomial(talking, AUDIO_STEPS)  # [B, N]
    states: list[Tensor] = []
    hook = model.out_norm.register_forward_hook(lambda module, arguments, output: states.append(output))
    text_logits, audio_logits = forced_logits(model, delayed, steps)
    hook.remove()
    text, codes = wanted[:, 0], wanted[:, 1:]
    if steps is not None:
        codes = codes.gather(2, steps[:, None].expand(-1, codes.shape[1], -1))
    known = codes < config.card  # not an initial token
    spoken = text != PADDING
    text_loss = functional.cross_entropy(text_logits.transpose(1, 2), text, reduction="none")  # [B, T]
    audio_loss = functional.cross_entropy(
        audio_logits.permute(0, 3, 1, 2), codes.masked_fill(~known, -100), reduction="none"
    )
    listening = listener(states[0]).unflatten(-1, (SLOTS, -1))  # [B, T, 4, 11]
    # Step t has the first code of frame t − 1 and the rest of t − 2; its target is the digits up to frame t − 1.
    listening_loss = functional.cross_entropy(listening[:, 1:].flatten(0, 2), heard[:, :-1].flatten())
    right = text_logits.argmax(-1) == text
    return {
        "text": (text_loss * (1.0 + 4.0 * spoken)).mean(),
        "audio": audio_loss.sum() / known.sum(),
        "listening": listening_loss,
        "words_right": right[spoken].float().mean(),
        "silence_right": right[~spoken].float().mean(),
        "codes_right": ((audio_logits.argmax(-1) == codes) & known).sum() / known.sum(),
        "heard_right": (listening[:, 1:].argmax(-1) == heard[:, :-1]).all(-1).float().mean(),
    }


@torch.no_grad()
def test(model: LanguageModel, listener: nn.Linear, conversations: Conversations, similar: Tensor) -> dict[str, float]:
    """`losses` of all conversations: the mean over the pieces, weighted by size."""
    sums: dict[str, float] = {}
    for tokens, heard in conversations.pieces():
        for name, value in losses(model, listener, tokens, heard, similar, None).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(tokens)
    return {name: value / len(conversations.tokens) for name, value in sums.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, or continues from the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dialogues", type=Path, help="folder of shards; its `held-out` folder is the test set")
    parser.add_argument("config", type=Path, help="config.json")
    parser.add_argument("codec", type=Path, help="folder with encoder.safetensors, or a packed model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument(
        "--start",
        type=lambda path: str(Path(path).resolve()),
        help="model.safetensors to start from (default: random weights)",
    )
    parser.add_argument("--seed", type=int, default=0)
    ranks.add_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "lm.pt"
    held = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if held and held["start"] != arguments.start:
        parser.error(
            f"{checkpoint} started from {held['start'] or 'nothing'}: give the same --start, or another folder"
        )
    with ranks.meeting(arguments):
        train(arguments, checkpoint, held)


def train(arguments: argparse.Namespace, checkpoint: Path, held: dict[str, Any] | None) -> None:
    """Runs this process's share of the stage; continues from the checkpoint `held`."""
    torch.manual_seed(arguments.seed)
    config = read_config(arguments.config).lm
    model = LanguageModel(config)
    listener = nn.Linear(config.dim, SLOTS * 11)
    codec = load(encoder_file(arguments.codec))
    made_with = fingerprint(encoder_file(arguments.codec))
    conversations = Conversations(arguments.dialogues, made_with)
    held_out = Conversations(arguments.dialogues / "held-out", made_with)
    initialize(model, codec, arguments.seed)
    if arguments.start:
        try:
            model.load_state_dict(load(Path(arguments.start)))
        except RuntimeError as error:
            raise AntiphonError(f"{arguments.start} is no model of {arguments.config}: {error}") from error
    parameters = [*model.parameters(), *listener.parameters()]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.02)
    step = 0
    if held:
        step = held["step"]
        model.load_state_dict(held["model"])
        listener.load_state_dict(held["listener"])
        optimizer.load_state_dict(held["optimizer"])
    similar = neighbours(codec)
    began = time.monotonic()
    while step < arguments.steps:
        for group in optimizer.param_groups:
            left = 1 - step / arguments.steps
            group["lr"] = arguments.learning_rate * min(1, (step + 1) / 150, 0.03 + 0.97 * min(1, left / 0.6))
        rng = ranks.draws(arguments.seed, arguments.rank, step)
        tokens, heard = conversations.draw(arguments.batch, rng)
        values = losses(model, listener, tokens, heard, similar, rng)
        loss = values["text"] + 0.3 * values["audio"] + values["listening"]
        optimizer.zero_grad()
        loss.backward()
        ranks.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        last = step == arguments.steps
        if arguments.rank == 0 and (step % 20 == 0 or last):
            line = {"step": step, "seconds": round(time.monotonic() - began)}
            shown = {name: round(float(value.detach()), 4) for name, value in values.items()}
            if step % 200 == 0 or last:
                tested = test(model, listener, held_out, similar)
                shown |= {f"test_{name}": round(value, 4) for name, value in tested.items()}
            log(arguments.out / "lm.jsonl", line | shown)
        if arguments.rank == 0 and (step % CHECKPOINT_STEPS == 0 or last):
            state = {
                "step": step,
                "start": arguments.start,
                "model": model.state_dict(),
                "listener": listener.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            weights = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
            save(arguments.out / "model.safetensors", weights)
            save_checkpoint(checkpoint, state)


if __name__ == "__main__":
    run(main, "lm")
