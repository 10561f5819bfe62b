# Rekindle: everything a developer types. `make help` lists it; only Python 3.13, Node 20 or newer and make are needed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check build synth deploy models evaluate bench lock clean

PYTHON ?= python3.13
CONTEXT ?=
DATA ?=
BIN := .venv/bin
CDK := node_modules/.bin/cdk
CONTEXT_FLAGS := $(addprefix -c ,$(CONTEXT))

# $(call pip,environment,requirements): pip is silent for a minute, or says far too much; this says how far it is.
pip = $(1)/bin/python -m pip install --progress-bar off --require-hashes -r $(2) \
  | awk -v all=$$(grep -c == $(2)) '/^Collecting/ && ++n % 25 == 0 {print "setup:   " n " of " all " packages"; fflush()} \
      /^Installing collected/ {print "setup:   writing them"; fflush()}'

# Node 20 works, but is past its end of life: jsii would say so in twenty lines, each time.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION ?= 20
export CDK_DISABLE_CLI_TELEMETRY ?= true
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pyright: the Node that is here, instead of one downloaded for it.
export PYRIGHT_PYTHON_GLOBAL_NODE ?= 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS ?= 1

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed .venv-local/.installed node_modules/.installed ## install everything, pinned by hash; again only when the pins change

demo: setup ## deploy the stack to a local AWS and let a population talk to the bot (KEEP=1 leaves it running)
	@$(BIN)/python -m infra.local.demo $(if $(KEEP),--keep)

test: setup ## run every test: unit, integration, template, and the deployed stack
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup ## lint, types, import rules, template checks, advisories, bill of materials
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(CDK) synth --quiet --output build/check -c bot_id=1
	$(BIN)/cfn-lint 'build/check/*.template.json'
	$(BIN)/python -m infra.audit

build: setup ## stage the layers for both architectures and say what they weigh
	@$(BIN)/python -m infra.build --architecture both

synth: setup ## write the CloudFormation template to cdk.out: make synth CONTEXT="bot_id=123456789"
	$(CDK) synth --quiet $(CONTEXT_FLAGS)

deploy: setup ## deploy to the AWS account of your credentials: make deploy CONTEXT="bot_id=123456789"
	$(CDK) deploy $(CONTEXT_FLAGS)

models: setup ## train the bundled models again: make models DATA=<folder of event streams>
	@$(BIN)/python -m models train --data "$(DATA)"

evaluate: setup ## models beside baselines, each stream left out of training, and the pictures: make evaluate DATA=<folder>
	@$(BIN)/python -m models evaluate --data "$(DATA)"

bench: build ## measure cold starts, pattern sizes and zip sizes
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; $(BIN)/python "$$bench"; done

lock: ## pin requirements/*.in again, hashes and all (needs uv; UPGRADE=1 takes newer versions)
	@command -v uv >/dev/null || { echo "lock: uv is missing: docs.astral.sh/uv says how to install it"; exit 1; }
	@for set in core inference training dev local; do \
	  echo "lock: requirements/$$set.txt"; \
	  uv pip compile --universal --python-version 3.13 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    --quiet $(if $(UPGRADE),--upgrade) requirements/$$set.in -o requirements/$$set.txt; done

clean: ## remove what was built and cached; the environments stay
	rm -rf build cdk.out .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find functions infra layers models tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements/dev.txt pyproject.toml layers/core/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null \
	  || { echo "setup: '$(PYTHON)' is not Python 3.13. Install it, or say where it is: make setup PYTHON=/path/to/python3.13"; exit 1; }
	@echo "setup: Python packages, each checked against its hash (1 of 3; a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(call pip,.venv,requirements/dev.txt)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -e layers/core
	@touch $@

.venv-local/.installed: requirements/local.txt .venv/.installed
	@echo "setup: the local AWS (2 of 3)"
	@test -x .venv-local/bin/python || $(BIN)/python -m venv .venv-local
	@$(call pip,.venv-local,requirements/local.txt)
	@touch $@

node_modules/.installed: package-lock.json
	@command -v npm >/dev/null || { echo "setup: npm is missing. Install Node 20 or newer from nodejs.org or your package manager."; exit 1; }
	@echo "setup: the CDK command line (3 of 3)"
	@npm ci --silent --no-audit --no-fund
	@touch $@
