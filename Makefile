# Two commands do everything: `make demo` shows the main job, `make test` passes the tests.
# `make help` lists the others.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
# Files are UTF-8, whatever the locale.
export PYTHONUTF8 := 1
CODE := resource tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup parts demo test lint format fuzz bench pictures requirements trusted-root wheelhouse image bundle clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: $(STAMP) ## Make .venv with everything needed to run, test and develop

# Pinned and hashed, from wherever pip is configured to look. The pins are complete: left to find dependencies, a pip before
# 23.3 takes the newest version of a package that is needed with an extra, and refuses it for not being pinned.
$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	@echo "Installing packages into $(VENV): a minute or two, once" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  --only-binary=:all: --requirement requirements-dev.txt
	@touch $@

parts: setup ## Install the real parts that tests use (Debian, as root)
	@.ci/install-parts $(PY)

demo: setup ## check → in of an image with a hard-linked git, from a registry started for it
	@$(PY) -m benchmarks.demo

# Two cores are enough to keep both the registry and the tests busy; a group keeps the Docker Engine to one worker.
test: parts ## Run the tests; ARGS=… goes to pytest
	@$(PY) -m pytest -q --numprocesses=auto --dist=loadgroup $(ARGS)

lint: setup ## Check format, style and types
	@$(VENV)/bin/ruff format --check $(CODE)
	@$(VENV)/bin/ruff check $(CODE)
	@$(VENV)/bin/mypy

format: setup ## Format the code, fix what can be fixed
	@$(VENV)/bin/ruff format $(CODE)
	@$(VENV)/bin/ruff check --fix $(CODE)

# Coverage-guided where atheris installs; what it finds goes to tests/fuzz/corpus, which the tests replay.
FUZZ_SECONDS ?= 600
fuzz: setup ## Fuzz the reader of layers for FUZZ_SECONDS, then run the property tests for long
	@mkdir -p .cache/fuzz/layers
	@if $(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check atheris; then \
	  PYTHONPATH=resource $(PY) -m tests.fuzz.layers -max_total_time=$(FUZZ_SECONDS) \
	    .cache/fuzz/layers tests/fuzz/corpus/layers; \
	else echo "atheris does not install here: hypothesis alone" >&2; fi
	@$(PY) -m pytest -q --hypothesis-profile=fuzz --timeout=0 tests/property $(ARGS)

bench: setup ## Measure speed against other tools and against the machine's own floor
	@PYTHONPATH=resource $(PY) -m benchmarks $(ARGS)

# ARGS=--record runs the steps that they show once more, and draws what those write now.
pictures: setup ## Draw docs/pictures/*.svg of the build logs recorded beside them
	@$(PY) -m benchmarks.pictures $(ARGS)

# The two files hold versions and hashes for every platform and Python that the project runs on.
COMPILE = .cache/uv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
  --custom-compile-command "make requirements"
requirements: ## Pin the newest versions that pyproject.toml allows
	@$(PYTHON) -m venv .cache/uv
	@.cache/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) pyproject.toml --all-extras --output-file requirements.txt
	@$(COMPILE) pyproject.toml --all-extras --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(COMPILE) --group sbom --output-file .ci/requirements-sbom.txt

trusted-root: setup ## Renew the default trusted root of keyless signatures, from sigstore's wheel
	@$(PY) .ci/trusted-root resource/registry_image/signing/public_good.json

# The image: the engine that builds it (docker, podman), its base, the Python in that, its name, and the version and
# architecture of its bundle.
DOCKER ?= docker
BASE_IMAGE ?= python:3.13-slim-bookworm
IMAGE_PYTHON ?= 3.13
IMAGE ?= registry-image-resource
VERSION ?= $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' resource/registry_image/version.py)
ARCH ?= $(subst aarch64,arm64,$(subst x86_64,amd64,$(shell uname -m)))

DOWNLOAD = $(PY) -m pip download --quiet --disable-pip-version-check --no-deps --dest wheelhouse
wheelhouse: setup ## Gather the image's packages beforehand, so that its build needs no index
	@echo "Gathering packages in wheelhouse/: about a minute" >&2
	@rm -rf wheelhouse
	@printf '%s\n' requirements-dev.txt .ci/requirements-sbom.txt | xargs --max-procs=2 --max-args=1 \
	  $(DOWNLOAD) --only-binary=:all: --python-version $(IMAGE_PYTHON) --require-hashes --requirement
	@$(DOWNLOAD) pip

# The commit, `-dirty` where the checkout differs from it; and its time, which all files of the image have.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
REVISION = git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown
image: ## Build the image; ARGS=… goes to the build
	@DOCKER=$(DOCKER) .ci/engine
	@$(DOCKER) build --target resource --tag $(IMAGE) --build-arg base_image=$(BASE_IMAGE) \
	  --build-arg version=$(VERSION) --build-arg revision=$$($(REVISION)) \
	  --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(ARGS) .

bundle: ## Pack the built image and its SBOM for a worker's resource-types/, into dist/
	@DOCKER=$(DOCKER) .ci/engine
	@DOCKER=$(DOCKER) .ci/bundle $(IMAGE) $(VERSION) $(ARCH) dist

clean: ## Remove what the other targets made
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist resource/*.egg-info wheelhouse
	find . -name __pycache__ -prune -exec rm -rf {} +
