# Each target sets up what it needs; nothing but Python 3.11, pip and make has to be there.
VENV := .venv
ifndef PYTHON  # python3, or where that is this .venv's own, which is made anew, the one it was made from
PYTHON := $(or $(shell python3 -c 'import os.path, sys; \
	own = os.path.realpath(sys.prefix) == os.path.realpath("$(VENV)"); \
	print(f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}" if own else "python3")' 2>/dev/null),python3)
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE  # pytest rewrites each test and plugin anew in each process where it can't keep the result
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast faults mutations lint bench audit up lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the locked dependencies

$(READY): requirements-dev.lock pyproject.toml
	@echo "Setting up $(VENV) with the locked dependencies (once, about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Keysat needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv --without-pip --clear $(VENV)
	@$(PIP) install -qq --require-hashes --requirement requirements-dev.lock
	@$(PIP) install -qq --no-deps --editable .
	@touch $@

demo: $(READY) ## See it work: 200 invoices, every webhook lost, a worker killed
	@$(BIN)/keysat demo

test: $(READY) ## Run all tests on a real PostgreSQL and Valkey
	@echo "Running the tests on PostgreSQL and Valkey started for them ..."
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-fast: $(READY) ## Run the tests that need no server (seconds)
	@$(BIN)/python -m pytest -q -m "not servers and not slow" -n 3

faults: $(READY) ## Break everything on purpose, with figures and a seed (two hours)
	@$(BIN)/python -m tests.faults

mutations: $(READY) ## Take away what keeps invoices safe, piece by piece; each time a bar must fail
	@$(BIN)/python -m tests.faults.mutations

lint: $(READY) ## Style, types and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## Measure: claims among a million invoices, the rate of reconciling
	@$(BIN)/python -m tests.bench

audit: ## Look up the locked dependencies in the advisory database
	@$(PYTHON) -m venv --without-pip --clear $(VENV)-audit
	@$(PYTHON) -m pip --python $(VENV)-audit/bin/python install --quiet --disable-pip-version-check pip-audit
	@$(VENV)-audit/bin/pip-audit --requirement requirements.lock --disable-pip --require-hashes --strict; \
		status=$$?; rm -rf $(VENV)-audit; exit $$status

up: $(READY) ## Start Keysat here: servers, worker, beat, Flower
	@$(BIN)/keysat up

lock: ## Renew the lock files from pyproject.toml
	@$(PYTHON) -m venv --without-pip --clear $(VENV)-lock
	@$(PYTHON) -m pip --python $(VENV)-lock/bin/python install --quiet uv
	@$(VENV)-lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --extra flower --extra lightning --output-file requirements.lock
	@$(VENV)-lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --all-extras --group dev --output-file requirements-dev.lock
	@rm -rf $(VENV)-lock

clean: ## Remove what the other targets created
	@rm -rf $(VENV) $(VENV)-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
