#!/usr/bin/env bash
# Builds .venv with everything that the demo, the tests and the checks need. Nothing is installed outside the checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

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

{ read -r -a torch_arguments; read -r size; } <<<"$(tools/setup/torch_arguments.sh "$python")"
cat <<EOF
Antiphon's set-up downloads $size into .venv: ${torch_arguments[0]}, onnxruntime, onnx, mypy, gRPC and others.
The edge alone needs no torch: pip install . (docs/packages.md says what each distribution takes).
EOF

extras=voice,otlp,jwt
# Live voice: PyAudio compiles against PortAudio.
if [ -e /usr/include/portaudio.h ] && command -v gcc >/dev/null &&
    "$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    extras=$extras,audio
fi

"$python" -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
.venv/bin/pip install --quiet "${torch_arguments[@]}"
.venv/bin/pip install --quiet --constraint constraints.txt --group tools --group dev \
    --editable ".[$extras]" --editable ./cloud --editable ./gateway --editable ./clerk
.venv/bin/pip install --quiet --no-deps --upgrade --target .venv/protoc --constraint constraints.txt grpcio-tools
