# The two commands of a newcomer: `make demo` and `make test`. Both set up their own environment in .venv first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# one process per core, at most four, as each takes over a gigabyte of memory
TEST_PROCESSES ?= logical --maxprocesses 4

.PHONY: demo test lint docs benchmark clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py --out demo

test: lint
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# the pages, in docs/_build/index.html
docs: $(VENV)/.installed-for-tests
	$(BIN)/python docs/draw_diagrams.py
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --write-all --quiet \
		-b html docs docs/_build

# torch first: what is installed after it then takes the version that is there
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up the environment in $(VENV): a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(shell grep '^torch==' constraints.txt)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(INSTALL) --editable '.[test,physics,interactive,explain,docs,export]'
	-$(INSTALL) triton  # for Linux only; where it can't be had the tests of its kernels are left out
	touch $@

# ratios to PyG, and to LUMIN and weaver-core if LUMIN and WEAVER name the interpreters of environments that have them
benchmark: $(VENV)/.installed
	$(BIN)/python tests/benchmarks/run.py $(if $(LUMIN),--lumin $(LUMIN))
	$(BIN)/python tests/benchmarks/data.py $(if $(WEAVER),--weaver $(WEAVER))

clean:
	rm -rf $(VENV) demo build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
