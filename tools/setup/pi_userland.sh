#!/usr/bin/env bash
# Runs the edge in a Raspberry Pi's userland (Debian, arm64) under emulation and compares it with this machine.
# --help tells more.
set -euo pipefail
cd "$(dirname "$0")/../.."

help() {
    cat <<'END'
usage: tools/setup/pi_userland.sh [--frames N] SUITE FOLDER

Builds a Debian arm64 root file system (SUITE: bookworm with Python 3.11, or trixie with 3.13) in FOLDER, installs this
checkout there with pip, and runs `antiphon-edge encode` and `decode` on the golden tiny codec, float32
and int8, under qemu-user emulation of a Pi 4's and a Pi 5's core. Exit status 0 if it computes there what it does on
this machine, 1 otherwise, 2 for usage:

  float32  The codes are equal (and equal to the golden ones), decoded audio is within 1e-4 of its peak.
  int8     Decoded audio is as near to float32's, within 1 dB of signal-to-noise ratio. How many codes are equal is
           printed: a rounding error of float32 can turn an input of an int8 product to the next byte.

  --frames N  Frames of 80 ms to encode and decode (default 5, at most 150); emulation is slow.

It needs root on Linux (x86-64), apt-get install qemu-user-static debootstrap, the checkout's .venv (make install), a
network with a Debian mirror and PyPI, 500 MB in FOLDER, and ten to twenty minutes, mostly of one core; ten when FOLDER
is there from an earlier run. It registers aarch64 with binfmt_misc and mounts FOLDER/proc; both are undone at the
end, however it ends. One run at a time. FOLDER must lie outside the checkout; it stays: remove it when you are
done.

Environment:
  DEBIAN_MIRROR  where debootstrap loads from (default: debootstrap's own).
  PIP_*, HTTPS_PROXY and the like
                 hold for pip in FOLDER, too, but for those that are a path of this machine (PIP_CERT): its
                 /etc/resolv.conf and certificate authorities are copied into FOLDER instead.
END
}
usage() {
    echo "pi_userland.sh: $1; see tools/setup/pi_userland.sh --help" >&2
    exit 2
}
fail() {
    echo "pi_userland.sh: $1" >&2
    exit 1
}
say() { echo "$(date +%T) $1"; }

frames=5
positional=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) help; exit 0 ;;
        --frames) [[ ${2-} =~ ^[1-9][0-9]*$ ]] || usage "--frames needs a number"; frames=$2; shift 2 ;;
        -*) usage "there is no $1" ;;
        *) positional+=("$1"); shift ;;
    esac
done
[ ${#positional[@]} -eq 2 ] || usage "SUITE and FOLDER are needed"
suite=${positional[0]}
case "$suite" in
    bookworm | trixie) ;;
    *) usage "SUITE is bookworm or trixie, not $suite" ;;
