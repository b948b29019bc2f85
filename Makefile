# make up: the whole system on an embedded Kafka.  make test: all tests.  make help: the rest.
.DEFAULT_GOAL := help
.PHONY: help up test test-fast test-pythons lint documents chaos bench clean

# The first of these that is Python 3.11 or newer; PYTHON=… on the command line chooses another.
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
SEEDS ?= 3
FIRST_SEED ?= 1
# How many test files run beside each other, each with a broker of its own.
JOBS ?= 2
PYTEST := .venv/bin/python -m pytest

help:
	@echo "make up         run everything on an embedded Apache Kafka, on http://127.0.0.1:8080"
	@echo "make test       all tests, embedded Kafka included"
	@echo "make test-fast  the tests without Kafka, in seconds"
	@echo "make test-pythons  the same on every Python that is here: 3.11, 3.12, 3.13"
	@echo "make lint       format check, lint, types, import rules"
	@echo "make documents  write the OpenAPI and AsyncAPI documents anew"
	@echo "make chaos      kill processes at random and count what is lost (SEEDS=20 FIRST_SEED=1: an hour)"
	@echo "make bench      measure throughput and latency (minutes)"
	@echo "make clean      remove .venv, caches and the data of make up"

# Also made anew when the dependencies change.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; say where: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt .venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

up: .venv/installed
	@exec .venv/bin/linkstatus up

test: .venv/installed
	$(PYTEST) -n $(JOBS) --dist loadfile -m "not alone and not chaos and not bench and not contract"
	$(PYTEST) -m "alone and not chaos and not bench and not contract"

test-fast: .venv/installed
	$(PYTEST) -n auto --hypothesis-profile quick -m "not kafka and not slow and not style and not chaos and not bench and not contract"

test-pythons: .venv/installed
	.venv/bin/python -m nox

lint: .venv/installed
	$(PYTEST) -q -m style

documents: .venv/installed
	.venv/bin/python -m connectors.documents

chaos: .venv/installed
	.venv/bin/python -m tests.chaos --seeds $(SEEDS) --first-seed $(FIRST_SEED)

# Quix Streams, which is measured beside ours, pins an older confluent-kafka.
.venv-bench/installed: constraints-bench.txt
	$(PYTHON) -m venv .venv-bench
	PIP_CONSTRAINT=$(CURDIR)/constraints-bench.txt .venv-bench/bin/python -m pip install --disable-pip-version-check \
		quixstreams fastavro httpx iso4217 opentelemetry-api orjson prometheus-client psutil pydantic truelayer-signing
	@touch $@

bench: .venv/installed .venv-bench/installed
	.venv/bin/python -m tests.bench

clean:
	rm -rf .venv .venv-bench .nox .linkstatus .chaos .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
