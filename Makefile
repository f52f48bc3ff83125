# make demo   install, train the default model on real text, print its score and where its record lies
# make test   install, lint, check types, run the test suite
# make lint   ruff and mypy alone
# make test-triton   also install triton, and run the Triton kernel in its interpreter: about a minute, no GPU
# make test-trackers   also install the libraries of all trackers (600 MB), and run their tests: about a minute
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-triton test-trackers lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m pgolf.train study.name=demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-triton: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,triton]'
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/nn/test_pre_rotation.py tests/nn/test_pre_rotation_kernel.py

test-trackers: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,trackers]'
	$(BIN)/python -m pytest tests/trackers

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "pgolf needs Python 3.11 to 3.13; choose one with make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
