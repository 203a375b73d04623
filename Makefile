# Every target makes .venv by itself when it is missing or older than what it was made from.
#   make demo       play the default market under both regimes: table, figures, a report
#   make test       the whole test suite
#   make serve      the interactive page at http://127.0.0.1:8765 (make serve PORT=9000 for another port)
#   make reproduce  every number the paper printed beside ours, and its figures
#   make bench      speed and memory, as figures and as ratios to plain references
#   make lint       ruff and mypy
#   make pictures   draw the README's pictures again
#   make screenshots  photograph the page again (needs chromium)

PYTHON ?= python3
PORT ?= 8765
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test serve reproduce bench lint pictures screenshots clean

.venv/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12) and "market-sim needs Python 3.12 or newer; say which: make PYTHON=/path/to/python3.12")'
	@echo "Installing market-sim into .venv (once; about half a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(INSTALL) -e .
	@touch $@

.venv/dev: .venv/core
	@echo "Installing the development tools into .venv (once) ..."
	@$(INSTALL) -e '.[dev]'
	@touch $@

.venv/viz: .venv/core
	@echo "Installing the interactive page into .venv (once) ..."
	@$(INSTALL) -e '.[viz]'
	@touch $@

demo: .venv/core
	@$(BIN)/market-sim compare runs/gsm8k-majority.toml --report

test: .venv/dev
	@$(BIN)/python -m pytest -n auto --dist worksteal -p no:benchmark -rs

serve: .venv/viz
	@$(BIN)/market-sim serve --port $(PORT)

reproduce: .venv/core
	@$(BIN)/market-sim reproduce

bench: .venv/dev
	@$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-columns=min,median,rounds

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

pictures: .venv/core
	@rm -rf runs/out/pictures
	@$(BIN)/market-sim compare runs/gsm8k-majority.toml --out runs/out/pictures
	@$(BIN)/python analysis/who_gains_from_the_auction.py --out runs/out/pictures
	@cp runs/out/pictures/gsm8k-majority/compare-*/surplus.png runs/out/pictures/who_gains_from_the_auction.png docs/images/

screenshots: .venv/dev
	@$(BIN)/python -m tests.page.screenshots docs/images

clean:
	rm -rf .venv runs/out build ./*.egg-info
