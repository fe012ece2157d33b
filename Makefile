# Everything runs in .venv, which `make install` builds; demo, test, check and bench see to it themselves.
# `make test` also installs PortAudio, PulseAudio and espeak-ng from Debian's packages where it may (as root, or with sudo).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check bench clean
install: .venv/installed
demo: .venv/installed
	$(BIN)/python tools/demo.py
test: .venv/sound
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/python tools/generate_stubs.py --check
bench: .venv/installed
	$(BIN)/python tools/bench_service.py
clean:
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt tools/install.sh
	PYTHON=$(PYTHON) tools/install.sh
	touch $@

# A sound system without hardware for the tests of live voice, where this user may install packages.
.venv/sound: .venv/installed tools/install_audio.sh
	tools/install_audio.sh --test
	test ! -e /usr/include/portaudio.h || $(BIN)/pip install --quiet --constraint constraints.txt 'pyaudio>=0.2.14'
	touch $@
