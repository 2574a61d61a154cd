# `make demo` and `make test` need git, make and Python >= 3.11 with venv; they make .venv themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench format clean

demo: .venv/installed
	$(BIN)/gristmill orders run

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/pytest

bench: .venv/installed
	$(BIN)/python bench/messaging.py
	$(BIN)/python bench/orders.py
	$(BIN)/python bench/recovery.py

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gristmill needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Installing gristmill and its tools into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .gristmill
