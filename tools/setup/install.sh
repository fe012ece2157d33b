#!/usr/bin/env bash
# Builds .venv with everything that the demo, the tests and the checks need. Nothing is installed outside the checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
torch=$(sed -n 's/^torch==//p' constraints.txt)

fail() {
    echo "make install: $1" >&2
    exit 1
}
command -v "$python" >/dev/null || fail "there is no $python: install Python 3.11, 3.12 or 3.13, or name one with PYTHON=..."
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "$("$python" --version) is not supported: use Python 3.11, 3.12 or 3.13, for example make PYTHON=python3.12 test"
"$python" -c 'import sys; sys.exit(sys.maxsize <= 2**32)' ||
    fail "$python is a 32-bit Python, which there is no PyTorch for (a 64-bit kernel is not enough): use a 64-bit system"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments: apt-get install python3-venv"

case "$(uname -sm)" in
    "Linux x86_64" | "Linux aarch64" | Darwin*) ;;
    *) fail "there is no PyTorch for $(uname -sm): use a 64-bit system" ;;
esac

# On Linux, PyPI's torch carries 3 GB of CUDA libraries; without an NVIDIA GPU, PyTorch's own index has it without them.
torch_arguments=("torch==$torch")
size="about 450 MB (1.5 GB on disk)"
cpu_index=https://download.pytorch.org/whl/cpu
if [ "$(uname -s)" = Linux ]; then
    if command -v nvidia-smi >/dev/null; then
        size="about 3.5 GB (7 GB on disk, most of it CUDA)"
    elif "$python" - "$cpu_index/torch/" <<'EOF'
import sys
import urllib.request

try:
    urllib.request.urlopen(sys.argv[1], timeout=5).close()
except OSError:
    sys.exit(1)
EOF
    then
        torch_arguments+=(--index-url "$cpu_index" --extra-index-url https://pypi.org/simple)
    else
        size="about 450 MB, or 3.5 GB where PyPI gives torch with CUDA (PyTorch's index of CPU builds cannot be reached)"
    fi
fi
cat <<EOF
Antiphon's set-up downloads $size into .venv: torch $torch, onnxruntime, onnx, mypy, gRPC and others.
The edge alone needs no torch: pip install '.[edge]' brings 211 MB on disk, 22 of them the model.
EOF

extras=edge,gateway,voice,cloud,otlp,tools,dev
# Live voice: PyAudio compiles against PortAudio.
if [ -e /usr/include/portaudio.h ] && command -v gcc >/dev/null &&
    "$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    extras=$extras,audio
fi

"$python" -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
.venv/bin/pip install --quiet "${torch_arguments[@]}"
.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[$extras]"
