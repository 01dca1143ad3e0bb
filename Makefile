# Everything a fresh machine needs is a virtual environment in .venv, made on first use. Python 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo demo-crash demo-web test test-lowest browser check bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         draw a detective comic: the graph, live progress, retries"
	@echo "make demo-crash   the same, killed half-way with SIGKILL and started again"
	@echo "make demo-web     the same in your browser, panels appearing as they are drawn (PORT=8000)"
	@echo "make test         the whole test suite, with coverage, also in a real Chromium"
	@echo "make test-lowest  the suite with Python 3.11 and the lowest versions of what it depends on (PART=3/10: a part)"
	@echo "make check        ruff, pyright strict, import contracts, import time"
	@echo "make bench        benchmarks (QUICK=1 for a minute's worth)"

.venv/pip:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; set PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

# One stamp for each set of packages; pyproject.toml says what is in it.
.venv/%.stamp: .venv/pip pyproject.toml
	@echo "installing what '$*' needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[cli,client,web]" --group $*
	@touch $@

demo: .venv/examples.stamp
	@$(BIN)/python -m examples.comic

demo-crash: .venv/examples.stamp
	@$(BIN)/python -m examples.comic.crash_demo

# PORT=… is handed on; without it 8000, or any port that is free.
demo-web: .venv/examples.stamp
	@$(BIN)/python -m examples.web_app

# Chromium for tests/browser: found, or installed with apt-get as root (or sudo that does not ask), or a hint.
browser: .venv/dev.stamp
	@$(BIN)/python -m tests.browser.chromium

test: .venv/dev.stamp browser
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)
	@$(BIN)/python -m coverage report --include='asyncjobs/core/*' --fail-under=98 >/dev/null \
		|| { $(BIN)/python -m coverage report --include='asyncjobs/core/*'; exit 1; }
	@echo "branch coverage of asyncjobs/core: at least 98 %"

# An environment of its own: the lowest version of each dependency that pyproject.toml allows, on the lowest Python.
PYTHON_LOWEST ?= $(shell for p in python3.11 $(PYTHON); do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
LOWEST := .venv-lowest/bin/python

.venv-lowest/stamp: pyproject.toml .ci/lowest
	@test -n "$(PYTHON_LOWEST)" || { echo "no Python 3.11 found; set PYTHON_LOWEST=/path/to/python3.11"; exit 1; }
	@echo "installing the lowest versions …"
	@test -x $(LOWEST) || $(PYTHON_LOWEST) -m venv .venv-lowest
	@$(LOWEST) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(LOWEST) .ci/lowest >.venv-lowest/constraints.txt
	@$(LOWEST) -m pip install --quiet --disable-pip-version-check --constraint .venv-lowest/constraints.txt \
		--editable ".[cli,client,web]" --group suite
	@touch $@

# What looks at documents, the browser and the tools of development does not change with versions.
test-lowest: .venv-lowest/stamp
	$(LOWEST) -m pytest --ignore=tests/browser --ignore=tests/architecture --ignore=tests/examples \
		$(if $(PART),--part=$(PART)) $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture.import_time

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

clean:
	rm -rf .venv .venv-lowest build dist .pytest_cache .ruff_cache .hypothesis .coverage comic-output
