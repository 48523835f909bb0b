# Two commands: `make demo` and `make test`. Each begins on a bare machine and makes what it needs.
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell sha256sum pyproject.toml | cut -c1-12)
DEMO := demo
# Two at a time keep two cores busy, with the types beside them.
WORKERS ?= 2

.PHONY: help demo test thorough lint types platforms docs benchmarks clean

help:
	@echo "make demo        a whole session on this computer: evolve images for six simulated V4 sites"
	@echo "make test        everything that must hold: style, types, import contracts, tests"
	@echo "make thorough    the same with the longest tests, and kills and restarts many more times"
	@echo "make platforms   what can be checked of Windows and macOS from here: types, wheels"
	@echo "make docs        the documentation as a site, in site/; warnings are errors"
	@echo "make benchmarks  measure, and write benchmarks/RESULTS.md"

demo: $(READY)
	@rm -rf $(DEMO)
	@$(BIN)/synth-server dry-run --seed 1 --sites 6 --generations 30 --population 30 --out $(DEMO)

test: $(READY) lint
	@scripts/test.sh $(BIN) $(WORKERS)

thorough: export STIMLOOP_THOROUGH = 1
thorough: test

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy && $(BIN)/mypy --platform win32 && $(BIN)/mypy --platform darwin

platforms: $(READY)
	@scripts/check_platforms.sh $(VENV)

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "site/index.html"

benchmarks: $(READY)
	@$(BIN)/python -m benchmarks

$(READY): pyproject.toml scripts/setup.sh
	@scripts/setup.sh $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
