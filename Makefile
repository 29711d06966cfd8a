# `make demo` and `make test` work from a fresh clone; `make help` lists the rest.
# Everything is installed into .venv, nothing into the machine's own Python. Exact versions: constraints.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

STARTED := $(shell date +%s)
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip -qq --no-input --disable-pip-version-check
# The CUDA rasteriser only where there is a GPU; its torch is then the CUDA one.
GPU := $(if $(shell command -v nvidia-smi),gpu)
EXTRAS := ros sim openclip ray dev $(GPU)
SOURCES := $(shell find m3_ros msg srv action launch config -type f -not -path '*/__pycache__/*')

# A ROS installation, another DDS or another environment of the caller must not reach into ours.
unexport PYTHONPATH PYTHONHOME RMW_IMPLEMENTATION ROS_DISCOVERY_SERVER ROS_LOCALHOST_ONLY _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PYTHONNOUSERSITE := 1
export PIP_REQUIRE_VIRTUALENV := 1
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)
# ROS messages stay on this machine, in a domain of this clone's own.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_DOMAIN_ID := $(shell echo $$((1 + $$(cksum <<< '$(CURDIR)' | cut -d' ' -f1) % 100)))
export ROS_LOG_DIR := $(CURDIR)/runs/log
# Shared memory large enough for images; the second name is that of newer ROS releases.
export FASTRTPS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds.xml
export FASTDDS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds.xml
export HF_HUB_OFFLINE := 1
export OMP_WAIT_POLICY := passive

.PHONY: help setup demo test lint clean distclean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/make \1 -/p' $(MAKEFILE_LIST) | column -t -s-

setup: $(VENV)/.m3_ros  ## .venv with every dependency, the ROS interfaces and the kernel

demo: setup  ## a simulated robot records, remembers, answers and walks there (ARGS="..." goes to `m3 demo`)
	@mkdir -p '$(ROS_LOG_DIR)'
	@M3_SETUP_SECONDS=$$(($$(date +%s) - $(STARTED))) '$(PYTHON)' -m m3_ros.cli.main demo $(ARGS)

test: setup  ## every test: units, real nodes over DDS, golden numbers (ARGS="..." goes to pytest)
	@mkdir -p '$(ROS_LOG_DIR)'
	@'$(PYTHON)' -m pytest $(ARGS)

lint: setup  ## ruff, mypy and the import contracts
	@'$(PYTHON)' -m ruff check .
	@'$(PYTHON)' -m mypy
	@'$(VENV)/bin/lint-imports'

clean:  ## forget builds and caches; runs/ and .venv stay
	rm -rf build dist ./*.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis '$(VENV)/.m3_ros'

distclean: clean  ## forget .venv too
	rm -rf '$(VENV)'

# Each stamp says that a step was done with its inputs as they are.
$(VENV)/.made:
	@.ci/venv '$(VENV)'
	@touch '$@'

$(VENV)/.packages: constraints.txt setup.cfg | $(VENV)/.made
	@echo 'm3_ros: installing Python packages into .venv (2 GB; minutes the first time)'
	@$(TORCH)
	@$(PIP) install -c constraints.txt -r <('$(PYTHON)' -c '$(REQUIREMENTS)' $(EXTRAS))
	@touch '$@'

$(VENV)/.m3_ros: $(SOURCES) package.xml CMakeLists.txt setup.py setup.cfg $(VENV)/.packages
	@echo 'm3_ros: building the ROS interfaces and the kernel'
	@$(PIP) install --no-index --no-deps --no-build-isolation .
	@touch '$@'

# Without a GPU the CPU build of torch comes first, from the machine's own index if that has it, else from PyTorch's.
# Otherwise the packages that need torch would bring the CUDA build and several GB of libraries.
TORCH_PIN := $(shell grep '^torch==' constraints.txt)
TORCH := $(if $(GPU),true,$(PIP) install -c constraints.txt $(TORCH_PIN)+cpu 2>/dev/null \
  || $(PIP) install -c constraints.txt --timeout 20 --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu $(TORCH_PIN)+cpu \
  || echo 'm3_ros: no CPU build of torch within reach, taking the one of PyPI')

# One home of the requirements: setup.cfg.
REQUIREMENTS := import configparser, sys; c = configparser.ConfigParser(); c.read("setup.cfg"); \
  print(c["options"]["install_requires"], *(c["options.extras_require"][extra] for extra in sys.argv[1:]))
