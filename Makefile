# Every target works from a bare clone: it makes .venv, installs the locked packages and builds the native core itself.
# Needs Python 3.11 or newer with its headers and venv, a C++20 compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py $(wildcard csrc/*.h csrc/*.cpp csrc/cpu/*.h csrc/cpu/*.cpp csrc/cuda/*)

LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement

.PHONY: help setup build reproduce rehearse test test-fast hostile check paper-numbers docs page-check cuda-check bench asan tsan fuzz image image-check wheel clean

help:
	@echo "make reproduce   regenerate every number of the mini suite and check the claims"
	@echo "make test        build and run the tests"
	@echo "make test-fast   the tests that take less than a second each, for the inner loop; make test is what counts"
	@echo "make hostile     tables of what strangers could send, with archives that unpack to gigabytes, and 200 kills"
	@echo "make check       format, lint, types, directions of imports, and the numbers of the documents against their sources"
	@echo "make paper-numbers  writes the tables, figures and quoted numbers of the documents from the result files"
	@echo "make docs        the documents and the API reference as a site in docs/_build; its links are checked"
	@echo "make page-check  the report page in headless Chromium, with axe-core; needs chromium and its driver"
	@echo "make cuda-check  compile every CUDA kernel for every architecture; needs no GPU"
	@echo "make bench       the kernel against its peers on this machine"
	@echo "make rehearse    the suite gemma2 with random weights from a hub on this machine; REHEARSE_ARGS='--scale full' for exact shapes"
	@echo "make asan        the native tests, and a writer beside every op, under the address and undefined-behaviour sanitisers"
	@echo "make tsan        the same under the thread sanitiser; needs libtsan, which comes with g++"
	@echo "make fuzz        1,000,000 inputs for the ops and 50,000 for the store reader; needs clang++"
	@echo "make image       the container image, with docker, podman or buildah; TARGET=gpu for the one with CUDA"
	@echo "make image-check builds it without an engine, runs it without network; needs root, debootstrap, buildah"
	@echo "make wheel       the source archive, and a wheel that needs no compiler, in dist"
	@echo "make setup       only the virtual environment; make build: and the native core"

setup: $(VENV)/.locked
$(VENV)/.locked: requirements.lock requirements-dev.lock requirements-cuda.lock scripts/release/install_locked.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "semconv: Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "semconv: Python's venv module is needed, $(PYTHON) has none (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@$(PYTHON) -c 'import pathlib, sys, sysconfig; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' || { echo "semconv: Python.h is needed to build the native core, $(PYTHON) has none (Debian: apt-get install python3-dev)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	scripts/release/install_locked.sh $(BIN)/python --dev
	@touch $@

build: $(VENV)/.built
$(VENV)/.built: $(VENV)/.locked $(SOURCES) pyproject.toml
	@command -v $(firstword $(or $(CXX),c++)) >/dev/null || { echo "semconv: a C++20 compiler is needed, found no '$(or $(CXX),c++)' on PATH (Debian: apt-get install g++)" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

reproduce: build
	$(BIN)/semconv reproduce mini

# On every core up to four, each of which loads torch; PYTEST_ARGS="-n 0 FILE" runs some tests in this process.
WORKERS := -n auto --maxprocesses 4 --dist worksteal
test: build
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

test-fast: build
	$(BIN)/python -m pytest $(WORKERS) -m "not slow" $(PYTEST_ARGS)

hostile: build
	SEMCONV_HOSTILE=1 $(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS) tests/hostile

check: build
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror csrc/*.h csrc/*.cpp csrc/cpu/*.h csrc/cpu/*.cpp csrc/cuda/* tests/fuzz/*.cpp tests/cuda/*.cpp
	$(BIN)/shellcheck scripts/*.sh scripts/*/*.sh scripts/release/image/*.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python scripts/paper/paper_numbers.py --check
	$(BIN)/python scripts/release/results_schema.py --check

paper-numbers: build
	$(BIN)/python scripts/paper/paper_numbers.py

# Warnings are errors, among them links between documents that lead nowhere.
docs: build
	$(LOCKED) requirements-docs.lock
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going -d build/doctrees -c docs . docs/_build
	$(BIN)/python scripts/checks/check_site.py docs/_build

# Only this target needs a browser. axe-core comes out of a package for another driver, whose own needs are left out.
page-check: build
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null && command -v chromedriver >/dev/null || { echo "semconv: page-check needs Chromium and its driver, found none on PATH (Debian: apt-get install chromium chromium-driver)" >&2; exit 2; }
	$(LOCKED) requirements-page.lock
	SEMCONV_PAGE_CHECK=1 $(BIN)/python -m pytest tests/report/test_page_browser.py

cuda-check: build
	$(BIN)/python scripts/checks/cuda_check.py

# The MKL peer is large and only this target needs it; without it the table says so.
bench: build
	-$(LOCKED) requirements-mkl.lock
	$(BIN)/semconv bench --quick

# Tiny by default; --scale full writes Gemma-2-2B and 9B with random weights: 60 GB of disk, hours.
rehearse: build
	$(BIN)/python scripts/measure/rehearse.py $(REHEARSE_ARGS)

asan: build
	scripts/checks/sanitize.sh address $(BIN)/python

tsan: build
	scripts/checks/sanitize.sh thread $(BIN)/python

fuzz: build
	scripts/checks/fuzz.sh 1000000 50000 $(BIN)/python

TARGET ?= cpu
image:
	scripts/release/build_image.sh $(TARGET)

# IMAGE_CHECK_ARGS: --fast, --results runs/mini/results.json (the image must write the same bytes), --keep
image-check: build
	scripts/checks/image_check.sh $(BIN)/python $(IMAGE_CHECK_ARGS)

# For PYTHON, torch as locked. FOLDER takes the files; PYTHON=python3.12 VENV=build/python3.12 makes one for that Python.
FOLDER ?= dist
wheel: setup
	scripts/release/wheel.sh $(BIN)/python $(FOLDER)

clean:
	rm -rf $(VENV) build dist docs/_build docs/api *.egg-info semconv/*.so
