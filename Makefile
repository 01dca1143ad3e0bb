# Everything a fresh machine needs is a virtual environment in .venv, made on first use. Python 3.11 or newer.
# PYTHON=python3.12 (a name, or a path) uses another one, in an environment of its own: .venv-3.12.
ifneq ($(origin PYTHON),undefined)
VERSION := $(shell $(PYTHON) -c 'import sys; sys.version_info < (3, 11) or print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(or $(VERSION),$(error PYTHON=$(PYTHON) is not a Python of version 3.11 or newer))
endif
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin

.PHONY: demo demo-crash demo-crew demo-movie demo-sqs demo-web docs docs-serve docs-figures docs-shots test coverage test-crewai test-crewai-full test-fast test-sqs test-faults test-lowest browser check bench bench-crewai bench-long bench-peers bench-sqs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         draw a detective comic: the graph, live progress, retries"
	@echo "make demo-crash   the same, killed half-way with SIGKILL and started again"
	@echo "make demo-movie   make a short film with sound: pictures, clips, voices, music, the cut, a contact sheet"
	@echo "make demo-sqs     the same on two daemons and a store in (emulated) SQS and DynamoDB; one is killed half-way"
	@echo "make demo-crew    a crew of agents (CrewAI) writes a comic in this terminal; PORT=8000: on a page, with Stop and Resume"
	@echo "make demo-web     comic and film in your browser, pictures appearing as they are drawn (PORT=8000)"
	@echo "make test         the whole test suite, also in a real Chromium and on AWS, emulated; asyncjobs/core is covered"
	@echo "                  (AWS=0: without the emulator)"
	@echo "make coverage     the same without AWS, with the coverage of everything, also of the processes that it starts"
	@echo "make test-fast    what of it takes two minutes (ARGS=… of pytest, for each of the three)"
	@echo "make test-sqs     what of it is about the SQS store, against an emulator"
	@echo "make test-faults  the same with faults of AWS (KIND=stale: of one kind), and all that make test thins out: an hour"
	@echo "make test-lowest  the suite with Python 3.11 and the lowest versions of what it depends on (PART=3/10: a part)"
	@echo "make test-crewai  crews and flows with a real CrewAI and a scripted model, in environments of their own"
	@echo "make test-crewai-full  the same with the lowest version, too, a storm of kills, 200 crews, and pauses of the loop"
	@echo "make check        ruff, pyright strict, types of an installed wheel, import contracts, import time"
	@echo "make docs         the documentation as a site, in docs/_build/html; make docs-serve shows it (PORT=8000)"
	@echo "make docs-shots   take the pictures of its pages again, of real runs, in Chromium and terminals (docs/pictures)"
	@echo "make bench        benchmarks (QUICK=1 for a minute's worth; BEFORE=path of another checkout to compare with)"
	@echo "make bench-crewai a crew as a job beside its kickoff, and the events of 20 that stream (QUICK=1)"
	@echo "make bench-long   ten million jobs, ten minutes of retention, daemons that share a file: an hour, 5 GB"
	@echo "                  (QUICK=1: two minutes; JOBS=1000000 MINUTES=5; ARGS=\"drain retention daemons\": only some)"
	@echo "make bench-peers  asyncjobs beside other job libraries, each in an environment of its own: 45 minutes (QUICK=1: a few)"
	@echo "make docs-figures measure again what the page on performance shows, and draw it: an hour (QUICK=1: eight minutes)"
	@echo "                  (FIGURES=\"peers account choices bench\": only some; long: another hour; CEILING=path of the yardstick)"
	@echo "make bench-sqs    the SQS store beside Celery and taskiq on an emulator, and what jobs cost on AWS (QUICK=1)"
	@echo "With PYTHON=python3.12 each of them uses that Python, in an environment of its own."

$(VENV)/pip:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; set PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

# One stamp for each set of packages; pyproject.toml says what is in it.
$(VENV)/%.stamp: $(VENV)/pip pyproject.toml
	@echo "installing what '$*' needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[cli,client,sqs,web]" --group $*
	@touch $@

demo: $(VENV)/examples.stamp
	@$(BIN)/python -m examples.comic

demo-crash: $(VENV)/examples.stamp
	@$(BIN)/python -m examples.comic.crash_demo

# It takes the ffmpeg and espeak-ng that are installed, where they can do what it needs; else those of two packages.
demo-movie: $(VENV)/film.stamp
	@$(BIN)/python -m examples.movie

demo-sqs: $(VENV)/examples.stamp .venv-aws/stamp
	@$(BIN)/python -m examples.comic.sqs_demo --emulator .venv-aws/bin/ministack

# PORT=… serves the page; without it, all is in the terminal. The model is a scripted one, unless OPENAI_BASE_URL names another.
demo-crew: .venv-crewai/stamp
	@.venv-crewai/bin/python -W ignore -m examples.crew $(ARGS)

# A link, an anchor or a reference that leads nowhere fails it.
docs: $(VENV)/docs.stamp
	@$(BIN)/sphinx-build -W -n --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

docs-serve: docs
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html $(or $(PORT),8000)

docs-shots: $(VENV)/dev.stamp browser
	@$(BIN)/python -m docs.shots $(ARGS)

# PORT=… is handed on; without it 8000, or any port that is free.
demo-web: $(VENV)/film.stamp
	@$(BIN)/python -m examples.web_app

# Chromium for tests/browser: found, or installed with apt-get as root (or sudo that does not ask), or a hint.
browser: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.browser.chromium

# An emulator of SQS and DynamoDB, in an environment of its own: it wants other versions of what both need.
.venv-aws/stamp:
	@echo "installing an emulator of SQS and DynamoDB …"
	@test -x .venv-aws/bin/python || $(PYTHON) -m venv .venv-aws
	@.venv-aws/bin/python -m pip install --quiet --disable-pip-version-check "ministack==1.5.33"
	@touch $@

# A second emulator of DynamoDB, which is stricter and tells what AWS would bill: a program that npm has for some machines.
# It is never required, and without it some tests are skipped.
.venv-dynoxide/stamp:
	@echo "installing a second emulator of DynamoDB …"
	@mkdir -p .venv-dynoxide
	@npm install --prefix .venv-dynoxide --no-save --no-audit --no-fund --loglevel=error \
		"@dynoxide/$$(node -p 'process.platform + "-" + process.arch')@1.2.1" >.venv-dynoxide/log 2>&1 \
		&& touch $@ || echo "npm has none for this machine, or is not here (.venv-dynoxide/log): its tests are skipped"

# Half of the time of the tests is waiting: more of them run side by side than there are cores. Those that are marked
# `serial` want the machine for themselves: they run afterwards, one by one.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 1 + (os.cpu_count() or 2)))')
# $(call suite,python,options of both,of the first,of the second). Exit code 5: ARGS names no tests of that kind.
suite = $(1) -m pytest -n $(WORKERS) --dist worksteal -m "not serial" $(3) $(2); first=$$?; \
	$(1) -m pytest -m serial $(4) $(2); case $$first$$? in 00|05|50) ;; *) exit 1 ;; esac
