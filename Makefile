# make up: the whole system on an embedded Kafka.  make test: the tests.  make help: all targets.
.DEFAULT_GOAL := help
.PHONY: help up test test-long test-fast test-pythons lint documents chaos simulate flood fuzz bench clean

# The first of these that is Python 3.11 or newer; `make PYTHON=…` chooses another.
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
SEEDS ?= 3
FIRST_SEED ?= 1
# 1, or 3 that replicate.
BROKERS ?= 1
SECONDS ?= 600
# Empty for a random one, which the run prints.
SEED ?=
# How many test processes run in parallel, each with its own broker. The tests on Kafka wait for more
# than half of their time: two processes leave two cores idle half the time.
JOBS ?= 4
PYTEST := .venv/bin/python -m pytest

help:
	@echo "make up            run the whole system on an embedded Apache Kafka, on http://127.0.0.1:8080"
	@echo "make test          the tests, those on the embedded Kafka included (10 to 25 minutes)"
	@echo "make test-long     the tests of whole systems that take minutes each"
	@echo "make test-fast     the tests that need no Kafka, in seconds"
	@echo "make test-pythons  the same on every installed Python of 3.11, 3.12 and 3.13"
	@echo "make lint          ruff, format check, mypy, import layers"
	@echo "make documents     write asyncapi.json from the code"
	@echo "make chaos         break processes, network, clocks and disks, and count what is lost (SEEDS=20 takes an hour; BROKERS=3)"
	@echo "make simulate      run SEEDS=1000 simulated clusters with faults, and print what fails"
	@echo "make flood         measure how honest claims pass through 500 forged ones a second"
	@echo "make fuzz          send generated requests and records for SECONDS=600, and look inside; SEED= repeats a run"
	@echo "make bench         measure throughput and latency (takes minutes)"
	@echo "make clean         remove the virtual environments, the caches and the data of make up"

# A change of the dependencies installs them again.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; say where: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt .venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

up: .venv/installed
	@exec .venv/bin/linkstatus up

test: .venv/installed
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 20 -m "not alone and not long and not chaos and not bench and not contract"
	$(PYTEST) --durations 20 -m "alone and not long and not chaos and not bench and not contract"

test-long: .venv/installed
	$(PYTEST) --durations 20 -m long

test-fast: .venv/installed
	$(PYTEST) -n auto --hypothesis-profile quick -m "not kafka and not slow and not long and not chaos and not bench and not contract"

test-pythons: .venv/installed
	.venv/bin/python -m nox

# .pre-commit-config.yaml has the same commands.
lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

documents: .venv/installed
	.venv/bin/python -m connectors.specs

flood: .venv/installed
	FLOOD_RATE=500 FLOOD_SECONDS=60 $(PYTEST) -s tests/e2e/test_flood.py

chaos: .venv/installed
	.venv/bin/python -m tests.chaos --seeds $(SEEDS) --first-seed $(FIRST_SEED) --brokers $(BROKERS)

simulate: .venv/installed
	.venv/bin/python -m tests.simulation --seeds $(SEEDS) --first-seed $(FIRST_SEED)

fuzz: .venv/installed
	$(PYTEST) -s -o timeout=0 tests/e2e/test_fuzz.py --fuzz-seconds $(SECONDS) --fuzz-seed "$(SEED)"

# The benchmark compares with Quix Streams, which pins an older confluent-kafka.
.venv-bench/installed: constraints-bench.txt
	$(PYTHON) -m venv .venv-bench
	PIP_CONSTRAINT=$(CURDIR)/constraints-bench.txt .venv-bench/bin/python -m pip install --disable-pip-version-check \
		quixstreams fastavro httpx iso4217 opentelemetry-api orjson prometheus-client psutil pydantic truelayer-signing
	@touch $@

bench: .venv/installed .venv-bench/installed
	$(PYTEST) -m bench
	.venv/bin/python -m tests.bench

clean:
	rm -rf .venv .venv-bench .nox .linkstatus .chaos .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
