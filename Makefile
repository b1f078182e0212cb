# make demo: see a file registered, encrypted, sent, verified and stored. make test: run every test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BENCH_VENV ?= build/bench-venv

.PHONY: demo readme test lint bench faults fuzz flood connections soak clean

demo: $(VENV)/installed
	BIN=$(BIN) bash docs/demo.sh

# Types the commands of the README's transfer into terminals, in a fresh clone of what is committed.
readme: $(VENV)/installed-for-tests
	$(BIN)/python -m tests.documents

test: $(VENV)/installed-for-tests test-programs
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_FLAGS)

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --ini setup.cfg --recursive protocol server client

# The figures of docs/benchmarks.md, beside those of scp, rsync, rclone and curl to nginx.
# CASES="1 2" chooses cases, REPEAT=9 the number of runs, QUICK=1 makes a smoke test of it;
# more is in `python -m benchmarks --help`, to be given as BENCH_FLAGS.
# It measures what `pip install` gives to a user: a copy, with its bytecode.
bench: $(BENCH_VENV)/installed
	$(BENCH_VENV)/bin/pip install --quiet --no-deps --force-reinstall .
	$(BENCH_VENV)/bin/python -m benchmarks $(CASES) $(if $(REPEAT),--repeat $(REPEAT)) \
	  $(if $(filter-out 0,$(QUICK)),--quick) $(BENCH_FLAGS)

# Every fault of docs/reliability.md, many times over: takes hours. ONLY chooses, as pytest's -k does.
# The figures that it measures replace those in the document.
ONLY ?= long
faults: $(VENV)/installed-for-tests test-programs
	EFT_FAULT_RECORDS=docs/reliability.json \
	  $(BIN)/python -m pytest -m soak tests/faults -k "$(ONLY)" $(PYTEST_FLAGS)
	$(BIN)/python -m tests.faults.records

# Fuzzes each target for SECONDS, two at a time, and adds to the counts in docs/reliability/.
fuzz: $(VENV)/installed-for-fuzzing
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(EXECUTIONS),--executions $(EXECUTIONS)) $(TARGETS)

# Attacks, thousands of connections, and half an hour of mixed load: docs/reliability/load.md.
flood: $(VENV)/installed-for-tests
	$(BIN)/python -m tests.load.flood --seconds $(or $(SECONDS),30) $(KINDS)

connections: $(VENV)/installed-for-tests
	$(BIN)/python -m tests.load.connections

soak: $(VENV)/installed-for-tests
	$(BIN)/python -m tests.load.soak --seconds $(or $(SECONDS),1800)

$(VENV)/installed: setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,lint,bench]'
	touch $@

$(BENCH_VENV)/installed: setup.cfg setup.py
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BENCH_VENV)/bin/python -m pip install --quiet '.[bench]'
	touch $@

$(VENV)/installed-for-fuzzing: $(VENV)/installed-for-tests
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	touch $@

# The tests start a MariaDB server of their own, and break things with strace, libfaketime and
# nftables; this makes sure that all of them are there.
.PHONY: test-programs
test-programs:
	@for program in mariadbd strace faketime nft ip; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $$program >/dev/null || missing=1; done; \
	test -z "$$missing" || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	      mariadb-server strace faketime nftables iproute2; \
	  else \
	    echo "the tests need some programs: install them first, on Debian:" \
	      "apt-get install mariadb-server strace faketime nftables iproute2" >&2; \
	    exit 1; \
	  fi; }

clean:
	rm -rf $(VENV) build dist ./*.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
