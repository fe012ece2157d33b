"""A language model in int8 on a CPU whose steps run in the compiled library, but for a few sums of tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cpu.library import Matrix, library, threads
from antiphon_cloud.backends.cpu.modules import KINDS, NativeLinear, NativeTransformer, Stack, kv_pointers
from antiphon_cloud.model.layers import Transformer
from antiphon_cloud.model.lm import Embedding, LanguageModel
from antiphon_cloud.model.sampling import SlotSampling
from antiphon_cloud.model.state import DepformerAttend, DepformerKv


class _Table(ctypes.Structure):
    _fields_ = (("vectors", ctypes.c_void_p), ("kind", ctypes.c_int64))


class _Depformer(ctypes.Structure):
    _fields_ = (
        ("stacks", ctypes.POINTER(Stack)),
        ("inputs", ctypes.POINTER(Matrix)),
        ("outputs", ctypes.POINTER(Matrix)),
        ("tables", ctypes.POINTER(_Table)),
        ("codebooks", ctypes.c_int64),
    )


class NativeLanguageModel(LanguageModel):
    """A step in four calls of the library: embeddings, layers, the text's head, and all codes of the frame.

    Args:
        model: whose modules become this one's.
    """

    def __init__(self, model: LanguageModel) -> None:
        nn.Module.__init__(self)
        self.config = model.config
        for name, module in model.named_children():
            self.add_module(name, module)
        found = library()
        assert found is not None, "accelerated asks first"
        self._library = found
        self._tables = _tables((self.text_emb, *self.emb))
        self._codebooks = self._depformer_structure()

    def _embed(self, tokens: Tensor) -> Tensor:
        batch, streams, steps = tokens.shape
        if self._tables is None or steps != 1:
            return super()._embed(tokens)
        x = torch.empty(batch, 1, self.config.dim)
        tokens = tokens.contiguous()
        self._library.antiphon_embed(self._tables, streams, tokens.data_ptr(), batch, self.config.dim, x.data_ptr())
        return x

    def _draw(self, logits: Tensor, keys: Tensor, temperature: Tensor, top_k: Tensor, max_top_k: int) -> Tensor:
        rows, cardinality = logits.shape
        tokens = keys.new_empty(rows)
        inputs = [each.contiguous() for each in (logits, keys, temperature, top_k)]  # held as long as the call
        logits_at, *at = (each.data_ptr() for each in inputs)
        self._library.antiphon_draw(logits_at, cardinality, *at, rows, tokens.data_ptr())
        return tokens

    def _depformer_step(
        self,
        text: Tensor,
        hidden: Tensor,
        keys: Tensor,
        depformer_kv: DepformerKv,
        sampling: SlotSampling,
        max_top_k: int,
    ) -> tuple[Tensor, Tensor]:
        if self._codebooks is None:
            return super()._depformer_step(text, hidden, keys, depformer_kv, sampling, max_top_k)
        rows, codebooks = keys.shape
        codes = text.new_empty(codebooks, rows)
        logits = hidden.new_empty(codebooks, rows, self.config.card)
        cache = kv_pointers(DepformerAttend(depformer_kv, 0, rows).view())
        held = (hidden, text, keys, sampling.audio_temperature, sampling.audio_top_k)
        inputs = [each.contiguous() for each in held]
        self._library.antiphon_codes(
            ctypes.byref(self._codebooks),
            ctypes.byref(cache),
            *(each.data_ptr() for each in inputs),
            rows,
            threads(),
            codes.data_ptr(),
            logits.data_ptr(),
        )
        return codes.t(), logits.transpose(0, 1)

    def _depformer_structure(self) -> _Depformer | None:
        """What the library draws codes with; None where some part is not the library's."""
        config = self.config
        if not config.dep_q or not isinstance(self.depformer, NativeTransformer):
            return None
        tables = _tables(self._depformer_embedding(k) for k in range(config.dep_q))
        if tables is None:
            return None
        inputs = _matrices(self.depformer_in[weight_set] for weight_set in config.weight_sets)
        outputs = _matrices(self.linears)
        stacks = (Stack * config.dep_q)(*(self.depformer.stack(weight_set) for weight_set in config.weight_sets))
        return _Depformer(stacks, inputs, outputs, tables, config.dep_q)


def accelerated(model: LanguageModel) -> LanguageModel:
    """The model, with every part that the compiled library can step taken over by it."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Transformer) and all(
            isinstance(inner, NativeLinear) for inner in module.modules() if hasattr(inner, "weight")
        ):
            model.set_submodule(name, NativeTransformer(module))
    return NativeLanguageModel(model)


def _tables(embeddings: Iterable[nn.Module]) -> ctypes.Array[_Table] | None:
    """The embeddings' tables; None where the library cannot read one."""
    tables = []
    for embedding in embeddings:
        assert isinstance(embedding, Embedding)
        weight = embedding.weight
        if embedding.low_rank is not None or weight.dtype not in (torch.float32, torch.bfloat16):
            return None
        assert weight.is_contiguous()
        tables.append(_Table(weight.data_ptr(), KINDS[weight.dtype]))
    return (_Table * len(tables))(*tables)


def _matrices(modules: Iterable[nn.Module]) -> ctypes.Array[Matrix]:
    matrices = []
    for module in modules:
        assert isinstance(module, NativeLinear), "in int8, all matrices are the library's"
        matrices.append(module.matrix)
    return (Matrix * len(matrices))(*matrices)
