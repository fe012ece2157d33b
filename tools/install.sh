#!/usr/bin/env bash
# Builds .venv with everything that the demo, the tests and the checks need. Nothing is installed outside the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
torch=$(sed -n 's/^torch==//p' constraints.txt)

fail() {
    echo "make install: $1" >&2
    exit 1
}
command -v "$python" >/dev/null || fail "there is no $python: install Python 3.11, 3.12 or 3.13, or name one with PYTHON=..."
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "$("$python" --version) is not supported: use Python 3.11, 3.12 or 3.13, for example make PYTHON=python3.12 test"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments: apt-get install python3-venv"

cat <<EOF
Antiphon's set-up downloads about 450 MB from PyPI into .venv (1.5 GB on disk): torch $torch for the CPU (200 MB),
onnxruntime, onnx, mypy, gRPC and others. The edge alone needs none of torch: pip install '.[edge]' brings 160 MB on disk.
EOF

# PyPI's torch for x86-64 carries 3 GB of CUDA libraries; without an NVIDIA GPU, PyTorch's own index has it without them.
torch_arguments=("torch==$torch")
cpu_index=https://download.pytorch.org/whl/cpu
if [ "$(uname -sm)" = "Linux x86_64" ] && ! command -v nvidia-smi >/dev/null && "$python" - "$cpu_index/torch/" <<'EOF'
import sys
import urllib.request

try:
    urllib.request.urlopen(sys.argv[1], timeout=5).close()
except OSError:
    sys.exit(1)
EOF
then
    torch_arguments+=(--index-url "$cpu_index" --extra-index-url https://pypi.org/simple)
fi

extras=edge,cloud,tools,dev
if [ -e /usr/include/portaudio.h ]; then
    extras=$extras,audio # live voice: PyAudio compiles against PortAudio
fi

"$python" -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
.venv/bin/pip install --quiet "${torch_arguments[@]}"
.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[$extras]"
