# Systems That Last: `make help` says what there is. Every command sets the environment up first, once.

SHELL := /bin/sh
unexport PYTHONDONTWRITEBYTECODE

# An active conda environment of the course (environment.yml) is used as it is; otherwise .venv is made from the pins.
ifeq ($(CONDA_DEFAULT_ENV),systems-that-last)
ENV := $(CONDA_PREFIX)
else
ENV := $(CURDIR)/.venv
endif
# nbgrader calls alembic by name, so the environment's own programs come first.
RUN := PATH="$(ENV)/bin:$$PATH" "$(ENV)/bin/python"
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/build/hypothesis

# The first interpreter that is new enough; `make PYTHON=/path/to/python3.12 lab` names one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help lab test build course-check autograde feedback services bench bench-grading clean setup

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

lab: setup ## Open JupyterLab on the course (PORT=8899 for another port; LAB="--no-browser" for its own options)
	@$(RUN) -m tools.build --chapters || echo "Notebooks whose source has mistakes stay as they were."
	@$(RUN) -m tools.lab $(LAB)

test: setup ## Run all tests, installing missing system programs where that is possible (TESTS="tests/tools -k build")
	@$(RUN) -m tools.system_programs
	$(RUN) -m pytest $(or $(TESTS),tests solutions --nbval-lax --nbval-current-env)

build: setup ## Make chapters/ and the golden notebooks from the sources in solutions/ (only what changed)
	@$(RUN) -m tools.build

course-check: setup ## Tell an author what is broken, and which file to edit (EXERCISE=17.2.1 for one)
	@$(RUN) -m tools.course_check $(EXERCISE)

autograde: setup ## Grade what was handed in under build/submitted; the sample class where nothing was
	@$(RUN) -m graders autograde $(ARGS)

feedback: setup ## Write the feedback pages again, with what people have graded
	@$(RUN) -m graders feedback $(ARGS)

services: setup ## Start real Prometheus and Alertmanager with the course's rules (ARGS="--replay errors-20" for an incident)
	@$(RUN) -m tools.services $(ARGS)

bench: setup ## Measure the primitives beside the published ones (ARGS="--quick circuit_breaker")
	@$(RUN) -m tests.bench $(ARGS)

bench-grading: setup ## Measure how long grading takes
	@$(RUN) -m tests.bench grading $(ARGS)

clean: ## Remove what was generated under build/; .venv stays
	rm -rf build

setup:
ifneq ($(CONDA_DEFAULT_ENV),systems-that-last)
	@if [ -z "$(PYTHON)" ]; then \
		echo "The course needs Python 3.11 or newer, and here is $$(python3 --version 2>/dev/null || echo none). Install one, or name it: make PYTHON=/path/to/python3.12 lab" >&2; exit 1; fi
	@$(PYTHON) tools/set_up.py "$(ENV)"
else
	@$(RUN) -c 'import shared' 2>/dev/null || $(RUN) -m pip install -q --no-deps --no-build-isolation -e .
endif