esac
root=$(realpath --canonicalize-missing "${positional[1]}")
case "$root/" in
    "$PWD"/* | /) usage "FOLDER must lie outside the checkout, and not be /" ;;
esac
[ "$(id -u)" -eq 0 ] || fail "chroot and debootstrap need root: run it with sudo"
for needed in debootstrap qemu-aarch64-static; do
    command -v "$needed" >/dev/null || fail "there is no $needed: apt-get install qemu-user-static debootstrap"
done
python=$PWD/.venv/bin/python
[ -x "$python" ] || fail "there is no .venv: run make install first"
built=$root/.antiphon-$suite  # debootstrap was here, and came to its end
if [ -d "$root" ] && [ ! -e "$built" ] && [ -n "$(ls -A "$root")" ]; then
    fail "$root holds something else, or half a $suite: choose another folder, or remove it"
fi

cores=(cortex-a72 cortex-a76)  # Pi 4, Pi 5
binfmt=/proc/sys/fs/binfmt_misc
scratch=$(mktemp -d)
mounted_binfmt=
registered=
undo() {
    local status=$?
    if mountpoint --quiet "$root/proc"; then umount "$root/proc"; fi
    if [ -n "$registered" ]; then echo -1 >"$binfmt/qemu-aarch64"; fi
    if [ -n "$mounted_binfmt" ]; then umount "$binfmt"; fi
    rm -rf "$scratch"
    exit "$status"
}
trap undo EXIT
trap 'exit 130' INT TERM HUP

if [ ! -e "$binfmt/register" ]; then
    mount -t binfmt_misc binfmt_misc "$binfmt" || fail "this kernel has no binfmt_misc: choose another machine"
    mounted_binfmt=1
fi
if [ ! -e "$binfmt/qemu-aarch64" ]; then
    cat /usr/lib/binfmt.d/qemu-aarch64.conf >"$binfmt/register"
    registered=1
fi

if [ ! -e "$built" ]; then
    say "debootstrap: $suite for arm64 in $root"
    debootstrap --arch=arm64 --variant=minbase --include=ca-certificates,python3,python3-venv \
        "$suite" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$scratch/debootstrap.log" 2>&1 || {
        tail -n 20 "$scratch/debootstrap.log" >&2
        fail "debootstrap failed; its last words are above. Remove $root before the next try"
    }
    touch "$built"
fi
mountpoint --quiet "$root/proc" || mount -t proc proc "$root/proc"
cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
bundle=/etc/ssl/certs/ca-certificates.crt
if [ -e "$bundle" ]; then cp --dereference "$bundle" "$root$bundle"; fi

settings=()
while IFS='=' read -r -d '' name value; do
    case "$name=$value" in
        PIP_*=/* | PIP_*=file:* | PIP_REQUIRE_VIRTUALENV=*) ;;  # of this machine
        PIP_*=* | HTTP_PROXY=* | HTTPS_PROXY=* | NO_PROXY=* | http_proxy=* | https_proxy=* | no_proxy=*)
            settings+=("$name=$value")
            ;;
    esac
done < <(env -0)
# Without /sys: onnxruntime's processor detection crashes on the host's. It says so on standard error, and goes on.
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 QEMU_CPU="${core:-cortex-a76}" \
        PIP_CERT="$bundle" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 ${settings[@]+"${settings[@]}"} \
        chroot "$root" "$@" 2> >(grep --invert-match "cpu_*info\|cpuid_info" >&2)
}

say "installing antiphon"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$scratch" .
wheel=$(basename "$scratch"/antiphon-*.whl)
rm -rf "${root:?}/antiphon"
mkdir "$root/antiphon"
cp "$scratch/$wheel" "$root/antiphon"
[ -x "$root/venv/bin/pip" ] || inside python3 -m venv /venv
inside /venv/bin/pip uninstall --quiet --quiet --yes antiphon
inside /venv/bin/pip install --quiet --no-compile --only-binary=:all: "/antiphon/$wheel"
inside /venv/bin/python -c "
import platform, onnxruntime, numpy
print(f'  {platform.machine()}, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__},'
      f' numpy {numpy.__version__}')"

say "preparing $frames frames of the golden tiny codec on this machine"
mkdir "$scratch/frames"
"$python" - "$frames" "$scratch/frames" <<'END'
"""Exports the codec, writes the frames as a wav, and keeps this machine's codes and audio."""
import sys
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file

from antiphon_cloud.codec.export import export_codec

frames, out = int(sys.argv[1]), Path(sys.argv[2])
golden = Path("tests/golden/mimi-tiny")
for precision in ("fp32", "int8"):
    codec = out / precision
    export_codec(golden / "mimi.safetensors", golden / "mimi_config.json", codec, precision=precision)
expected = load_file(golden / "expected.safetensors")
if not 1 <= frames <= len(expected["codes"]):
    sys.exit(f"pi_userland.sh: --frames: there are {len(expected['codes'])} golden frames")
soundfile.write(out / "in.wav", expected["pcm"][: 1920 * frames], 24_000, subtype="FLOAT")
np.save(out / "golden.npy", expected["codes"][:frames])
END
cat >"$scratch/frames/decode.py" <<'END'
"""Decodes codes to float32 samples: the command line writes 16 bits, which would hide small differences."""
import sys
from pathlib import Path

import numpy as np

from antiphon_edge.codec.codec import Codec

codec, codes, pcm = map(Path, sys.argv[1:])
decoder = Codec.load(codec).decoder()
np.save(pcm, np.concatenate([decoder.step(row) for row in np.load(codes)]))
END

run() {  # run BIN FOLDER [WRAPPER]: at each precision encode, decode the golden codes, and decode them to float32
    local bin=$1 folder=$2 codec
    shift 2
    for precision in fp32 int8; do
        codec=$folder/$precision
        "$@" "$bin/antiphon-edge" encode --codec "$codec" "$folder/in.wav" "$codec/codes.npy"
        "$@" "$bin/antiphon-edge" decode --codec "$codec" "$folder/golden.npy" "$codec/out.wav"
        "$@" "$bin/python" "$folder/decode.py" "$codec" "$folder/golden.npy" "$codec/pcm.npy"
    done
}
for core in "${cores[@]}"; do
    say "encoding and decoding on an emulated $core"
    cp -r "$scratch/frames" "$root/antiphon/$core"
    started=$SECONDS
    run /venv/bin "/antiphon/$core" inside
    say "done in $((SECONDS - started)) s"
done
run "$PWD/.venv/bin" "$scratch/frames"

"$python" - "$scratch/frames" "${cores[@]/#/$root/antiphon/}" <<'END' || fail "$suite: the emulated edge differs"
"""Compares what this machine computed with what each emulated core did."""
import sys
from pathlib import Path

import numpy as np
import soundfile


def read(codec):
    wav, _ = soundfile.read(codec / "out.wav", dtype="int16")
    return np.load(codec / "codes.npy"), np.load(codec / "pcm.npy"), wav.astype(int)


def snr_db(signal, found):
    return 10 * np.log10(np.square(signal).sum() / np.square(signal - found).sum())


here, *emulated = map(Path, sys.argv[1:])
golden = np.load(here / "golden.npy")
exact = read(here / "fp32")[1]
same = True
for precision in ("fp32", "int8"):
    codes, pcm, wav = read(here / precision)
    for folder in emulated:
        its_codes, its_pcm, its_wav = read(folder / precision)
        error = float(np.abs(pcm - its_pcm).max() / np.abs(pcm).max())
        steps = int(np.abs(wav - its_wav).max())
        core = f"  {folder.name}, {precision}"
        print(f"{core}: {(codes == its_codes).sum()} of {codes.size} codes equal this machine's, "
              f"{(golden == its_codes).sum()} the golden ones ({(golden == codes).sum()} of this machine's do)")
        print(f"{core}: decoded audio differs by at most {error:.1e} of its peak, the 16-bit wav by {steps}")
        if precision == "fp32":
            same &= np.array_equal(codes, its_codes) and np.array_equal(golden, its_codes)
            same &= error <= 1e-4 and steps <= 1 + 1e-4 * np.abs(wav).max()
        else:
            ours, its = snr_db(exact, pcm), snr_db(exact, its_pcm)
            print(f"{core}: signal-to-noise ratio beside float32 {its:.1f} dB, on this machine {ours:.1f} dB")
            same &= its >= ours - 1
sys.exit(not same)
END
say "$suite: the emulated edge computes what this machine does"