# Each of the processes that the tests start compiles the package again, where a machine forbids to keep what it compiled.
test coverage test-crewai test-crewai-full test-fast test-sqs test-faults test-lowest: export PYTHONDONTWRITEBYTECODE :=

# The tests of asyncjobs/core reach all of its branches; tracing what thousands of others run of it takes minutes.
CORE := --cov=asyncjobs.core --cov-config=tests/core.coveragerc --cov-report= --measure=tests/unit --measure=tests/conformance

SQS = ASYNCJOBS_TEST_SQS=1 ASYNCJOBS_REQUIRE_AWS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# Tables in the second emulator, where that is installed: it takes a third of the time of the first one.
IN_SECOND = $(if $(shell test -e .venv-dynoxide/stamp && echo yes),ASYNCJOBS_TEST_DYNAMODB=dynoxide)
# To it begins_with(…, "a") is also true of "A".
PATTERNS := tests/conformance/test_steps.py::test_a_prefix_is_forgotten_as_text_and_not_as_a_pattern
# $(call faulty,kinds): the contract with these kinds of faults of AWS, each for itself.
faulty = $(IN_SECOND) ASYNCJOBS_TEST_FAULTS=$(1) $(SQS) tests/conformance --deselect "$(PATTERNS)"
# Of the contract, the same tenth with every kind.
FAULTY_TENTH = $(call faulty,all) --part=1/10

