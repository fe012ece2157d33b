#!/usr/bin/env bash
# All that only a machine with a GPU shows, in stages, for one that is lent for minutes and has no network.
#
#     tools/gpu/run.sh [env small kernels big serve]      # all where none is named; in any order
#
# Needs Python 3.11 or later with torch for CUDA, Triton, numpy, pytest, and the wheels that cloud/pyproject.toml names.
# Wheels in .whl/ are unpacked first. `small` checks a model of 444 M parameters, `big` the 7B, `serve` plays sessions
# against the larger one that is there. What each finds is kept in $OUT/STAGE (OUT is /tmp/gpu where unset) as it is
# found; each part of `tools.gpu.check` has its own time limit. Exits with status 1 where one did not pass.
#
# DEVICE=cpu SLOTS=4 SESSIONS="1 3" rehearses `env` and `serve` without a GPU; MODEL names a small model for `serve`, and
# SECONDS_EACH how long each load lasts.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-/tmp/gpu} device=${DEVICE:-cuda} small=/tmp/antiphon-444m big=/tmp/antiphon-7b failed=0
mkdir -p "$out"
if compgen -G '.whl/*.whl' >/dev/null; then
    python3 -m pip install --quiet --no-index --no-deps --upgrade --target /tmp/antiphon-wheels .whl/*.whl
fi
export PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/antiphon-wheels:$PWD/proto:$PWD/edge:$PWD/gateway:$PWD/cloud:$PWD/clerk:$PWD

check() { # NAME ARGUMENTS...
    local name=$1
    shift
    python3 -m tools.gpu.check --device "$device" --out "$out/$name" "$@" || failed=1
}

checkpoint() { # FOLDER SIZE
    [ -f "$1/model.safetensors" ] || timeout 180 python3 -m tools.harness.random_checkpoint "$1" --size "$2" || {
        rm -rf "$1"
        failed=1
    }
}

for name in ${*:-env small kernels big serve}; do
    case $name in
    env)
        nproc; free -g; c++ --version | head -1; nvidia-smi
        check env --stages environment ;;
    small) checkpoint $small 444m; check small --model $small --stages timing equality accuracy ;;
    kernels) check kernels --stages kernels ;;
    big) checkpoint $big 7b; check big --model $big --stages timing equality accuracy ;;
    serve)
        model=${MODEL:-$big}
        [ -f "$model/config.json" ] || { model=$small; checkpoint $small 444m; }
        # shellcheck disable=SC2086 # several numbers
        check serve --model "$model" --stages serve --slots "${SLOTS:-64}" --seconds "${SECONDS_EACH:-12}" \
            ${SESSIONS:+--sessions $SESSIONS} ;;
    *) echo "there is no stage $name: there are env, small, kernels, big, serve" >&2; exit 2 ;;
    esac
done
exit $failed
