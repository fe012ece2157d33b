#!/usr/bin/env bash
# Builds the gateway's page into gateway/antiphon_gateway/page, from its sources and the npm packages that its
# package-lock.json pins; the messages of the contract come from the .proto. Needs node and npm, the system's or .venv's.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH"
template='{"version": "v2", "plugins": [{"local": "gateway/page/node_modules/.bin/protoc-gen-es", "out": "gateway/page/build",
    "opt": ["target=ts", "import_extension=none"]}]}'

npm ci --prefix gateway/page --no-audit --no-fund --loglevel error
buf generate proto --template "$template"
(cd gateway/page && node_modules/.bin/tsc)
node gateway/page/build.mjs gateway/antiphon_gateway/page
du -sh gateway/antiphon_gateway/page
