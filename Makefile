# `make demo` shows the main job, `make check` runs every test and linter.
# Both set up what they need in .venv; nothing is installed anywhere else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header

.PHONY: help demo check test lint types imports format bench soak wheels docs messages lock clean

help:
	@echo "make demo    the main job on the files in examples/"
	@echo "make check   all tests and linters"
	@echo "make bench   benchmarks (SCALE=0.1 for a tenth)"
	@echo "make soak    long fault tests, about half an hour"
	@echo "make wheels  a bundle to install from without a network"
	@echo "make docs    docs/findings.md and docs/cli.md made anew"
	@echo "make messages  the translation catalogues brought up to date"
	@echo "make lock    newest dependencies into the lock files"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python requirements.lock requirements-build.lock pyproject.toml
	$(PIP) install --no-deps --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/extras.stamp: $(VENV)/run.stamp requirements-extras.lock
	$(PIP) install --no-deps --require-hashes -r requirements-extras.lock
	@touch $@

demo: $(VENV)/extras.stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

check: lint types imports test

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist worksteal --timeout 600 --cov --cov-report=term

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

SCALE ?= 1
bench: $(VENV)/dev.stamp
	@mkdir -p build
	@missed=0; run() { echo "$$*"; $(BIN)/python -m "$$@" || missed=1; }; \
	run benchmarks.seal build/seal.md build/seal.json; \
	run benchmarks.vault --scale $(SCALE) build/vault.md build/vault.json; \
	run benchmarks.identify --scale $(SCALE) build/identify.md build/identify.json; \
	run benchmarks.search --scale $(SCALE) build/search.md build/search.json; \
	run benchmarks.watch --scale $(SCALE) --place build build/watch.md build/watch.json; \
	run benchmarks.watch_detect --seconds 120 build/detect.md build/detect.json; \
	run benchmarks --scale $(SCALE) --markdown build/benchmarks.md --json build/benchmarks.json; \
	exit $$missed

soak: $(VENV)/dev.stamp
	@mkdir -p build
	ARCHIVER_SOAK=1 ARCHIVER_SOAK_REPORT="$(CURDIR)/build/soak.json" \
		$(BIN)/python -m pytest tests/faults tests/bag/test_roundtrip.py -n auto --timeout 3600

wheels: $(VENV)/dev.stamp
	$(BIN)/python tools/make_wheels.py dist/bundle

docs: $(VENV)/dev.stamp
	$(BIN)/python tools/make_docs.py

messages: $(VENV)/dev.stamp
	$(BIN)/python tools/make_messages.py

lock: $(VENV)/dev.stamp
	$(COMPILE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --all-extras --constraint requirements.lock --output-file requirements-extras.lock \
		pyproject.toml
	$(COMPILE) --output-file requirements-build.lock requirements-build.in
	$(COMPILE) --output-file requirements-dev.lock requirements-dev.in pyproject.toml

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
