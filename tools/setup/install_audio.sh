#!/usr/bin/env bash
# Installs what a microphone and a speaker need from the system, before `pip install .[audio]`:
# PortAudio's headers and a compiler (PyAudio has no Linux wheels); with --test a PulseAudio to test against, systemd,
# whose analyzer reads the unit of a box, and espeak-ng,
# whose voices train the number clerk.
#
#   tools/setup/install_audio.sh [--test]
#
# Exit status 0 also where nothing could be installed: set-up goes on without live audio. 2 for usage.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

packages=(portaudio19-dev python3-dev gcc)
case "${1-}" in
    "") ;;
    --test) packages+=(pulseaudio libasound2-plugins pulseaudio-utils espeak-ng systemd) ;;
    *) echo "usage: tools/setup/install_audio.sh [--test]" >&2; exit 2 ;;
esac

without_live_audio() { echo "antiphon: no live audio: $1" >&2; exit 0; }

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    [ "$(uname -s)" = Linux ] || exit 0  # elsewhere PyAudio comes as a wheel, or PortAudio from brew
    without_live_audio "this is no Debian-like system; install PortAudio's headers and a C compiler with its package manager."
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
    as_root=(sudo --non-interactive --preserve-env=DEBIAN_FRONTEND,LC_ALL)
else
    without_live_audio "run as root: apt-get install --no-install-recommends ${missing[*]}"
fi

"${as_root[@]}" apt-get update -qq || echo "antiphon: apt-get update failed; going on with the package lists at hand" >&2
# --no-remove: a desktop's own sound system (pipewire-alsa conflicts with pulseaudio) stays as it is.
plan=$("${as_root[@]}" apt-get install --assume-no --no-remove --no-install-recommends "${missing[@]}" 2>&1 || true)
echo "antiphon: installing ${missing[*]} with what they depend on:"
grep -E '^(Need to get|After this operation)|newly installed' <<<"$plan" | sed 's/^/    /' || true
"${as_root[@]}" apt-get install -y -qq --no-remove --no-install-recommends "${missing[@]}" >/dev/null \
    || without_live_audio "apt-get could not install ${missing[*]}; its message is above."
