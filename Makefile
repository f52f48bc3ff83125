# make demo   install, train the default model on real text, print its score and where its record lies
# make dev    install the requirements of the tests
# make test   install, lint, check types, run the test suite
# make lint   ruff and mypy alone
# make docs   build the docs site into build/docs: half a minute
# make test-triton   also install triton, and run the Triton kernel in its interpreter: about a minute, no GPU
# make test-wheel    build the wheel, install it into an empty environment, and follow the README there: about five minutes
# make test-trackers   also install the libraries of all trackers (600 MB), and run their tests: about a minute
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo dev test docs test-triton test-trackers test-wheel lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m pgolf.train study.name=demo

dev: $(VENV)/.installed-dev

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

docs: export NO_MKDOCS_2_WARNING := 1  # a notice of mkdocs-material about another program
docs: $(VENV)/.installed-dev
	$(BIN)/python -m mkdocs build --strict

test-triton: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,triton]'
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/nn/test_pre_rotation.py tests/nn/test_pre_rotation_kernel.py

# The environment has neither the checkout nor the tests. The corpus is that of the example package, which is quick.
WHEEL := build/wheel
QUICK := 'hydra.searchpath=[pkg://own_package.conf]' data=own_sums train.steps=20 paths.cache=cache
test-wheel: export PYTHONPATH :=
test-wheel: $(VENV)/.installed-dev
	rm -rf $(WHEEL) && mkdir -p $(WHEEL)
	$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/$(WHEEL)/dist
	cd examples/own_package && $(abspath $(BIN))/python -m hatchling build -t wheel -d $(CURDIR)/$(WHEEL)/dist
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check $(WHEEL)/dist/*.whl
	cd $(WHEEL) && venv/bin/pgolf train $(QUICK)
	cd $(WHEEL) && venv/bin/pgolf train $(QUICK) --multirun model/head=tied,own_biased seed=1,2
	cd $(WHEEL) && venv/bin/pgolf aggregate multirun/adhoc --baseline head=tied
	cd $(WHEEL) && venv/bin/pgolf report multirun/adhoc
	cd $(WHEEL) && venv/bin/pgolf study new heads
	cd $(WHEEL) && venv/bin/pgolf train 'hydra.searchpath=[conf]' study=heads launch.dry_run=true

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
	@echo "installing pgolf and torch into $(VENV): one to four minutes without a word"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the requirements of the tests: one to three minutes without a word"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
