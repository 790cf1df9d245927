# Every command a developer needs. Needs make, Python 3.11-3.13 and, for `make test`, C and C++ compilers.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo demo-full test types wheel dist docs man tests fuzz fuzz-guided hardening bench bench-quick format house map picture screenshots links lock audit licences sbom clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CORE := $(VENV)/core.stamp
FULL := $(VENV)/full.stamp
TESTS := $(VENV)/test.stamp
STEP := .ci/step

help:  ## what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(CORE)  ## set up the light core in .venv and analyse the bundled posts
	@$(BIN)/hybrid-mmsa demo

demo-full: $(FULL)  ## the same with torch and a small reasoner (0.1 GB, from pip's index), which is asked about deferred posts
	@$(BIN)/hybrid-mmsa models pull smol
	@$(BIN)/hybrid-mmsa demo --reasoner smol
	@echo 'The words of the ironic post by themselves, which are deferred:'
	@$(BIN)/hybrid-mmsa analyze --reasoner smol --explain full \
		'Oh great, the "sea view" I paid extra for. Just love staring at bricks all week 🙄 #BestHolidayEver'

test: $(TESTS)  ## set up everything and run every check
	@$(STEP) "format" $(BIN)/ruff format --check .
	@$(STEP) "lint" $(BIN)/ruff check .
	@$(MAKE) --jobs=3 types wheel tests

types: $(TESTS)
	@$(STEP) "types" $(BIN)/mypy

wheel: $(TESTS)
	@$(STEP) "wheel, used outside the checkout" .ci/wheel $(BIN)/python

# Every file's tests run in one process, the files in `WORKERS` of them; `tests/conftest.py` says in which order.
# Compiled modules are kept, whatever the shell says: the tests start many short processes.
WORKERS ?= 2
tests: $(TESTS)
	@PYTHONDONTWRITEBYTECODE= $(STEP) "tests" $(BIN)/python -m pytest \
		--numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --durations=15

# First the tests that draw untrusted inputs (texts, pictures, rows, files of posts, answers of models, cut journals), each with so
# many of them and other ones every time; `make test` draws the same few each time. Then atheris changes the files of
# `tests/fuzz/corpus`, led by the code that they reach. A failure prints how to meet it again.
EXAMPLES ?= 2000
DRAWN := any_file answers cli_batch data_posts inputs_image inputs_rewording inputs_sample inputs_text language line_file prompts transcript video
fuzz: $(TESTS)  ## draw many more inputs (EXAMPLES=2000 a test), then guided ones (FUZZ_SECONDS=60 a target); some 20 minutes
	@HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(EXAMPLES) $(STEP) "fuzz" $(BIN)/python -m pytest --quiet $(DRAWN:%=tests/test_%.py)
	@$(MAKE) fuzz-guided

# The second part alone (FUZZ_TARGETS="text rows" names some of its targets). atheris lies beside the tests' packages, not among them: it is installed from the package registry, once.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
build/atheris/atheris: | $(TESTS)
	@$(PIP) install -qq --only-binary :all: --target build/atheris atheris==3.0.0
	@touch $@

fuzz-guided: $(TESTS) build/atheris/atheris
	@PYTHONPATH=build/atheris $(STEP) "guided fuzz" $(BIN)/python tests/fuzz/fuzz.py guided --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

hardening: $(TESTS)  ## hostile input by the thousand, kills, threads, a soak, traces; writes eval/HARDENING.md (about an hour)
	@$(STEP) "hardening" $(BIN)/python eval/bench/hardening/hardening.py --save

bench: $(TESTS)  ## speed and size beside a ViT-B/32 CLIP in torch; how both grow, with plots in build/bench.html
	@$(BIN)/python eval/bench/speed/bench.py
	@$(BIN)/python eval/bench/speed/growth.py --page build/bench.html

# Ratios of times that follow each other at once, twice where the first says slower: it can run on a busy machine.
# On a machine of another kind, a wider MARGIN leaves room for what its processor makes of them.
MARGIN ?= 1.15
bench-quick: $(TESTS)  ## is it slower than the committed record? ratios alone, a minute or some
	@$(STEP) "speed beside the record" $(BIN)/python eval/bench/speed/quick.py --check --margin $(MARGIN)

format: $(TESTS)  ## rewrite the sources in house style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

map:  ## print the files of the package, each with its opening sentence
	@$(PYTHON) .ci/filemap

house:  ## print rooms, long files and functions of many parameters
	@$(PYTHON) .ci/house

# The site, in an environment of its own: the reference is read from the sources, and nothing of ours is imported.
build/docs-env/docs.stamp: requirements/docs.lock
	@$(PYTHON) -m venv build/docs-env
	@$(STEP) "packages for the site" build/docs-env/bin/python -m pip --disable-pip-version-check install -qq --require-hashes \
		-r requirements/docs.lock
	@touch $@

