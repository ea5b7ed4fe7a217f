# make train: set everything up and run the default experiment. make test: the same for the tests.
# make docs: builds the documentation into docs/_build/html. make doctor: checks the installation and the machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n logical --dist worksteal $(ARGS)

.PHONY: train test test-slow lint check format docs doctor clean

train: $(VENV)/core
	$(BIN)/python scripts/train.py

test: $(VENV)/dev
	$(PYTEST)

test-slow: $(VENV)/dev
	$(PYTEST) -m slow

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(PYTEST) -m "not slow and not process"

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

# Installs nothing: it says what is missing.
doctor:
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) scripts/doctor.py

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

# --no-compile: Python compiles the few modules that are imported, pip would compile all
$(VENV)/dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e ".[dev]"
	touch $@
