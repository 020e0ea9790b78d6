# Everything here works on a fresh machine with git, make and Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PROMPT ?= a red fox in the snow --n 4 --steps 8

.PHONY: setup demo run test lint format bench clean

setup: .venv/ready

.venv/ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed, set PYTHON=…"; exit 1; }
	@echo "Making .venv. PyTorch is the large part; this takes a minute or two."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on torch==2.13.0
	$(BIN)/python -m pip install --progress-bar on --editable '.[machine,gpu,modal]' --group dev
	@touch $@


demo: setup
	@$(BIN)/python -m tests.demo "$$PROMPT"

run: setup
	@$(BIN)/imagine serve

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m bench.picture
	$(BIN)/python -m bench.ack

clean:
	rm -rf .venv .demo .cache
