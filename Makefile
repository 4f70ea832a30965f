# Everything a newcomer needs: `make` lists the targets. The only thing expected of the machine is Python 3.11+.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Tests and demo start hundreds of processes: each would compile our sources again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready

# No registry's address may enter a lock file.
COMPILE := CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

# What `make demo` understands; empty means the default.
EVENTS ?=
INPUT ?=
FORMAT ?=
JSON ?=
KEEP ?=
SEED ?=
TRIES ?=
# A worker that KEEP=1 left running; with SEVENP_MONGODB_URI and SEVENP_KAFKA_BOOTSTRAP_SERVERS as it printed them.
WORKER_URL ?=
# On named servers: 1 for the database prefix, topic, group and channels of your settings instead of the demo's own.
AS_CONFIGURED ?=
# The Kafka of the demo: embedded (the default), or apache, which needs Java 17 and Maven.
STACK ?=
# What `make test`, `make test-all`, `make test-kafka` and `make test-containers` hand to pytest, for example TESTS="tests/unit -k fold".
TESTS ?=
# What `make chaos` and `make chaos-full` hand on: a seed to repeat, where the JSON report goes, how long a full run lasts.
CHAOS_REPORT ?=
SECONDS ?= 1800
# Only so many crash points, drawn anew each time, and no storm.
MOST ?=
# How many tests run at a time. Half of their time they wait: more of them than there are cores. On Apache Kafka and
# on containers each has a server that takes a core to start.
JOBS ?=
AT_A_TIME = $(or $(JOBS),6)
AT_A_TIME_ON_JAVA = $(or $(JOBS),4)

# pip's own words are two lines a package, and none at all when it is quiet: one line, which counts.
SHOW_PROGRESS = { total=$$(grep -c '^[a-z].*==' requirements.lock); n=0; if [ -t 1 ]; then end='\r'; else end='\n'; fi; \
	while read -r verb name _; do case $$verb in \
		Collecting) n=$$((n + 1)); if [ -t 1 ] || [ $$((n % 10)) = 0 ] || [ $$n = $$total ]; then \
			printf "  %3d of %d  %-40.40s$$end" $$n $$total "$${name%%==*}"; fi ;; \
		Installing) printf "  unpacking                                         $$end" ;; \
		Successfully) if [ "$$name" = installed ]; then printf "  installed                                         \n"; fi ;; \
	esac; done; }

.PHONY: help env demo test test-all test-kafka test-containers chaos chaos-full replay migration recovery bench bench-full alerts dashboards draw-dashboards check format lock bench-lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

env: $(READY) ## make the environment in .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or name it with PYTHON=..." >&2; exit 2; }
	@echo "Installing into .venv, once: about a minute, and $$(grep -c '^[a-z].*==' requirements.lock) packages."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
		--requirement requirements.lock | $(SHOW_PROGRESS)
	@# setuptools warns of every editable package that folders of its name would come first in an import; they are the package.
	@PYTHONWARNINGS='ignore:Editable installation' \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## all on real parts: EVENTS= SEED= | INPUT= FORMAT=; JSON= KEEP=1 STACK=apache AS_CONFIGURED=1
	@$(BIN)/sevenp-worker demo \
		$(if $(EVENTS),--events '$(EVENTS)') $(if $(INPUT),--input '$(INPUT)') $(if $(FORMAT),--format '$(FORMAT)') \
		$(if $(JSON),--json '$(JSON)') $(if $(SEED),--seed '$(SEED)') $(if $(filter-out 0,$(KEEP)),--keep) \
		$(if $(WORKER_URL),--worker-url '$(WORKER_URL)') $(if $(STACK),--stack '$(STACK)') \
		$(if $(filter-out 0,$(AS_CONFIGURED)),--as-configured)

# One test at a time to whoever is free, in the order of the folders: the long ones come first.
PYTEST := $(BIN)/python -m pytest
SPREAD = --numprocesses $(AT_A_TIME) --dist load --maxschedchunk 1

test: $(READY) ## the tests for every day on the embedded stack, or those you name: TESTS="tests/unit -k fold"
	$(PYTEST) $(SPREAD) $(or $(TESTS),-m "not slow and not long")

test-all: $(READY) ## all tests on the embedded stack, the slow and the long ones, too
	$(PYTEST) $(SPREAD) $(TESTS)

