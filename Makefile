# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test nodes lint format app screenshots snapshots benchmarks docs demo-model demo-accuracy clean

help:  ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch first and alone: with the others in one call pip may pick another build of it.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with PYTHON=...")'
	@echo "Setting up $(VENV) (torch and the training libraries: some minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed  ## fine-tune a small model on two CPU ranks and watch it
	@$(BIN)/qltui launch demo-cpu --watch

app: $(VENV)/installed  ## open the app
	@$(BIN)/qltui

SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-dev lint  ## lint and run all tests
	@$(BIN)/python -m pytest --ignore tests/engine --ignore tests/pty $(SIDE_BY_SIDE)
	@$(BIN)/python -m pytest tests/engine $(SIDE_BY_SIDE) -m "not thorough"
	@$(BIN)/python -m pytest tests/pty $(SIDE_BY_SIDE)

nodes: $(VENV)/installed-dev  ## runs over network namespaces and a real sshd, which CI may not make; as root
	@$(BIN)/python -m pytest tests/nodes/namespaces.py tests/nodes/real_ssh.py

test-all: test  ## the same, and then what proves it once more on other strategies
	@$(BIN)/python -m pytest tests/engine $(SIDE_BY_SIDE) -m thorough

lint: $(VENV)/installed-dev  ## ruff, mypy and the import boundaries
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-dev  ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

screenshots: $(VENV)/installed-dev  ## make the pictures in screenshots/ from the real app
	@$(BIN)/python screenshots/make.py

snapshots: $(VENV)/installed-dev  ## take every screen as it is now for right; look at the difference
	@QLTUI_UPDATE_SNAPSHOTS=1 $(BIN)/python -m pytest tests/snapshots
	@git diff --stat tests/snapshots

benchmarks: $(VENV)/installed-dev  ## print the figures of docs/speed.md
	@$(BIN)/python tests/benchmarks/startup.py
	@$(BIN)/python tests/benchmarks/first_paint.py
	@$(BIN)/python tests/benchmarks/key_to_paint.py
	@$(BIN)/python tests/benchmarks/charts.py

docs: $(VENV)/installed-dev  ## write what pages show of declarations, rules and committed results
	@{ printf '%s\n\n' '# Every field of a configuration' 'Written by `make docs` from the declarations in `engine/config/run_config.py`.'; $(BIN)/qltui config --markdown; } > docs/config.md
	@PYTHONPATH=tests $(BIN)/python -m cells.refusals docs/strategies.md
	@$(BIN)/python -m qltui.advice.catalogue > docs/rules.md
	@PYTHONPATH=tests $(BIN)/python -m support.preset_page docs/presets.md
	@PYTHONPATH=tests $(BIN)/python -m support.causes_page docs/diagnosis.md
	@PYTHONPATH=tests $(BIN)/python -m cells.table README.md docs/verified.md
	@PYTHONPATH=tests $(BIN)/python -m points.compare
	@PYTHONPATH=tests $(BIN)/python -m points.table tests/points/comparison.json docs/memory.md
	@PYTHONPATH=tests $(BIN)/python -m points.near
	@PYTHONPATH=tests $(BIN)/python -m points.plot tests/points/comparison.json docs/memory-plan.svg

demo-model: $(VENV)/installed-dev  ## make the demo's base model and data again
	@$(BIN)/python presets/demo/pretrain.py
	@$(BIN)/python presets/demo/make_data.py

demo-accuracy: $(VENV)/installed  ## run the demo with three seeds and print what it learnt
	@$(BIN)/python presets/demo/accuracy.py

clean:  ## remove what was set up and built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
