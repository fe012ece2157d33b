"""What each side loads, beyond the contracts between rooms in pyproject.toml (`lint-imports`)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import ROOT, SOURCES

CONTRACT = {"antiphon", "numpy", "google", "grpc"}  # grpc in the generated service stub
SHARED = {
    "command_line.py": {"click"},
    "settings_option.py": {"click"},
    "health.py": {"click"},
    "cache_folder.py": {"platformdirs"},
    "durations.py": {"click"},
    "key_file.py": {"msgspec"},
    "jwks.py": {"jwt", "cryptography"},
    "tokens.py": {"jwt"},
    "token_options.py": {"click"},
    "key_edit.py": {"msgspec"},
    "monitor.py": {"prometheus_client"},
    "otlp.py": {"opentelemetry"},
    "status.py": {"msgspec"},
    "tracing_options.py": {"click"},
    "usage.py": {"prometheus_client"},
}
CLOUD_ONLY = {"torch", "onnx", "onnxscript", "sentencepiece", "safetensors"}


def imports(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", files("proto"), ids=str)
def test_the_contract_needs_protobuf_and_numpy_only(path: Path) -> None:
    assert imports(path) <= CONTRACT | SHARED.get(path.name, set())


@pytest.mark.parametrize("module", ["antiphon_edge.cli.commands", "antiphon_gateway.server.process"])
def test_loading_the_edge_or_the_gateway_loads_no_cloud_library(module: str) -> None:
    code = f"import sys, {module}; print(sorted({CLOUD_ONLY!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["serving.load", "server.process", "engine.stepper", "engine.messages"])
def test_neither_the_event_loop_nor_the_batch_needs_torch(module: str) -> None:
    code = f"import sys, antiphon_cloud.{module}; print(sorted({{'torch', 'onnx'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_source_roots_are_not_packages() -> None:
    assert not [root for root in SOURCES if (ROOT / root / "__init__.py").exists()]
