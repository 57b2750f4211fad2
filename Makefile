# What a newcomer runs:  make demo   make test
# What a developer runs: make test-full   make bench   make lint   make start-model   make clean
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?=

.PHONY: demo test test-full bench lint start-model clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run-ready  ## simulated lines of boards; the model gets better while you watch
	$(BIN)/hotloop demo $(DEMO)

test: $(VENV)/.test-ready  ## lint, types, structure, every quick test
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not full" --cov --cov-report=term:skip-covered --cov-fail-under=90 tests
	$(BIN)/python tests/deciders_covered.py

test-full: $(VENV)/.test-ready  ## the whole of each row of the trust table: about an hour
	$(BIN)/python -m pytest tests

bench: $(VENV)/.test-ready  ## every figure of the README, as a table
	$(BIN)/python -m bench

lint: $(VENV)/.test-ready
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

start-model: $(VENV)/.test-ready  ## train the start model for boards again
	$(BIN)/python -m hotloop.verticals.inspection.train src/hotloop/verticals/inspection/start/boards.onnx

$(VENV)/.run-ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hub]"
	touch $@

# torch first, alone, with its pin: otherwise pip may take a build of several GB.
$(VENV)/.test-ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hub,train,test]"
	$(BIN)/python -m hotloop.testing.mosquitto
	$(BIN)/python -m hotloop.testing.vda5050_lib.peer
	touch $@ $(VENV)/.run-ready

clean:
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage src/*.egg-info
