#!/usr/bin/env bash
# All that only a machine with a GPU shows, in stages, for one that is lent for minutes and has no network.
#
#     tools/gpu/run.sh [environment small kernels large serve]      # all where none is named; in any order
#
# Needs Python 3.11 or later with torch for CUDA, Triton, numpy, and the wheels that the `cloud` extra names. Wheels in
# .whl/ are unpacked first. Each stage has a time limit and a log in $OUT (/tmp/gpu where unset), so that what is done
# by then is kept. DEVICE=cpu rehearses `serve` without a GPU.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-/tmp/gpu} device=${DEVICE:-cuda} small=/tmp/antiphon-444m large=/tmp/antiphon-7b worker=
mkdir -p "$out"
if compgen -G '.whl/*.whl' >/dev/null; then
    python3 -m pip install --quiet --no-index --no-deps --target /tmp/antiphon-wheels .whl/*.whl
fi
export PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/antiphon-wheels:$PWD/proto:$PWD/edge:$PWD/cloud:$PWD

stage() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS status=0
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    echo "$name: status $status after $((SECONDS - began)) s"
    tail --lines 25 "$out/$name.log"
}

checkpoint() { # FOLDER SIZE
    [ -f "$1/config.json" ] || stage "checkpoint-$2" 150 python3 -m tools.harness.random_checkpoint "$1" --size "$2"
}

with_a_codec() { # FOLDER: a random model needs somebody's codec and tokenizer before it is served
    cp tests/golden/moshi-tiny/{mimi.safetensors,mimi_config.json,tokenizer_spm_tiny.model} "$1"
    python3 - "$1/config.json" <<'PYTHON'
import json, pathlib, sys

path = pathlib.Path(sys.argv[1])
names = {"mimi_name": "mimi.safetensors", "mimi_config_name": "mimi_config.json"}
path.write_text(json.dumps(json.loads(path.read_text()) | names | {"tokenizer_name": "tokenizer_spm_tiny.model"}))
PYTHON
}

serve() { # FOLDER: sessions at frame rate through gRPC
    local address='' slots=${SLOTS:-64}
    with_a_codec "$1"
    python3 -m antiphon_cloud serve --model "$1" --device "$device" --quantize int8 --kv-cache int8 \
        --slots "$slots" --listen 127.0.0.1:0 >"$out/worker.out" 2>"$out/worker.log" &
    worker=$!
    trap 'kill "$worker" 2>/dev/null' EXIT
    for _ in $(seq 300); do
        address=$(sed -n 's/^listening on //p' "$out/worker.out")
        [ -z "$address" ] || break
        kill -0 "$worker" 2>/dev/null || break
        sleep 0.4
    done
    [ -n "$address" ] || { tail --lines 5 "$out/worker.log"; return 1; }
    for sessions in ${SESSIONS:-1 16 32 $slots}; do
        stage "serve-$sessions" 60 python3 -m tools.load.load_test --server "$address" --sessions "$sessions" \
            --seconds "${SECONDS_EACH:-12}" --processes 4 --ramp 3
    done
    kill "$worker"
    wait "$worker"
}

for name in ${*:-environment small kernels large serve}; do
    case $name in
    environment)
        stage environment 60 sh -c 'nvidia-smi; nproc; free -g; c++ --version | head -1; python3 -c "
import numpy, torch, triton
print(torch.__version__, torch.version.cuda, triton.__version__, numpy.__version__, torch.cuda.get_device_name())"' ;;
    small) checkpoint $small 444m; stage small 150 python3 -m tools.gpu.check --model $small ;;
    kernels) stage kernels 90 python3 -m pytest -q -x -p no:cacheprovider tests/antiphon_cloud/backends/cuda -k "not compile" ;;
    large) checkpoint $large 7b; stage large 330 python3 -m tools.gpu.check --model $large ;;
    serve) if [ -f $large/config.json ]; then serve $large; else checkpoint $small 444m; serve $small; fi ;;
    *) echo "there is no stage $name" >&2; exit 2 ;;
    esac
done
