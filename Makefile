# make train: set everything up and run the default experiment. make test: the same for the tests.
# make docs: builds the documentation into docs/_build/html. make doctor: checks the installation and the machine.
# make train CPU=1, and so for every target: install PyTorch without CUDA, from PyTorch's own package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n logical --dist worksteal $(ARGS)
INDEX := $(if $(CPU),--extra-index-url https://download.pytorch.org/whl/cpu)

# On Linux, pip installs PyTorch with CUDA, unless it is configured otherwise or has a build already.
ifeq ($(shell uname)$(CPU)$(wildcard $(VENV)/lib/*/site-packages/torch)$(shell command -v nvidia-smi),Linux)
ADVICE = echo "CUDA for PyTorch is 3 GB more; without a GPU, press Ctrl-C and type: make $(MAKECMDGOALS) CPU=1";
endif

# $(call install,ABOUT,PIP'S ARGUMENTS): a terminal shows pip's progress, a log only what is installed.
define install
@echo "installing $(1) into $(VENV), which takes a minute or two"; $(ADVICE) \
	[ -t 1 ] || quiet=--quiet; $(BIN)/pip install $$quiet $(INDEX) -c constraints.txt $(2)
endef

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
	$(call install,PyTorch and what training needs (250 MB to download),-e .)
	touch $@

# --no-compile: Python compiles the few modules that are imported, pip would compile all
$(VENV)/dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(call install,PyTorch and the development tools (600 MB to download),--no-compile -e ".[dev]")
	touch $@
