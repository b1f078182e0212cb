# make demo: see a file registered, encrypted, sent, verified and stored. make test: run every test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench faults clean

demo: $(VENV)/installed
	BIN=$(BIN) bash docs/demo.sh

test: $(VENV)/installed-for-tests test-programs
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_FLAGS)

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The figures of docs/benchmarks.md; takes a quarter of an hour and 60 GB of disk.
bench: $(VENV)/installed-for-tests
	$(BIN)/python -m benchmarks.protocol3
	$(BIN)/python -m benchmarks.protocol4

# Every fault of docs/reliability.md, many times over: takes hours. ONLY chooses, as pytest's -k does.
# The figures that it measures replace those in the document.
ONLY ?= long
faults: $(VENV)/installed-for-tests test-programs
	EFT_FAULT_RECORDS=docs/reliability.json \
	  $(BIN)/python -m pytest -m soak tests/faults -k "$(ONLY)" $(PYTEST_FLAGS)
	$(BIN)/python -m tests.faults.records

$(VENV)/installed: setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,lint]'
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
	rm -rf $(VENV) build dist ./*.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
