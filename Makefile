# One door for every task. `make demo` and `make test` need only Python 3.11 or later and root.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test check lint types bench soak image clean

demo: .venv/demo.stamp  ## deploy the examples, invoke them cold and warm, show what happened
	$(BIN)/python examples/demo.py

test: .venv/dev.stamp  ## every test; what the host cannot run is named at the end
	$(BIN)/python -m pytest

check: lint types  ## what must hold before every commit
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit tests/style

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev.stamp
	$(BIN)/mypy

bench: .venv/demo.stamp  ## cold and warm starts beside their references, as ratios
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m benchmarks

soak: .venv/dev.stamp  ## the long runs: cycles, kills, bombs; prints what it counted
	LAMBDAD_SOAK_CYCLES=$${CYCLES:-10000} LAMBDAD_SOAK_KILLS=$${KILLS:-50} \
		$(BIN)/python -m pytest -s tests/soak

image:  ## a container image, by docker or podman
	$${DOCKER:-docker} build --tag lambdad .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[demo]'
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[dev]'
	touch $@ .venv/demo.stamp
