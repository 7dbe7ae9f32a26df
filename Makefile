# setup             the virtual environment .venv with gatewise and all it needs
# demo              train on the bundled digits, print the results and where the report is
# test              the whole suite
# lint              ruff and pyrefly
# bench             every benchmark that needs nothing more; results go to benchmarks/results
# processes         two and four processes give what one gives, over 50 steps
# bench-estimators  the estimators beside other libraries, in an environment of their own, .venv-bench
# bench-dispatch    sparse execution beside other ways and packages, in the same environment, on 2 threads
# faults            trainings interrupted at every step, killed, or losing a process; signals; extreme inputs
# fuzz              20,000 broken inputs of every kind, and 20,000 run folders mixed from two good ones
# sweeps            estimators, heads and audits over the whole range of what they take
# soak              memory over 10,000 steps and 1,000 batches of predictions
# test-min          the suite on the lowest versions that pyproject.toml allows, in .venv-min
# audit-deps        known weaknesses of the versions in constraints.txt; fails where one is found or cannot be looked up
# docs              this documentation as a site, in build/site; in an environment of its own, .venv-docs
# dist-test         wheel and sdist into dist/, and the sdist's tests against the installed wheel, outside this folder

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint processes bench bench-estimators bench-dispatch faults fuzz sweeps soak test-min audit-deps docs dist-test clean

help:
	@sed -n 's/^# \([a-z-]*\)  */  make \1\t/p' Makefile

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	touch $@

demo: setup
	$(BIN)/gatewise train digits

test: .venv/tested
	$(BIN)/python -m pytest -n auto

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

processes: setup
	OMP_NUM_THREADS=1 GATEWISE_TEST_STEPS=50 GATEWISE_TEST_PROCESSES=2 $(BIN)/python -m pytest -q tests/distributed --ignore tests/distributed/test_spread.py
	OMP_NUM_THREADS=1 GATEWISE_TEST_STEPS=50 GATEWISE_TEST_PROCESSES=4 $(BIN)/python -m pytest -q tests/distributed

bench: setup
	$(BIN)/python benchmarks/loop_overhead.py
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/defaults.py
	$(BIN)/python benchmarks/biases.py
	$(BIN)/python benchmarks/objectives.py
	$(BIN)/python benchmarks/collapse.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/ways.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/predict.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scaling.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/streaming.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/classifiers.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/embeddings.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/outliers.py
	$(BIN)/python benchmarks/papers/polynomial.py
	$(BIN)/python benchmarks/papers/rebar_toy.py
	$(BIN)/python examples/answer.py

.venv-bench/installed: pyproject.toml constraints.txt benchmarks/competitors.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e . -r benchmarks/competitors.txt
	touch $@

bench-estimators: .venv-bench/installed
	.venv-bench/bin/python benchmarks/estimators.py
	.venv-bench/bin/python benchmarks/papers/mnist_vae.py

bench-dispatch: .venv-bench/installed
	OMP_NUM_THREADS=2 .venv-bench/bin/python benchmarks/dispatch.py

faults: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.interruptions
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.interruptions --ended
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.kills --kills 60
	$(BIN)/python -m tests.faults.losses --kills 20
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.signals
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.extremes

fuzz: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.fuzz --inputs 20000
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.mixed --inputs 20000

sweeps: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.sweeps.estimators --page
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.sweeps.heads --page
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.sweeps.audit --page

soak: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.soak

MIN_TESTS ?= tests
test-min:
	rm -rf .venv-min
	mkdir -p build
	$(PYTHON) tests/lowest.py > build/lowest.txt
	$(PYTHON) -m venv .venv-min
	.venv-min/bin/pip install --quiet --disable-pip-version-check -c build/lowest.txt torch
	.venv-min/bin/pip install --quiet --disable-pip-version-check -c build/lowest.txt -e '.[embeddings,images,onnx,tensorboard]' pytest pytest-xdist hypothesis pandas
	# libraries of so different ages warn of each other, which is no fault of ours
	.venv-min/bin/python -m pytest -n auto -W ignore::DeprecationWarning $(MIN_TESTS)

audit-deps:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

.venv-docs/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-docs/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: .venv-docs/installed
	.venv-docs/bin/python -m sphinx -W --keep-going -q -d build/doctrees docs build/site
	@echo "the site: build/site/index.html"

DIST_TESTS ?= tests
dist-test:
	rm -rf dist build/dist-test .venv-dist
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/pip install --quiet --disable-pip-version-check -c constraints.txt build
	.venv-dist/bin/python -m build --outdir dist
	.venv-dist/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-dist/bin/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(echo dist/*.whl)[test]"
	PYTHON="$(CURDIR)/.venv-dist/bin/python" tests/dist.sh dist/*.tar.gz $(DIST_TESTS)

clean:
	rm -rf .venv .venv-audit .venv-bench .venv-docs .venv-dist .venv-min runs dist build docs/generated
