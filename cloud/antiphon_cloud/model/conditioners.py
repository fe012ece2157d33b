"""What a model can be told for a whole session, as config.json has it: values of lists, and the vectors of a voice."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Width = Annotated[int, Meta(gt=0, le=2**17)]
Value = Annotated[str, Meta(min_length=1, max_length=64)]

MAX_VOICES = 5  # that a session's model attends to, side by side
VOICE_STEPS = 125  # of a voice, at most: 10 s

# What the model's authors choose where nobody else does.
_USUAL = {"description": "very_good", "cfg": "2.0", "control": "ok"}


class LookupTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of a list of values, each of which has a vector."""

    n_bins: Annotated[int, Meta(gt=0, le=2**16)]
    dim: Width
    possible_values: Annotated[tuple[Value, ...], Meta(min_length=1)]
    tokenizer: Literal["noop"]
    output_dim: Width | None = None
    init_scale: float = 1.0  # of training
    device: Any = None  # of whoever wrote the file


class Vectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Vectors of a length that only their source knows, such as those of a voice."""

    dim: Width
    output_dim: Width | None = None
    device: Any = None


class Conditioner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that a model can be told."""

    type: Literal["lut", "tensor"]
    lut: LookupTable | None = None
    tensor: Vectors | None = None

    @property
    def dim(self) -> int:
        """Width of its vectors before they are projected to the model's; 0 where its own object is missing."""
        kind = self.lut or self.tensor
        return kind.dim if kind else 0

    @property
    def values(self) -> tuple[str, ...]:
        """Those of a list; none of vectors."""
        return self.lut.possible_values if self.lut else ()


class Fuser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How what is told reaches the model."""

    sum: tuple[str, ...] = ()  # added to the input of every step
    cross: tuple[str, ...] = ()  # attended to in every layer
    prepend: tuple[str, ...] = ()  # put before the first step
    cross_attention_pos_emb: bool = False
    cross_attention_pos_emb_scale: Annotated[float, Meta(ge=-1e6, le=1e6)] = 1.0


def default_value(name: str, values: tuple[str, ...]) -> str:
    """What a session is told that does not choose; empty for nothing, which models know a vector for."""
    usual = _USUAL.get(name, "")
    return usual if usual in values else ""
