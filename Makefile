# `make search` runs the default search, `make test` the tests; both set up what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
WHERE ?=
ONLY ?=
SOAK ?=
CALIBRATE ?=
SERVE ?=

.PHONY: search serve test soak check docs tours site bench bench-kernels calibrate clean

search: .venv/run
	$(BIN)/nas search $(WHERE)

# The service of docs/service.md, on this machine alone; SERVE="port=8080" sets what it is.
serve: .venv/run
	$(BIN)/nas serve $(SERVE)

test: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Hours, before a release: searches under attack. SOAK="--local 5 --ray 2 --raylet 2 --gcs 1" is a short one.
soak: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.kills $(SOAK)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.service

check: .venv/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages that are made from the code: configuration, commands, catalogue.
docs: .venv/run
	$(BIN)/python -m nas.config.reference > docs/configuration.md
	$(BIN)/python -m nas.cli.reference > docs/commands.md
	$(BIN)/python -m tests.docs.transcript docs/catalogue.md

# The pages that are made by running what they show: the tutorial and the notebook.
tours: .venv/test
	$(BIN)/python -m tests.docs.transcript --times docs/tutorial.md
	$(BIN)/python -m tests.docs.notebook docs/notebook.ipynb

# docs/ as pages for a browser, in site/.
site: .venv/test
	$(BIN)/zensical build --clean --strict

bench: .venv/test
	$(BIN)/python -m tests.benchmarks.kernels.chunked_vs_reference
	$(BIN)/python -m tests.benchmarks.samplers

# How hard is each level of the recall suite, for twelve named layouts? CALIBRATE="--ladder window --seeds 2" is a ladder.
calibrate: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.calibrate $(CALIBRATE)

# On a GPU: the Triton kernels against flash-linear-attention's and torch's.
bench-kernels: .venv/test
	$(BIN)/python -m tests.benchmarks.kernels.gpu $(ONLY:%=--only %)

.venv/pip:
	$(PYTHON) -m venv .venv
	touch $@

.venv/run: .venv/pip pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/test: .venv/run
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	touch $@

.venv/check: .venv/test
	$(BIN)/pip install -q -c constraints.txt -e '.[test,dev]'
	touch $@

clean:
	rm -rf .venv
