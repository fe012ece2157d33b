"""A model's parts as the compiled library takes them: structures of pointers into torch's tensors.

Nothing here holds a tensor: whoever keeps a structure keeps the model that it points into.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
from torch import nn

from antiphon_cloud.backends.cpu.library import Matrix
from antiphon_cloud.backends.cpu.linear import CompiledLinear
from antiphon_cloud.model.adapters import AdapterStore
from antiphon_cloud.model.kv_ring import KvView
from antiphon_cloud.model.layers import Embedding, Layer, SwiGLU, Transformer
from antiphon_cloud.model.lm import LanguageModel

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class LayerPointers(ctypes.Structure):
    """One layer with one of its weight sets."""

    _fields_ = (
        ("norm1", ctypes.c_void_p),
        ("norm2", ctypes.c_void_p),
        ("in_proj", Matrix),
        ("out_proj", Matrix),
        ("linear_in", Matrix),
        ("linear_out", Matrix),
    )


class StackPointers(ctypes.Structure):
    """A stack's layers with one of their weight sets."""

    _fields_ = (
        ("layer", ctypes.POINTER(LayerPointers)),
        ("layers", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("digits", ctypes.c_int64),
        ("eps", ctypes.c_float),
    )


class KvPointers(ctypes.Structure):
    """Keys and values of all slots."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("key_scales", ctypes.c_void_p),
        ("value_scales", ctypes.c_void_p),
        ("kind", ctypes.c_int64),
        ("slots", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("entries", ctypes.c_int64),
        ("width", ctypes.c_int64),
    )


class LowRankPointers(ctypes.Structure):
    """The factors of adapters beside one matrix."""

    _fields_ = (
        ("down", ctypes.c_void_p),
        ("up", ctypes.c_void_p),
        ("ranks", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),  # of int8; none of float32
        ("rank", ctypes.c_int64),
    )


class TablePointer(ctypes.Structure):
    """An embedding's vectors."""

    _fields_ = (("vectors", ctypes.c_void_p), ("kind", ctypes.c_int64))


class DepformerPointers(ctypes.Structure):
    """The depformer, everything by codebook."""

    _fields_ = (
        ("stacks", ctypes.POINTER(StackPointers)),
        ("inputs", ctypes.POINTER(Matrix)),
        ("outputs", ctypes.POINTER(Matrix)),
        ("tables", ctypes.POINTER(TablePointer)),
        ("codebooks", ctypes.c_int64),
    )


def put_beside(store: AdapterStore) -> list[LowRankPointers]:
    """Tells each matrix of its factors. Whoever keeps the matrices keeps what is returned."""
    pointers = []
    for matrix, factors in store.beside.items():
        assert factors.down.dtype in (torch.float32, torch.int8)
        at = (factors.down.data_ptr(), factors.up.data_ptr(), factors.ranks.data_ptr())
        scales = None if factors.scales is None else factors.scales.data_ptr()
        pointers.append(LowRankPointers(*at, scales, factors.down.shape[1]))
        _compiled(matrix).matrix.beside = ctypes.addressof(pointers[-1])
    return pointers


def stack_pointers(stack: Transformer) -> list[StackPointers]:
    """The layers with each of their weight sets."""
    first = stack.layers[0]
    assert isinstance(first, Layer)
    return [_with_set(stack, weight_set) for weight_set in range(len(first.gatings))]


def kv_pointers(view: KvView) -> KvPointers:
    """The stores, which are whole: rows of a larger one would have other strides."""
    assert view.keys.is_contiguous()
    assert view.values.is_contiguous()
    _, slots, heads, length, width = view.keys.shape
    scales = [None if scale is None else scale.data_ptr() for scale in (view.key_scales, view.value_scales)]
    kind = KINDS[view.keys.dtype]
    return KvPointers(view.keys.data_ptr(), view.values.data_ptr(), *scales, kind, slots, heads, length, width)


def table_pointers(embeddings: Iterable[nn.Module]) -> ctypes.Array[TablePointer] | None:
    """The embeddings' tables; None where the library cannot read one."""
    tables = []
    for embedding in embeddings:
        assert isinstance(embedding, Embedding)
        weight = embedding.weight
        if embedding.low_rank or embedding.out1 or weight.dtype not in (torch.float32, torch.bfloat16):
            return None
        assert weight.is_contiguous()
        tables.append(TablePointer(weight.data_ptr(), KINDS[weight.dtype]))
    return (TablePointer * len(tables))(*tables)


def depformer_pointers(model: LanguageModel, stacks: list[StackPointers]) -> DepformerPointers | None:
    """The model's depformer, of its stack with each weight set; None where the library cannot read a table."""
    config = model.config
    tables = table_pointers(model.codebook_embedding(k) for k in range(config.dep_q))
    if tables is None:
        return None
    inputs = _matrices(model.depformer_in[weight_set] for weight_set in config.weight_sets)
    outputs = _matrices(model.linears)
    by_codebook = (StackPointers * config.dep_q)(*(stacks[weight_set] for weight_set in config.weight_sets))
    return DepformerPointers(by_codebook, inputs, outputs, tables, config.dep_q)


def _with_set(stack: Transformer, weight_set: int) -> StackPointers:
    """The layers with one of their weight sets."""
    layers = (LayerPointers * len(stack.layers))()
    layer = stack.layers[0]
    assert isinstance(layer, Layer)
    for to, layer in zip(layers, stack.layers, strict=True):
        assert isinstance(layer, Layer)
        assert layer.norm1.alpha.dtype == torch.float32
        attention, gating = layer.self_attn, layer.gatings[weight_set]
        assert isinstance(gating, SwiGLU)
        to.norm1, to.norm2 = layer.norm1.alpha.data_ptr(), layer.norm2.alpha.data_ptr()
        to.in_proj, to.out_proj = _matrix(attention.in_projs[weight_set]), _matrix(attention.out_projs[weight_set])
        to.linear_in, to.linear_out = _matrix(gating.linear_in), _matrix(gating.linear_out)
    digits = _compiled(attention.in_projs[0]).digits
    return StackPointers(layers, len(layers), layer.norm1.alpha.shape[-1], attention.heads, digits, layer.norm1.eps)


def _compiled(module: nn.Module) -> CompiledLinear:
    assert isinstance(module, CompiledLinear), "in int8, all matrices are the library's"
    return module


def _matrix(module: nn.Module) -> Matrix:
    return _compiled(module).matrix


def _matrices(modules: Iterable[nn.Module]) -> ctypes.Array[Matrix]:
    matrices = [_matrix(module) for module in modules]
    return (Matrix * len(matrices))(*matrices)
