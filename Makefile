# The README's two commands are `make quickstart` and `make test`: each makes .venv, installs, and runs.
PYTHON ?= python3
BIN := .venv/bin
EXTRA ?= cpu
# test files that run side by side, each with one thread for torch
JOBS ?= 2
# threads that sleep while they wait for each other: otherwise a second busy program makes torch 20 times slower
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: quickstart test check bench install clean

quickstart: .venv/.installed
	$(BIN)/ssl-music quickstart

test: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.installed
	for script in benchmarks/*.py; do echo "== $$script" && $(BIN)/python $$script || exit 1; done

install: .venv/.installed

# constraints.txt holds the versions that were tested; pip is told of them for build environments too
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "ssl_music needs Python >= 3.10; try: make PYTHON=python3.12 install")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA),dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
