"""The CPU's executor of a model in int8: whole loops in one call of the compiled library each."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cpu.library import threads
from antiphon_cloud.backends.cpu.structs import (
    KINDS,
    depformer_pointers,
    kv_pointers,
    put_beside,
    stack_pointers,
    table_pointers,
)
from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.kv_ring import Kv
from antiphon_cloud.model.layers import Transformer
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.sampling import SlotSampling, forced_or_drawn
from antiphon_cloud.model.state import DepformerKv


class CpuOps(Ops):
    """A step in four calls of the library: embeddings, layers, the text's draw, and all codes of the frame.

    The definition takes what the library cannot read: tables of a low rank, of pairs or of another dtype, layers with
    cross attention, and keys and values of another dtype, or of rows that the host does not know.

    Args:
        model: whose matrices are `CompiledLinear`.
        library: the compiled one.
    """

    def __init__(self, model: LanguageModel, library: ctypes.CDLL) -> None:
        super().__init__(model)
        self._library = library
        self._beside = put_beside(model.adapters) if model.adapters else []  # before the matrices are copied
        self._tables = table_pointers((model.text_emb, *model.emb))
        self._stacks = {model.transformer: stack_pointers(model.transformer)}
        self._depformer = None
        if model.config.dep_q:
            stacks = self._stacks[model.depformer] = stack_pointers(model.depformer)
            self._depformer = depformer_pointers(model, stacks)

    def product(self, matrix: nn.Module, x: Tensor) -> Tensor:
        """See `Ops.product`."""
        places = self._places(x.numel() // x.shape[-1])
        if places is None:
            return matrix(x)  # type: ignore[no-any-return]
        return matrix(x, places)  # type: ignore[no-any-return]

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Ops.embed`; T is 1."""
        batch, streams, steps = tokens.shape
        if self._tables is None:
            return super().embed(tokens)
        assert steps == 1
        x = torch.empty(batch, 1, self.model.config.dim)
        tokens = tokens.contiguous()
        self._library.antiphon_embed(self._tables, streams, tokens.data_ptr(), batch, x.shape[-1], x.data_ptr())
        return x

    def draw(
        self,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> Tensor:
        """See `Ops.draw`."""
        rows, cardinality = logits.shape
        tokens = keys.new_empty(rows)
        inputs = [each.contiguous() for each in (logits, keys, temperature, top_k)]  # held as long as the call
        logits_at, *at = (each.data_ptr() for each in inputs)
        self._library.antiphon_draw(logits_at, cardinality, *at, rows, tokens.data_ptr())
        return tokens if forced is None else forced_or_drawn(tokens, forced)

    def layers(
        self,
        stack: Transformer,
        x: Tensor,
        sets: Sequence[int],
        rotation: Tensor | None,
        kv: Kv,
        conditions: RowConditions | None = None,
    ) -> Tensor:
        """See `Ops.layers`; T is 1."""
        view = kv.view()
        if stack.cross or view is None or view.keys.dtype not in KINDS:
            return super().layers(stack, x, sets, rotation, kv, conditions)
        assert x.dtype == torch.float32
        assert x.shape[1] == len(sets) == 1
        assert len(view.spans) == len(x)
        y = x.clone(memory_format=torch.contiguous_format)
        pointers, stacks = kv_pointers(view), self._stacks[stack]
        spans = (ctypes.c_int64 * (4 * len(x)))(*(number for span in view.spans for number in span))
        angles = None if rotation is None else rotation.contiguous()
        places = self._places(len(x))
        self._library.antiphon_layers(
            ctypes.byref(stacks[sets[0] if len(stacks) > 1 else 0]),
            ctypes.byref(pointers),
            spans,
            None if places is None else places.data_ptr(),
            None if angles is None else angles.data_ptr(),
            len(x),
            threads(),
            y.data_ptr(),
        )
        return y

    def codes(
        self,
        text: Tensor,
        hidden: Tensor,
        keys: Tensor,
        kv: DepformerKv,
        sampling: SlotSampling,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Ops.codes`."""
        if self._depformer is None:
            return super().codes(text, hidden, keys, kv, sampling, max_top_k, forced)
        rows, codebooks = keys.shape
        codes = text.new_empty(codebooks, rows)
        logits = hidden.new_empty(codebooks, rows, self.model.config.card)
        pointers = kv_pointers(kv.at(0, rows).view())
        held = (hidden, text, keys, sampling.audio_temperature, sampling.audio_top_k)
        inputs = [each.contiguous() for each in held]  # as long as the call
        wanted = None if forced is None else forced.contiguous()
        places = self._places(rows)
        self._library.antiphon_codes(
            ctypes.byref(self._depformer),
            ctypes.byref(pointers),
            None if places is None else places.data_ptr(),
            *(each.data_ptr() for each in inputs),
            None if wanted is None else wanted.data_ptr(),
            rows,
            threads(),
            codes.data_ptr(),
            logits.data_ptr(),
        )
        return codes.t(), logits.transpose(0, 1)

    def _places(self, rows: int) -> Tensor | None:
        """Of the rows' adapters, int64 [rows]; None where none has any."""
        return None if self._rows is None else self._rows.expand(rows).contiguous()
