# make demo   a county with simulated chips, in one command
# make test   all tests, on as many cores as there are     make check  formatting, lint, types, layers
# make bench  gateway and echo     make lock   requirements.lock from pyproject.toml
# make audit  known weaknesses in the locked packages
# make soak   a county's shift through trouble, revocations, the conformance kit's broken variants, a million simulated
#             machine-hours (an hour and more)
# make dashboards  Grafana's dashboards from deploy/grafana/*.py
#
# Each makes the virtual environment it needs; on Debian, as root, also installs the packages it needs.
# ARGS go to the command: make test ARGS="-k policy", make bench ARGS="--profile province"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help venv demo test check bench lock audit soak mosquitto chromium node dashboards prometheus

ARGS ?=
BIN := .venv/bin
STAMP := .venv/.made-from-the-lock
NODE := tests/asyncapi tests/site/provider
MODULES := $(NODE:%=%/node_modules/.package-lock.json)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# $(call debian,what is missing,package): installs it as root, else names the command
define debian
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
		echo "$(1): installing $(2)"
		export DEBIAN_FRONTEND=noninteractive
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $(2); } >/dev/null \
			|| { echo "apt-get could not install $(2)" >&2; exit 1; }
	else
		echo "$(1). Install it and try again, on Debian: sudo apt-get install $(2)" >&2
		exit 1
	fi
endef

help:
	sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,/^$$/p'

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	find_python() {
		for python in $${PYTHON:-} python3.11 python3.12 python3.13 python3; do
			if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
				echo "$$python"; return
			fi
		done
	}
	python="$$(find_python)"
	if [ -z "$$python" ]; then
		$(call debian,Python 3.11 or newer is missing,python3)
		python="$$(find_python)"
	fi
	[ -n "$$python" ] || { echo "Python 3.11 or newer is missing: install it, or name it with PYTHON=" >&2; exit 1; }
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
		$(call debian,$$python cannot make virtual environments,python3-venv)
	fi
	echo "Making .venv with $$("$$python" --version) from requirements.lock (a minute or two, once)"
	[ -x $(BIN)/python ] || "$$python" -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

mosquitto:
	if ! { PATH="$$PATH:/usr/sbin" command -v mosquitto && command -v mosquitto_rr; } >/dev/null; then
		$(call debian,Mosquitto or its clients are missing,mosquitto mosquitto-clients)
	fi

prometheus:
	if ! { command -v promtool && command -v prometheus && command -v amtool; } >/dev/null; then
		$(call debian,Prometheus or Alertmanager is missing,prometheus prometheus-alertmanager)
		systemctl stop prometheus prometheus-alertmanager 2>/dev/null || true  # tests start their own
	fi

chromium:
	if ! command -v chromium >/dev/null; then
		$(call debian,Chromium is missing,chromium)
	fi
	if ! PATH="$$PATH:/usr/sbin" ldconfig -p | grep libpangoft2 >/dev/null; then
		$(call debian,Pango is missing,libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fontconfig)
	fi
	if [ -z "$$(fc-list :lang=zh)" ]; then
		$(call debian,A font with Chinese is missing,fonts-wqy-zenhei)
	fi

node: $(MODULES)

$(MODULES): %/node_modules/.package-lock.json: %/package-lock.json
	if ! command -v npm >/dev/null; then
		$(call debian,Node.js with npm is missing,nodejs npm)
	fi
	npm ci --prefix $* --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	touch $@

demo: $(STAMP)
	exec $(BIN)/weldgate demo $(ARGS)

test: $(STAMP)
	for part in mosquitto node chromium prometheus; do
		if ! $(MAKE) --no-print-directory $$part; then
			[ -z "$${CI:-}" ] || exit 1
			echo "Tests that need it are skipped." >&2
		fi
	done
	beside=0 alone=0
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m "not alone" $(ARGS) || beside=$$?
	[ $$beside = 0 ] || [ $$beside = 5 ] || exit $$beside  # 5: none of these was asked for
	$(BIN)/python -m pytest -m alone $(ARGS) || alone=$$?
	[ $$alone = 5 ] && exit $$beside || exit $$alone

check: $(STAMP)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet . || { echo "format: run $(BIN)/ruff format ." >&2; exit 1; }
	$(BIN)/mypy
	layers="$$($(BIN)/lint-imports --no-cache)" || { echo "$$layers" >&2; exit 1; }
	tail -n 1 <<<"$$layers"

dashboards: $(STAMP)
	$(BIN)/python -m deploy.grafana

bench: $(STAMP) mosquitto
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMP) mosquitto
	$(BIN)/python -m tests.soak $(ARGS)
	$(BIN)/python -m tests.conformance.matrix
	$(BIN)/python -m tests.simulation --machine-hours 1000000 --jobs 2

lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header \
		--quiet -o requirements.lock $(ARGS)

audit: $(STAMP)
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.lock || {
		echo "audit: a weakness is listed above, or the vulnerability service could not be reached" >&2
		exit 1
	}
