#!/usr/bin/env bash
# Prints pip's arguments that bring the pinned torch, for the CPU alone where there is no NVIDIA GPU, on one line, and on
# a second how much comes. On Linux, PyPI's torch carries 3 GB of CUDA libraries; PyTorch's own index has it without them.
#
#   tools/setup/torch_arguments.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
arguments="torch==$(sed -n 's/^torch==//p' constraints.txt)"
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
        arguments+=" --index-url $cpu_index --extra-index-url https://pypi.org/simple"
    else
        size="about 450 MB, or 3.5 GB where PyPI gives torch with CUDA (PyTorch's index of CPU builds cannot be reached)"
    fi
fi
printf '%s\n' "$arguments" "$size"