test-kafka: $(READY) ## the integration tests on Apache Kafka, and those that only it can run; needs Java 17 and Maven
	$(BIN)/python -m pytest --stack apache --numprocesses $(AT_A_TIME_ON_JAVA) --dist loadfile $(or $(TESTS),tests/integration tests/apache tests/chaos/test_sigkill.py)

test-containers: $(READY) ## the integration tests on containers; needs Docker and its images, see docs/testing.md
	$(BIN)/python -m pytest --stack containers --numprocesses $(AT_A_TIME_ON_JAVA) --dist loadfile $(or $(TESTS),tests/integration tests/chaos)

CHAOS = $(BIN)/python -m tests.chaos $(if $(SEED),--seed '$(SEED)') $(if $(CHAOS_REPORT),--json '$(CHAOS_REPORT)') $(if $(MOST),--only points --most '$(MOST)')

chaos: $(READY) ## die at every write, then at random, and lose nothing: SEED= CHAOS_REPORT=file MOST=24; Apache Kafka where there is Java
	@$(CHAOS)

chaos-full: $(READY) ## the same with mongod killed at every write, lost replies, pairs, and a soak: SECONDS=1800 SEED= CHAOS_REPORT=
	@$(CHAOS) --seconds '$(SECONDS)'

replay: $(READY) ## rebuild a whole history under load, killed ten times, and take a wrong fold back: EVENTS=500000 LEARNERS=20000
	@$(BIN)/python -m tests.replay $(if $(EVENTS),--events '$(EVENTS)') $(if $(LEARNERS),--learners '$(LEARNERS)')

migration: $(READY) ## give a course other lessons under load, killed five times on the way: LEARNERS=20000
	@$(BIN)/python -m tests.migration $(if $(LEARNERS),--learners '$(LEARNERS)')

recovery: $(READY) ## seconds until events flow again after a kill, on Apache Kafka: TRIES=20 JSON=
	@$(BIN)/python -m bench.recovery $(if $(TRIES),--tries '$(TRIES)') $(if $(JSON),--json '$(JSON)')

# The peers that the worker is compared with have an environment of their own: none of them is a dependency of ours.
PEERS := bench/.venv/.ready

$(PEERS): bench/requirements.lock
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install --quiet --require-hashes --requirement bench/requirements.lock
	@touch $@

# For both: events and rounds, where others than the defaults are wanted.
ROUNDS ?=
BENCH = $(BIN)/python -m bench $(if $(EVENTS),--events '$(EVENTS)') $(if $(ROUNDS),--rounds '$(ROUNDS)')

bench: $(READY) $(PEERS) ## speed with few and many learners, beside others, within 8 minutes, into docs/benchmarks: EVENTS= ROUNDS=
	@$(BENCH)

bench-full: $(READY) $(PEERS) ## the same in rounds, and every other goal; within 50 minutes: EVENTS= ROUNDS=
	@$(BENCH) --full

alerts: $(READY) ## the alerts for Prometheus, checked and tested by promtool, which is fetched from Debian where it is absent
	@tools=$$($(BIN)/python -m tests.support.prometheus); set -x; \
		"$$tools/promtool" check config deploy/prometheus/prometheus.yml; \
		"$$tools/promtool" test rules deploy/prometheus/tests/*.yaml
# Grafana is not needed for either: the first writes what it reads, the second asks a real Prometheus and draws the answers.
dashboards: $(READY) ## write Grafana's dashboards into deploy/grafana/dashboards
	@$(BIN)/python -m dashboards

draw-dashboards: $(READY) $(PEERS) ## draw them from the queries, after four minutes of a real run, into docs/dashboards
	@$(BIN)/python -m tests.dashboards

check: $(READY) ## format, lint, types, import directions, sizes; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/unit/test_house.py

format: $(READY) ## put the sources into their one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY) ## resolve pyproject.toml again, with hashes: everything for work, and what the image needs
	$(COMPILE) --extra embedded --extra motor --extra otel --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --build-deps-for wheel --output-file deploy/requirements.lock pyproject.toml

bench-lock: $(READY) ## resolve bench/requirements.in again, with hashes
	$(subst make lock,make bench-lock,$(COMPILE)) --output-file bench/requirements.lock bench/requirements.in

clean: ## remove the environment and everything made
	rm -rf .venv bench/.venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
