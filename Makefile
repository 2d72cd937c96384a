# Everything runs in .venv, made on first use from pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: demo test check bench proto clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("dmi-toolkit needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]' --group dev
	@touch $@

demo: $(STAMP) ## the main job: simulator, manager and mapper on embedded defaults
	@$(BIN)/dmi demo

test: $(STAMP) ## all the tests
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(PYTEST_ARGS)

check: $(STAMP) ## exactly what CI runs
	@./check

bench: $(STAMP) ## measurements as JSON, beside the bare libraries
	@$(BIN)/python -m benchmarks

proto: $(STAMP) ## generate the committed protobuf code
	@$(BIN)/python scripts/generate_stubs.py

clean: ## remove everything made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage* htmlcov
