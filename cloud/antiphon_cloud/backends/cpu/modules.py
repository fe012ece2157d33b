"""The modules of an int8 model on a CPU that run in the compiled library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cpu.library import Matrix, library, threads
from antiphon_cloud.backends.int8 import Int8Linear
from antiphon_cloud.model.layers import Attend, AttendView, KvView, Layer, SwiGLU, Transformer

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class _Layer(ctypes.Structure):
    _fields_ = (
        ("norm1", ctypes.c_void_p),
        ("norm2", ctypes.c_void_p),
        ("in_proj", Matrix),
        ("out_proj", Matrix),
        ("linear_in", Matrix),
        ("linear_out", Matrix),
    )


class Stack(ctypes.Structure):
    """Layers with one of their weight sets, as the library takes them."""

    _fields_ = (
        ("layer", ctypes.POINTER(_Layer)),
        ("layers", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("digits", ctypes.c_int64),
        ("eps", ctypes.c_float),
    )


class KvPointers(ctypes.Structure):
    """Keys and values of all slots, as the library takes them."""

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


class NativeLinear(Int8Linear):
    """A matrix in int8 by which the compiled library multiplies.

    Activations become integers relative to the largest of their row. Sums of integers are exact in any order: a row
    comes out the same to the bit in a batch of any size, on any number of threads.

    Args:
        weight: int8 [outputs, inputs].
        scale: float32 [outputs].
        digits: of an activation: 1 is 14 bits (bfloat16 has 8), 2 are 28.
    """

    def __init__(self, weight: Tensor, scale: Tensor, digits: int) -> None:
        super().__init__(weight.contiguous(), scale.float().contiguous())
        self.digits = digits
        found = library()
        assert found is not None, "int8_module asks first"
        self._multiply = found.antiphon_matmul
        self.matrix = Matrix(self.weight.data_ptr(), self.scale.data_ptr(), *self.weight.shape)
        self._at = ctypes.addressof(self.matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of float32 x [..., inputs]."""
        x = x.contiguous()
        outputs, inputs = self.weight.shape
        assert x.dtype == torch.float32
        assert x.shape[-1] == inputs
        y = x.new_empty(*x.shape[:-1], outputs)
        rows = x.numel() // inputs
        self._multiply(self._at, x.data_ptr(), rows, self.digits, threads(), y.data_ptr())
        return y


class NativeTransformer(Transformer):
    """A stack of layers whose steps run in the compiled library, in one call; whatever is no step runs in torch."""

    def __init__(self, stack: Transformer) -> None:
        nn.Module.__init__(self)
        self.layers = stack.layers
        found = library()
        assert found is not None, "accelerated asks first"
        self._run = found.antiphon_layers
        first = stack.layers[0]
        assert isinstance(first, Layer)
        sets = len(first.gating) if isinstance(first.gating, nn.ModuleList) else 1
        self._stacks = [_stack(stack, index) for index in range(sets)]

    def stack(self, weight_set: int) -> Stack:
        """The layers with one of their weight sets."""
        return self._stacks[weight_set if len(self._stacks) > 1 else 0]

    def forward(
        self, x: Tensor, sets: Sequence[int], rotation: Tensor | None, attend: Callable[[int], Attend]
    ) -> Tensor:
        """As `Transformer.forward`."""
        if not (isinstance(attend, AttendView) and x.shape[1] == len(sets) == 1):
            return super().forward(x, sets, rotation, attend)
        entries = attend.view()
        if entries.keys.dtype not in KINDS:
            return super().forward(x, sets, rotation, attend)
        assert x.dtype == torch.float32
        assert len(entries.spans) == len(x)
        y = x.clone(memory_format=torch.contiguous_format)
        cache = kv_pointers(entries)
        spans = (ctypes.c_int64 * (4 * len(x)))(*(number for span in entries.spans for number in span))
        angles = None if rotation is None else rotation.contiguous()
        self._run(
            ctypes.byref(self.stack(sets[0])),
            ctypes.byref(cache),
            spans,
            None if angles is None else angles.data_ptr(),
            len(x),
            threads(),
            y.data_ptr(),
        )
        return y


def _stack(stack: Transformer, weight_set: int) -> Stack:
    """The layers with one of their weight sets."""
    layers = (_Layer * len(stack.layers))()
    layer = stack.layers[0]
    assert isinstance(layer, Layer)
    for to, layer in zip(layers, stack.layers, strict=True):
        assert isinstance(layer, Layer)
        assert layer.norm1.alpha.dtype == torch.float32
        attention = layer.self_attn
        gating = layer.gating[weight_set] if isinstance(layer.gating, nn.ModuleList) else layer.gating
        assert isinstance(gating, SwiGLU)
        index = weight_set if len(attention.in_projs) > 1 else 0
        to.norm1, to.norm2 = layer.norm1.alpha.data_ptr(), layer.norm2.alpha.data_ptr()
        to.in_proj, to.out_proj = _matrix(attention.in_projs[index]), _matrix(attention.out_projs[index])
        to.linear_in, to.linear_out = _matrix(gating.linear_in), _matrix(gating.linear_out)
    digits = _native(attention.in_projs[0]).digits
    return Stack(layers, len(layers), layer.norm1.alpha.shape[-1], attention.heads, digits, layer.norm1.eps)


def _native(module: nn.Module) -> NativeLinear:
    assert isinstance(module, NativeLinear)
    return module


def _matrix(module: nn.Module) -> Matrix:
    return _native(module).matrix


def kv_pointers(entries: KvView) -> KvPointers:
    """The stores, which are whole: rows of a larger one would have other strides."""
    assert entries.keys.is_contiguous()
    assert entries.values.is_contiguous()
    _, slots, heads, length, width = entries.keys.shape
    scales = [None if scale is None else scale.data_ptr() for scale in (entries.key_scales, entries.value_scales)]
    kind = KINDS[entries.keys.dtype]
    return KvPointers(entries.keys.data_ptr(), entries.values.data_ptr(), *scales, kind, slots, heads, length, width)
