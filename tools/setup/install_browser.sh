#!/usr/bin/env bash
# Installs Chromium from Debian's packages, headless, for the tests of the gateway's page.
#
#   tools/setup/install_browser.sh
#
# Exit status 0 also where nothing could be installed: the tests say what they miss.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

without() { echo "antiphon: no browser to test the page with: $1" >&2; exit 0; }

! command -v chromium >/dev/null || exit 0
command -v apt-get >/dev/null || without "install Chromium with this system's package manager."
if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
    as_root=(sudo --non-interactive --preserve-env=DEBIAN_FRONTEND,LC_ALL)
else
    without "run as root: apt-get install --no-install-recommends chromium"
fi
"${as_root[@]}" apt-get update -qq || echo "antiphon: apt-get update failed; going on with the package lists at hand" >&2
echo "antiphon: installing chromium"
"${as_root[@]}" apt-get install -y -qq --no-remove --no-install-recommends chromium >/dev/null ||
    without "apt-get could not install chromium; its message is above."
