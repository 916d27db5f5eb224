# Everything is set up by the targets themselves: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= auto

# Without compiled modules every process compiles torch and pandas anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart test test-long test-cluster lint format bench bench-gpu bench-tuning lock clean

help:
	@echo "make quickstart   set up, then run the quickstart study (under 3 minutes after the set-up)"
	@echo "make test         set up, then run the tests"
	@echo "make test-long    set up, then run the tests that take minutes (full trainings, repeated kills)"
	@echo "make test-cluster set up, then run the tests on a SLURM cluster (Debian's slurm-wlm and munge, root) and on Ray"
	@echo "make lint         set up, then run ruff and mypy --strict"
	@echo "make format       set up, then let ruff reformat"
	@echo "make bench        set up, then measure accuracy, overhead and speed beside other tools (15 minutes; let nothing else run)"
	@echo "make bench-gpu    set up, then measure counter, power, the fast engine and the planner on a real NVIDIA GPU (30 minutes)"
	@echo "make bench-tuning set up, then compare strategies on public tables of trainings (15 minutes on 2 cores)"
	@echo "make lock         compile requirements.lock anew"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("joulelab needs Python 3.11 or later, and $(PYTHON) is %d.%d: try make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	@echo "installing the locked requirements (torch brings some 5 GB with it) ..."
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

quickstart: $(READY)
	$(BIN)/joulelab run quickstart

test: $(READY)
	$(BIN)/pytest -n $(JOBS) --dist loadscope

test-long: $(READY)
	$(BIN)/pytest -m long

test-cluster: $(READY)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -r pyproject.toml --extra ray
	$(BIN)/pytest -m cluster tests/execution

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	@$(BIN)/python benchmarks

bench-gpu: $(READY)
	@$(BIN)/python benchmarks/gpu.py
	@$(BIN)/python benchmarks/training.py --device cuda:0 --rounds --architecture --json joulelab-out/training-gpu.json
	@$(BIN)/python benchmarks/planner_check.py --device cuda:0 --json joulelab-out/planner-check-gpu.json

bench-tuning: $(READY)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -r pyproject.toml --extra benchmark
	@$(BIN)/python benchmarks/tuning.py --json joulelab-out/tuning.json

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade --extra dev --extra all pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
