"""Stage 4: the language model, teacher-forced on the conversations of stage 3.

What only training has: a head that names, at every frame, the digits of the person's turn so far. It makes the
network hear long before it learns to answer. The person's embeddings start as the codec's own vectors, so that codes
that sound alike start out alike.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from antiphon_cloud.config_file import read_config
from antiphon_cloud.lm import ZERO, LanguageModel
from train import ranks
from train.conversations import SLOTS
from train.layout import load, load_encoder
from train.text import PADDING

WITHHELD = 0.5  # of the person's fine codebooks
SWAPPED = 0.2  # of their semantic codes
SIMILAR = 6  # codes that one of them may become
AUDIO_STEPS = 40  # of each conversation whose codes are predicted; all text is


def initialize(model: LanguageModel, codec: dict[str, Tensor], seed: int) -> None:
    """Draws the weights; the person's embeddings come from the codec's codebooks."""
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
    """The shards of stage 3, as many as there are by now."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, set[Path]()
        self.tokens, self.heard = list[Tensor](), list[Tensor]()
        self.refresh()

    def refresh(self) -> None:
        """Reads what is new."""
        for path in sorted(self.folder.glob("[0-9]*[0-9].npz")):
            if path not in self.names:
                self.names.add(path)
                with np.load(path) as file:
                    self.tokens.append(torch.from_numpy(file["tokens"]))
                    self.heard.append(torch.from_numpy(file["heard"]))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Tokens [B, streams, T] and what was heard [B, T, 4]."""
        shards = rng.integers(len(self.tokens), size=size)
        rows = [int(rng.integers(len(self.tokens[shard]))) for shard in shards]
        tokens = torch.stack([self.tokens[shard][row] for shard, row in zip(shards, rows, strict=True)])
        heard = torch.stack([self.heard[shard][row] for shard, row in zip(shards, rows, strict=True)])
        return tokens.long(), heard.long()


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

    With `rng`, some of the person's fine codes are withheld, some of the semantic codes become `similar` ones, so that
    a small set of voices stands for more, and not every step's codes are predicted.
    """
    config, user = model.config, 1 + model.config.dep_q
    delayed = model.delayed(tokens)  # [B, streams, T + 1]
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
    text_logits, audio_logits = model.forced(delayed, steps)
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
    # Step t has heard all of frame t − 1 and the first code of frame t.
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


def main() -> None:
    """Trains, or goes on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dialogues", type=Path, help="folder of shards; its `held-out` folder is the test")
    parser.add_argument("config", type=Path, help="config.json")
    parser.add_argument("codec", type=Path, help="folder with encoder.safetensors, or a packed model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--start", type=Path, help="model.safetensors to start from (default: nothing)")
    parser.add_argument("--seed", type=int, default=0)
    ranks.add_arguments(parser)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    ranks.meet(arguments.out / "lm.meeting", arguments.rank, arguments.ranks)
    config = read_config(arguments.config).lm
    model = LanguageModel(config)
    listener = nn.Linear(config.dim, SLOTS * 11)
    codec = load_encoder(arguments.codec)
    initialize(model, codec, arguments.seed)
    if arguments.start:
        model.load_state_dict(load(arguments.start))
    parameters = [*model.parameters(), *listener.parameters()]
    optimizer = torch.optim.AdamW(parameters, arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.02)
    checkpoint, step = arguments.out / "lm.pt", 0
    if checkpoint.exists():
        held: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        step = held["step"]
        model.load_state_dict(held["model"])
        listener.load_state_dict(held["listener"])
        optimizer.load_state_dict(held["optimizer"])
    similar = neighbours(codec)
    conversations = Conversations(arguments.dialogues)
    test = Conversations(arguments.dialogues / "held-out").draw(24, np.random.default_rng(1))
    rng = np.random.default_rng([arguments.seed, step, arguments.rank])
    log = (arguments.out / "lm.jsonl").open("a")
    began = time.monotonic()
    while step < arguments.steps:
        for group in optimizer.param_groups:
            left = 1 - step / arguments.steps
            group["lr"] = arguments.learning_rate * min(1, (step + 1) / 150, 0.03 + 0.97 * min(1, left / 0.6))
        tokens, heard = conversations.draw(arguments.batch, rng)
        values = losses(model, listener, tokens, heard, similar, rng)
        loss = values["text"] + 0.3 * values["audio"] + values["listening"]
        optimizer.zero_grad()
        loss.backward()
        ranks.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0 and arguments.rank == 0:
            line = {"step": step, "seconds": round(time.monotonic() - began)}
            shown = {name: round(float(value.detach()), 4) for name, value in values.items()}
            if step % 100 == 0:
                with torch.no_grad():
                    tested = losses(model, listener, *test, similar, None)
                shown |= {f"test_{name}": round(float(value), 4) for name, value in tested.items()}
            print(json.dumps(line | shown), file=log, flush=True)
        if step % 50 == 0:
            conversations.refresh()
        if arguments.rank == 0 and (step % 100 == 0 or step == arguments.steps):
            state = {
                "step": step,
                "model": model.state_dict(),
                "listener": listener.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            weights = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
            save_file(weights, arguments.out / "model.safetensors")


if __name__ == "__main__":
    main()
