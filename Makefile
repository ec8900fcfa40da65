# `make` lists what there is. Everything is installed into .venv from the locks; a second call installs nothing.

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# The first Python on the PATH that is new enough; or say which one: make demo PYTHON=/path/to/python3.12
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c $(IS_SUPPORTED) 2>/dev/null && echo $(name))))
IS_SUPPORTED := 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
# More arguments for pytest: make test ARGS="-k lifetime"
ARGS ?=

# Compiling every package ahead costs a first `make demo`, install included, 17 -> 23 CPU seconds: Python compiles what it
# imports anyway and keeps it. It pays only where Python is told to keep nothing: first demo 42 -> 36 s, each later 30 -> 12.
ifdef PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1
endif

INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL_PROJECT := $(INSTALL) --no-deps --no-build-isolation --editable .
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade
# What papermill and a new kernel write into a notebook and git must not keep.
STRIP := $(BIN)/nbstripout --extra-keys "metadata.papermill metadata.language_info.version cell.metadata.papermill"

CHROMIUM := $(firstword $(shell command -v chromium chromium-browser google-chrome 2>/dev/null))
FAST := not slow$(if $(CHROMIUM),, and not browser)

.DEFAULT_GOAL := help
.PHONY: help demo test check study fuzz environments bench lab strip lock

help:  ## list what there is
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

demo: $(VENV)/.runtime  ## the whole way: simulated telecom, test, readout, report
	@$(BIN)/winback demo
	@echo 'To go on with your own test: source $(BIN)/activate, then winback --help'

test: $(VENV)/.dev  ## every test but the studies, and the examples in the docs
	@$(if $(CHROMIUM),:,echo 'No chromium on the PATH: the browser tests are left out.')
	@$(BIN)/pytest -n 2 --dist worksteal -m "$(FAST)" $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, order of the packages, notebooks without outputs
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(if $(wildcard notebooks/*.ipynb),$(STRIP) --verify notebooks/*.ipynb,:)

study: $(VENV)/.dev  ## the slow tests: how often an interval covers the known truth
	@$(BIN)/pytest -n 2 -m slow $(ARGS)

fuzz: $(VENV)/.dev  ## ten thousand spoilt tables, answer files and sheets: read, or refused in words
	@$(BIN)/python tests/study/fuzz.py $(ARGS)

environments: $(VENV)/.dev  ## the tests with other BLAS, vectors, threads, hash seeds, time zones
	@tests/study/environments.sh $(ARGS)

bench: $(VENV)/.dev  ## every benchmark: ratios of time and memory
	@$(foreach script,$(wildcard benchmarks/*.py),echo '== $(script)' && $(BIN)/python $(script) &&) :

lab: $(VENV)/.runtime  ## open the notebooks in JupyterLab
	@$(BIN)/winback lab

strip: $(VENV)/.dev  ## take the outputs out of the notebooks and format everything
	@$(if $(wildcard notebooks/*.ipynb),$(STRIP) notebooks/*.ipynb,:)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: $(VENV)/.uv  ## renew both locks
	$(LOCK) --group build --output-file requirements.lock pyproject.toml
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

# Stamps: a file in .venv says what is installed there.
$(VENV)/.uv:
	@$(if $(PYTHON),:,echo 'winback needs Python 3.11, 3.12 or 3.13. Install one, or name it: make demo PYTHON=/path/to/python3.12' && false)
	@$(PYTHON) -c $(IS_SUPPORTED) || { echo '$(PYTHON) is not Python 3.11, 3.12 or 3.13.'; false; }
	@echo 'Making an environment in $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.uv
	@echo 'Installing from requirements.lock'
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL_PROJECT)
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.uv
	@echo 'Installing from requirements-dev.lock'
	@$(INSTALL) --require-hashes --requirement requirements-dev.lock
	@$(INSTALL_PROJECT)
	@touch $@ $(VENV)/.runtime
