# Needs make and Python >= 3.11 with venv; everything else is installed into .venv, pinned and hashed.
# With Node and npm, `make test` also tries OAuth clients from there (tests/clients/npm).
#
#   make run        the demo on http://127.0.0.1:8000 (another port: make run PORT=9000)
#   make test       the whole test suite
#   make fuzz       the tests that make up their own input, for long, with other input each time
#   make check      formatter, linter, types, tests, coverage
#   make format     rewrite the code the way `make check` wants it
#   make conformance   what attackers and conformance suites try, by its ids: a table (some: IDS="TE RT-03"; docs: WRITE=1)
#   make isolation-report   what of one tenant is tried on another's host, and what comes of it
#   make coverage   the tests with their branch coverage, and the gate that `make check` enforces
#   make timing     do failed authentications take one time? Takes long, and a machine that does nothing else
#   make messages   texts of the sources -> app/translations; then translate what is empty in the .po files, and once more
#   make bench-pages   how long every list page takes over large tables, and how many statements: a table
#   make bench-keyporter   what a check of a token costs in an API's own process, beside verifying a signature: a table
#   make pictures   the pictures of README and docs, taken anew from a demo of its own
#   make lock       requirements*.in -> requirements*.txt (newest versions: make lock UPGRADE=--upgrade)
#   make clean      remove everything that make made, demo data included

# Another interpreter: make run PYTHON=/usr/bin/python3.13
PYTHON ?=
# Test processes; 0 runs the tests in this one.
WORKERS ?= 2
# More arguments for pytest: make test ARGS="-k consent"
ARGS ?=
# For make conformance: some checks or groups; and, set to anything, docs/conformance.md is written.
IDS ?=
WRITE ?=

VENV := .venv
NPM_CLIENTS := tests/clients/npm/node_modules/.installed
BIN := $(VENV)/bin
# Always `python -m NAME`, never bin/NAME: the scripts hold the folder's old path after it was moved.
PY := $(BIN)/python
# Set by `make coverage`, so that what it measures is `make test` and nothing else.
MEASURE ?=
# In the order of tests/conftest.py, not by the number of tests.
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(MEASURE) $(ARGS)

# Tests start the server a hundred times; where this is set, each process would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
ifdef PORT
export PORT
endif

# A .venv whose interpreter went away (upgraded, moved) is as good as none.
ifneq ($(shell $(PY) -c "import sys, pip; print(sys.version_info >= (3, 11))" 2>/dev/null),True)
.PHONY: $(PY)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test fuzz timing check conformance isolation-report coverage format lint types messages bench-pages bench-keyporter pictures lock clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.installed
	@exec $(PY) -m flask demo

test: $(VENV)/.installed-dev $(NPM_CLIENTS)
	@$(PYTEST)

timing: $(VENV)/.installed-dev
	@$(PY) -m pytest -q -s -n 0 tests/timing/same_time.py $(ARGS)

fuzz: $(VENV)/.installed-dev
	@$(PYTEST) --hypothesis-profile=fuzz tests/properties tests/conformance/test_openapi.py

conformance: $(VENV)/.installed-dev $(NPM_CLIENTS)
	@$(PY) -m tests.conformance --workers $(WORKERS) $(if $(WRITE),--write) $(IDS) -- $(ARGS)

isolation-report: $(VENV)/.installed-dev
	@$(PY) -m tests.isolation_report

check: lint types coverage

lint: $(VENV)/.installed-dev
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

# The package for APIs once more, as the oldest Python that it supports reads it.
types: $(VENV)/.installed-dev
	@$(PY) -m mypy
	@$(PY) -m mypy --python-version 3.10 --cache-dir .mypy_cache/oldest keyporter

coverage: $(VENV)/.installed-dev
	@$(PY) -m coverage erase
	@$(MAKE) --no-print-directory test MEASURE="--cov --cov-report="
	@$(PY) -m coverage json -q -o .coverage.json
	@$(PY) .ci/coverage_gate.py .coverage.json

format: $(VENV)/.installed-dev
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# Without line numbers, so that only what changed is in a diff; the .mo files are kept, so that nothing has to be built.
BABEL := $(PY) -m babel.messages.frontend --quiet
CATALOGUES := app/translations
MESSAGES := $(VENV)/messages.pot
messages: $(VENV)/.installed
	@$(BABEL) extract --mapping babel.cfg --no-default-keywords --keyword _ --keyword gettext --keyword ngettext:1,2 \
		--keyword lazy_gettext --keyword _l --no-location --sort-output --no-wrap --omit-header --output $(MESSAGES) app
	@$(BABEL) update --input-file $(MESSAGES) --output-dir $(CATALOGUES) --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date --no-wrap
	@$(BABEL) compile --directory $(CATALOGUES)

bench-pages: $(VENV)/.installed-dev
	@$(PY) -m bench.pages $(ARGS)

pictures: $(VENV)/.installed-dev
	@$(PY) tests/browser/take_pictures.py

bench-keyporter: $(VENV)/.installed-dev
	@$(PY) -m bench.keyporter

# The development file is resolved against the first one, so that tests run on the versions that are deployed.
LOCK = $(PY) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-config \
	--default-index https://pypi.org/simple --no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)
lock: $(VENV)/.installed-dev
	@$(LOCK) --output-file requirements.txt requirements.in
	@$(LOCK) --output-file requirements-dev.txt --constraint requirements.txt requirements-dev.in

clean:
	rm -rf $(VENV) $(dir $(NPM_CLIENTS)) instance .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@python=""; \
	for candidate in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if [ -n "$$candidate" ] && \
			"$$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then \
			python="$$candidate"; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Keyporter needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	if ! "$$python" -c "import ensurepip, venv" >/dev/null 2>&1; then \
		echo "$$python has no venv module; install it (on Debian and Ubuntu: apt-get install python3-venv)" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)" >&2; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)

# The stamps: newer than the lock file means installed. Written last, so a broken installation is tried again.
$(VENV)/.installed: requirements.txt | $(PY)
	@echo "Installing what the server needs (once; requirements.txt)" >&2
	@$(PY) -m pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt | $(PY)
	@echo "Installing what the tests need (once; requirements-dev.txt)" >&2
	@$(PY) -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

# Without npm, or without its registry, the tests that need this say so.
$(NPM_CLIENTS): tests/clients/npm/package-lock.json
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "There is no npm: clients from there are not tried (on Debian and Ubuntu: apt-get install nodejs npm)" >&2; \
	elif echo "Installing clients from npm (once; $<)" >&2 && \
		npm ci --prefix tests/clients/npm --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; then \
		touch $@; \
	else \
		echo "npm could not install them: clients from there are not tried" >&2; \
	fi
