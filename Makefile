# `make` alone lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ENGINE ?= docker
VARIANTS ?= cpu cuda
# As many tests at once as there are processors, those of a file in one process.
SIDE_BY_SIDE := -n logical --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo images lock test test-all test-containers test-services test-chart test-ui lint format docs compile bench bench-scale bench-hessian results clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## Install everything into .venv

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## Run the whole pipeline on scanned digits, to a registered champion
	$(BIN)/longtail run --preset digits --set promotion.model=digits --set promotion.bootstrap=true

images: $(INSTALLED)  ## Build the container images (ENGINE=docker or podman; docker/README.md tells of more)
	$(BIN)/python docker/build.py $(VARIANTS) --engine $(ENGINE) \
		$(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(if $(PUSH),--push $(PUSH))

lock: $(INSTALLED)  ## Write what the images hold, with hashes, from setup.py and constraints.txt
	$(BIN)/python docker/lock.py $(if $(CPU_INDEX),--cpu-index $(CPU_INDEX))

test: $(INSTALLED)  ## Run the tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-all: $(INSTALLED)  ## Run the tests, the slow ones too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not services and not containers and not chart and not ui'

test-containers: $(INSTALLED)  ## Run the pipeline in containers of the CPU image, with podman
	$(BIN)/python -m pytest -m containers tests/docker tests/pipelines

test-services: $(INSTALLED)  ## Run the pipeline on PostgreSQL, S3 and MLflow with passwords, also killed in the middle
	$(BIN)/python -m pytest -m services tests/services

test-chart: $(INSTALLED)  ## Check the Helm chart, and run what it renders on PostgreSQL and S3 (KUBE_APISERVER=PATH installs it too)
	$(BIN)/python -m pytest -m chart tests/charts

test-ui: $(INSTALLED)  ## Look at two runs in MLflow and at their report with Chromium (LONGTAIL_SCREENSHOTS=PATH keeps pictures)
	$(BIN)/python -m pytest -m ui tests/ui

lint: $(INSTALLED)  ## Check style, types, and that generated pages are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m components.readme --check

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## Write the components' pages from their code
	$(BIN)/python -m components.readme

compile: $(INSTALLED)  ## Write the pipeline for Kubeflow to longtail.yaml
	$(BIN)/longtail compile --preset digits --out longtail.yaml

bench: $(INSTALLED)  ## Time sampling, training and prediction beside their peers and limits
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/prediction.py

bench-scale: $(INSTALLED)  ## Balance ImageNet-LT's 115,846 x 2,048 features on disk (11 GB)
	$(BIN)/python benchmarks/calibration_scale.py

bench-hessian: $(INSTALLED)  ## Time layerwise curvature and its penalty beside their peers (DATA=PATH for CIFAR-100)
	$(BIN)/python -W ignore benchmarks/hessian.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/htr.py

results: $(INSTALLED)  ## Write the results table, its figures and the README's block from results/*.csv
	$(BIN)/longtail results table

clean:  ## Remove what local runs left: artifacts, cache, runs in MLflow
	rm -rf .longtail