# The contract without faults in the second emulator: make test has it in the first.
SECOND = $(if $(IN_SECOND),$(IN_SECOND) $(SQS) -k sqs tests/conformance --deselect "$(PATTERNS)[sqs-asyncio-a]",\
	@echo "the contract on a second emulator: skipped, it is not installed")

AWS ?= 1
test: export ASYNCJOBS_TEST_SQS := $(AWS)
test: $(VENV)/dev.stamp $(if $(filter 1,$(AWS)),.venv-aws/stamp .venv-dynoxide/stamp) browser
	$(call suite,$(BIN)/python,$(ARGS),$(CORE))
	$(if $(ARGS),,@$(BIN)/python -m coverage report --rcfile=tests/core.coveragerc --fail-under=100)
	$(if $(ARGS)$(filter-out 1,$(AWS)),,$(FAULTY_TENTH))

coverage: $(VENV)/dev.stamp browser
	$(call suite,$(BIN)/python,$(ARGS),--cov --cov-report=,--cov --cov-append --cov-report=term)

# What needs no server, command or daemon, and does not take long: not the SQS store.
test-fast: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not serial and not slow" \
		tests/architecture tests/conformance tests/properties tests/runtime tests/unit $(ARGS)

# What of make test is about the SQS store: 12 minutes on two cores.
test-sqs: $(VENV)/dev.stamp .venv-aws/stamp .venv-dynoxide/stamp
	$(SQS) -k sqs tests/unit tests/cli tests/conformance tests/examples tests/faults tests/properties $(ARGS)
	$(if $(ARGS),,$(FAULTY_TENTH))

# What dies with each of its writes, gets no answer to it, or meets others before it.
EVERY_WRITE := last_of_its_process or answer_was_lost or come_before_any_write

# The contract with every kind of fault of AWS, and all that make test thins out: most of an hour.
# KIND=stale runs one kind (tests/sqs_faulty_store.py has them), SEED=7 draws other faults.
test-faults: $(VENV)/dev.stamp .venv-aws/stamp .venv-dynoxide/stamp
	ASYNCJOBS_TEST_SEED=$(or $(SEED),0) $(call faulty,$(or $(KIND),all)) $(ARGS)
	$(if $(KIND)$(ARGS),,ASYNCJOBS_TEST_EVERY=1 ASYNCJOBS_TEST_KILLED=1 $(SQS) -k "$(EVERY_WRITE)" tests/unit)
	$(if $(KIND)$(ARGS),,ASYNCJOBS_TEST_HISTORIES=300 $(SQS) -k sqs tests/properties/test_sqs_histories.py tests/properties/test_retention.py)
	$(if $(KIND)$(ARGS),,ASYNCJOBS_TEST_CHILDREN=2000 ASYNCJOBS_TEST_DEPENDENCIES=5000 $(SQS) --timeout 1000 \
		tests/properties/test_sqs_together.py tests/unit/test_sqs_dependents.py)
	$(if $(KIND)$(ARGS),,$(SECOND))
	$(if $(KIND)$(ARGS),,ASYNCJOBS_STORM=long $(SQS) --timeout 3000 tests/faults/test_sqs_storm.py)

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
	$(call suite,$(LOWEST),--ignore=tests/browser --ignore=tests/architecture --ignore=tests/examples \
		$(if $(PART),--part=$(PART)) $(ARGS))

