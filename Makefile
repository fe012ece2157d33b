# Everything runs in .venv, which `make install` builds; demo, test, check and bench see to it themselves.
# `make test` also installs PortAudio, PulseAudio and espeak-ng from Debian's packages where it may (as root, or with sudo).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check bench clean
install: .venv/installed
demo: .venv/installed
	$(BIN)/python -m tools.demo
test: .venv/sound
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/buf lint
	$(BIN)/python -m tools.setup.generate_stubs --check
bench: .venv/installed
	$(BIN)/python -m tools.bench.service
clean:
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt tools/setup/install.sh
	PYTHON=$(PYTHON) tools/setup/install.sh
	touch $@

# A sound system without hardware for the tests of live voice, where this user may install packages.
.venv/sound: .venv/installed tools/setup/install_audio.sh
	tools/setup/install_audio.sh --test
	test ! -e /usr/include/portaudio.h || $(BIN)/pip install --quiet --constraint constraints.txt 'pyaudio>=0.2.14'
	touch $@
