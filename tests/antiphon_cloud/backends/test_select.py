"""Which executor steps a model: by device, by dtype, and by what the machine has."""

import pytest
import torch

from antiphon_cloud.backends import fbgemm
from antiphon_cloud.backends.cpu.library import set_threads, threads
from antiphon_cloud.backends.cpu.linear import CompiledLinear
from antiphon_cloud.backends.cpu.ops import CpuOps
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows
from antiphon_cloud.backends.select import select
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.ops import Ops
from tests.support.language_models import MICRO, in_int8, random_model
from tests.support.native import needs_library

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ROWS = quantize_rows(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon_cloud.backends.cpu.library.library", lambda: None)


def test_floats_on_a_cpu_are_stepped_by_the_definition() -> None:
    backend = select(CPU, torch.bfloat16, int8=False)
    assert (backend.name, backend.dtype) == ("torch", torch.bfloat16)
    assert type(backend.ops(random_model(MICRO))) is Ops
    assert backend.memory([(8, 16)]) is None


@needs_library
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 2), (torch.bfloat16, 1)])
def test_int8_on_a_cpu_is_stepped_by_the_compiled_library(dtype: torch.dtype, digits: int) -> None:
    backend = select(CPU, dtype, int8=True)
    assert backend.dtype == torch.float32  # the product makes integers of it
    matrix = backend.matrix(*ROWS)
    assert isinstance(matrix, CompiledLinear)
    assert matrix.digits == digits
    assert isinstance(backend.ops(in_int8(random_model(MICRO), backend.matrix)), CpuOps)
    memory = backend.memory([(8, 16), (3, 5)])
    assert memory is not None
    assert memory.empty((8, 16)).shape == (8, 16)


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.skipif(not fbgemm.is_supported(), reason="this CPU has no packed product")
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 3), (torch.bfloat16, 2)])
def test_without_the_library_torchs_packed_product_takes_its_place(dtype: torch.dtype, digits: int) -> None:
    backend = select(CPU, dtype, int8=True)
    matrix = backend.matrix(*ROWS)
    assert backend.dtype == torch.float32
    assert isinstance(matrix, fbgemm.PackedLinear)
    assert matrix.digits == digits
    assert type(backend.ops(random_model(MICRO))) is Ops


@pytest.mark.usefixtures("nothing_compiled")
def test_without_either_the_definition_makes_floats_of_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbgemm, "is_supported", lambda: False)
    backend = select(CPU, torch.bfloat16, int8=True)
    assert backend.dtype == torch.bfloat16
    assert type(backend.matrix(*ROWS)) is Int8Linear


@pytest.mark.parametrize("int8", [False, True])
def test_a_gpu_is_stepped_with_kernels(int8: bool) -> None:
    backend = select(CUDA, torch.bfloat16, int8)
    assert backend.dtype == torch.bfloat16
    assert isinstance(backend.ops(random_model(MICRO)), CudaOps)


@needs_library
def test_the_compiled_step_has_threads_of_its_own_and_torch_one() -> None:
    before = torch.get_num_threads()
    try:
        select(CPU, torch.bfloat16, int8=True).use_threads(3)
        assert (threads(), torch.get_num_threads()) == (3, 1)
        select(CPU, torch.float32, int8=False).use_threads(2)
        assert (threads(), torch.get_num_threads()) == (2, 2)
    finally:
        torch.set_num_threads(before)
        set_threads(None)


def test_a_matrix_that_a_gpus_kernels_cannot_address_is_refused() -> None:
    backend = select(torch.device("cuda"), torch.bfloat16, int8=True)
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match="2147483648 weights is more than a GPU's kernels address"),
    ):
        backend.matrix(torch.empty(1 << 16, 1 << 15, dtype=torch.int8), torch.empty(1 << 16))