docs: build/docs-env/docs.stamp screenshots  ## build the site into build/site; warnings and dead links fail
	@$(STEP) "site" env NO_MKDOCS_2_WARNING=1 build/docs-env/bin/python .ci/site

screenshots: $(CORE)  ## draw the analyst's page into build/screenshots, where Chromium is installed; the site shows it
	@$(STEP) "screenshots" $(BIN)/python .ci/screenshots build/screenshots

links: $(CORE)  ## ask every address that the documents link to whether it is still there (asks the internet)
	@$(STEP) "links" $(BIN)/python .ci/links

man: $(CORE)  ## write the manual page, made of the help, to build/hybrid-mmsa.1
	@mkdir -p build && $(BIN)/python .ci/manpage > build/hybrid-mmsa.1

dist: $(CORE)  ## build the source distribution, and from it the wheel, into build/dist
	@$(STEP) "source distribution and its wheel" .ci/dist $(BIN)/python

picture: $(CORE)  ## draw the README's picture again from the sample posts
	@$(BIN)/python .ci/picture

# Tools in an environment of their own: they are installed from the package registry, once.
build/audit-env/bin/pip-audit:
	@python3.11 -m venv build/audit-env
	@build/audit-env/bin/python -m pip --disable-pip-version-check install -qq pip-audit==2.10.1 cyclonedx-bom==7.5.0

audit: build/audit-env/bin/pip-audit  ## look the locked versions up among known weaknesses (asks pypi.org)
	@for lock in core full test; do $(STEP) "$$lock.lock" build/audit-env/bin/pip-audit --disable-pip --require-hashes \
		--requirement requirements/$$lock.lock; done

licences: $(TESTS) build/docs-env/docs.stamp  ## check the licences of all locked packages against requirements/licences.toml
	@$(STEP) "licences" $(BIN)/python .ci/licences core full serve test
	@$(STEP) "licences of the site's packages" build/docs-env/bin/python .ci/licences docs

sbom: build/audit-env/bin/pip-audit wheel  ## list what the wheel brings, with licences, in build/sbom.cdx.json (offline)
	@build/audit-env/bin/cyclonedx-py environment build/wheel/env/bin/python --pyproject pyproject.toml \
		--output-reproducible -o build/sbom.cdx.json

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist .ruff_cache

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11, 3.12 or 3.13 is needed and none was found; name one: make demo PYTHON=..." >&2; exit 1; fi
	@$(STEP) "environment in $(VENV)" $(PYTHON) -m venv $(VENV)

$(CORE): requirements/core.lock pyproject.toml hybrid_mmsa/_version.py | $(VENV)/bin/python
	@$(STEP) "light core" $(PIP) install -qq --require-hashes -r requirements/core.lock
	@$(PIP) install -qq --no-build-isolation --no-deps --editable .
	@touch $@

$(FULL): requirements/full.lock $(CORE)
	@$(STEP) "packages for reasoners (torch is large: some minutes)" \
		$(PIP) install -qq --require-hashes -r requirements/full.lock
	@$(PIP) check
	@touch $@

$(TESTS): requirements/test.lock $(CORE)
	@$(STEP) "packages for the tests (torch is large, llama.cpp is compiled: some minutes)" \
		$(PIP) install -qq --require-hashes -r requirements/test.lock
	@$(PIP) check
	@touch $@

# The locks see the public index alone, whatever this machine's pip is told, so that they hold everywhere.
# Resolved on the oldest Python we support: later ones need no more packages than it does.
LOCK := env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" build/lock-env/bin/pip-compile --quiet --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package hybrid-mmsa
EXTRAS := tune clip hf vlm llama serve client server train tables ray index ocr video speech eval sklearn pandas polars spacy mcp

build/lock-env/bin/pip-compile:
	@python3.11 -m venv build/lock-env
	@build/lock-env/bin/python -m pip --disable-pip-version-check install -qq pip-tools==7.6.2

lock: build/lock-env/bin/pip-compile  ## resolve the locks again (UPGRADE=--upgrade takes newer versions)
	@$(STEP) "core.lock" $(LOCK) $(UPGRADE) -c requirements/constraints.in -o requirements/core.lock \
		pyproject.toml requirements/build.in
	@$(STEP) "test.lock" $(LOCK) $(UPGRADE) -c requirements/constraints.in -c requirements/core.lock \
		$(addprefix --extra ,$(EXTRAS)) -o requirements/test.lock pyproject.toml requirements/build.in requirements/test.in
	@$(STEP) "docs.lock" $(LOCK) $(UPGRADE) -o requirements/docs.lock requirements/docs.in
	@$(STEP) "full.lock, serve.lock" build/lock-env/bin/python .ci/fulllock
