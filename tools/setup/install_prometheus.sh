#!/usr/bin/env bash
# Brings promtool, which tests the alerts, from Debian's package of Prometheus into .venv; no service is installed.
#
#   tools/setup/install_prometheus.sh
#
# Exit status 0 also where it cannot be had: the tests say what they miss.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C

without() { echo "antiphon: no promtool to test the alerts with: $1" >&2; exit 0; }

! command -v promtool >/dev/null || exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || without "install Prometheus with this system's package manager."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq || echo "antiphon: apt-get update failed; going on with the package lists at hand" >&2
fi
(cd "$folder" && apt-get download -qq prometheus >/dev/null 2>&1) || without "apt-get could not download prometheus."
dpkg-deb --extract "$folder"/prometheus_*.deb "$folder/prometheus"
cp "$folder/prometheus/usr/bin/promtool" .venv/bin/promtool
