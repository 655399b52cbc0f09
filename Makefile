# One door for every task. `make demo` and `make test` need only Python 3.11 or later and root.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt --editable

# The real clients that tests/clients runs: from PyPI, npm and crates.io, kept here.
CLIENTS := .venv/clients
NODE = $(patsubst %/bin/node,%,$(realpath $(shell command -v node)))
needs = @for needed in $(1); do command -v $$needed >/dev/null || test -f $$needed || { \
	echo "cannot install the clients without $$needed, as from Debian's $(2)" >&2; exit 1; }; done

.PHONY: demo test check lint types bench soak clients image clean

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

bench: .venv/demo.stamp  ## promises and goals about speed, beside their references, as ratios
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m benchmarks

soak: .venv/dev.stamp  ## the long runs: cycles, kills, bombs, a thousand idle; prints what it counted
	LAMBDAD_SOAK_CYCLES=$${CYCLES:-10000} LAMBDAD_SOAK_KILLS=$${KILLS:-50} \
		LAMBDAD_SOAK_IDLE=$${IDLE:-1000} \
		$(BIN)/python -m pytest -s tests/soak

clients: $(addprefix $(CLIENTS)/,python.stamp pandas.stamp node.stamp watcher.stamp sam.stamp)  ## real clients, for tests/clients
	$(call needs,/usr/bin/aws,awscli)

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

$(CLIENTS)/python.stamp: tests/clients/python.txt constraints.txt | .venv/bin/python
	$(call needs,/usr/bin/python3,python3)
	rm -rf $(basename $@)
	$(PIP) install --target $(basename $@) --requirement $< --constraint constraints.txt \
		--only-binary :all: --python-version $$(/usr/bin/python3 -c 'import sys; print(*sys.version_info[:2], sep=".")')
	touch $@

# For a Python that can be restored from a snapshot; the stamp says which.
$(CLIENTS)/pandas.stamp: tests/clients/pandas.txt constraints.txt | .venv/demo.stamp
	rm -rf $(basename $@)
	version=$$($(BIN)/python -c 'from lambdad.code.runtimes import find_python as found; \
		print(next(filter(found, ("3.14", "3.13", "3.12")), "3.12"))') && \
	$(PIP) install --target $(basename $@) --requirement $< --constraint constraints.txt \
		--only-binary :all: --python-version $$version && echo $$version >$@
	find $(basename $@) -name tests -type d -prune -exec rm -rf {} +  # so that it fits a request

$(CLIENTS)/sam.stamp: tests/clients/sam.txt | .venv/bin/python
	$(BIN)/python -m venv --clear $(basename $@)
	$(basename $@)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(CLIENTS)/node.stamp: tests/clients/package.json
	$(call needs,node npm $(NODE)/include/node/node.h,nodejs npm libnode-dev)
	$(call needs,make cmake g++ autoconf automake libtoolize,make cmake g++ autoconf automake libtool)
	mkdir -p $(basename $@)
	cp $< $(basename $@)
	cd $(basename $@) && npm_config_nodedir=$(NODE) npm install --no-package-lock --loglevel=error
	touch $@

$(CLIENTS)/watcher.stamp: tests/clients/watcher/Cargo.toml tests/clients/watcher/src/main.rs
	$(call needs,cargo cc,cargo gcc)
	mkdir -p $(CLIENTS)
	cp -R tests/clients/watcher $(CLIENTS)
	cargo build --quiet --release --manifest-path $(basename $@)/Cargo.toml
	touch $@
