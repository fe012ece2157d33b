# Everything runs in .venv, which `make install` builds; demo, test, check and bench see to it themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check bench clean
install: .venv/installed
demo: .venv/installed
	$(BIN)/python tools/demo.py
test: .venv/installed
	$(BIN)/python -m pytest
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

.venv/installed: pyproject.toml constraints.txt tools/install.sh tools/install_audio.sh
	PYTHON=$(PYTHON) tools/install.sh
	touch $@