# Environments of their own, since CrewAI is large, pins other versions, and needs a Python below 3.14: with the newest
# CrewAI that pyproject.toml allows, and with the lowest.
PYTHON_CREWAI ?= $(shell for p in $(PYTHON) python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
CREWAI := ASYNCJOBS_TEST_SQS=1 ASYNCJOBS_REQUIRE_AWS=1 .venv-crewai/bin/python -m pytest
CREWAI_LOWEST := ASYNCJOBS_TEST_SQS=1 ASYNCJOBS_REQUIRE_AWS=1 .venv-crewai-lowest/bin/python -m pytest

.venv-crewai-lowest/stamp: LIMIT := "crewai==1.15.3"
.venv-crewai/stamp .venv-crewai-lowest/stamp: pyproject.toml
	@test -n "$(PYTHON_CREWAI)" || { echo "CrewAI needs Python 3.11, 3.12 or 3.13, and none was found;" \
		"set PYTHON_CREWAI=/path/to/python3.13"; exit 1; }
	@echo "installing $(or $(LIMIT),the newest crewai) (a gigabyte: two minutes) …"
	@test -x $(@D)/bin/python || $(PYTHON_CREWAI) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[cli,client,crewai,sqs,web]" --group crewai $(LIMIT)
	@touch $@

# CrewAI, for real: everything with the newest version; with the lowest, what the integration stands on, what is seen of
# runs, and a resume of each kind.
test-crewai: .venv-crewai/stamp .venv-crewai-lowest/stamp .venv-aws/stamp
	@.venv-crewai/bin/python -m tests.browser.chromium
	$(CREWAI) -n 2 --dist worksteal -m "not storm" $(or $(ARGS),tests/crewai)
	$(if $(ARGS),,$(CREWAI_LOWEST) -n 2 --dist worksteal -m "not storm" $(addprefix tests/crewai/test_,contract.py events.py replay.py))

# Everything with both, daemons that are killed again and again, 200 crews, and how long the loop is held up.
test-crewai-full: .venv-crewai/stamp .venv-crewai-lowest/stamp .venv-aws/stamp
	@.venv-crewai/bin/python -m tests.browser.chromium
	$(CREWAI) -n 2 --dist worksteal -m "not serial" $(or $(ARGS),tests/crewai)
	$(CREWAI_LOWEST) -n 2 --dist worksteal -m "not serial" $(or $(ARGS),tests/crewai)
	$(if $(ARGS),,$(CREWAI) -rP -m serial tests/crewai)
	$(if $(ARGS),,$(CREWAI_LOWEST) -rP -m serial tests/crewai)

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture.import_time
	$(BIN)/python -m tests.architecture.public_types

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(BEFORE),--before $(BEFORE)) $(ARGS)

# What the SQS store is measured beside, each in an environment of its own: they want other versions of what AWS needs.
.venv-celery/stamp: PEER := "celery[sqs]==5.7.0"
.venv-taskiq/stamp: PEER := "taskiq==0.13.0" "taskiq-aio-sqs==2.1.1"
.venv-celery/stamp .venv-taskiq/stamp:
	@echo "installing $(PEER) …"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PEER)
	@touch $@

bench-crewai: .venv-crewai/stamp
	.venv-crewai/bin/python -m benchmarks $(if $(QUICK),--quick) crews $(ARGS)

bench-sqs: $(VENV)/dev.stamp .venv-aws/stamp .venv-celery/stamp .venv-taskiq/stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) sqs sqs-costs sqs-lag $(ARGS)

# Never in CI. Ctrl-C ends it, and prints what was measured until then.
bench-long: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.long $(if $(QUICK),--quick) $(if $(JOBS),--jobs $(JOBS)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

# Each library gets an environment of its own on first use; redis and PostgreSQL are found, or installed with apt-get as root.
bench-peers: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.peers $(if $(QUICK),--quick) $(ARGS)

# Results go to docs/figures, and from there onto the page. ARGS_choices="--newer PATH" (or ARGS_peers, …) goes to one.
FIGURES ?= account choices bench peers
FIGURES_OF_peers := benchmarks.peers
FIGURES_OF_account := benchmarks.account
FIGURES_OF_choices := benchmarks.choices
FIGURES_OF_bench := benchmarks $(if $(CEILING),--ceiling $(CEILING)) $(if $(BEFORE),--before $(BEFORE))
FIGURES_OF_long := benchmarks.long
docs-figures: $(VENV)/dev.stamp
	@set -e; $(foreach name,$(FIGURES),$(BIN)/python -m $(FIGURES_OF_$(name)) --docs $(if $(QUICK),--quick) $(ARGS_$(name));)
	@$(BIN)/python docs/generate.py

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .ruff_cache .hypothesis .mypy_cache .coverage comic-output movie-output
