# `make up` and `make test` do all the set-up they need. Every target calls `setup`, which does nothing when it is done.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# The newest Python that is new enough, under the names that distributions give it.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $p)) python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# `sudo make …`: what is made in the checkout belongs to whom the checkout belongs to, not to root.
ifeq ($(shell [ -n "$$SUDO_UID" ] && [ "$$(id -u)" = 0 ] && stat -c %u .),$(or $(SUDO_UID),nobody))
AS_PERSON := setpriv --reuid=$(SUDO_UID) --regid=$(SUDO_GID) --init-groups \
  env HOME="$(shell getent passwd $(SUDO_UID) | cut -d: -f6)"
LOCAL := $(BIN)/python -B -m local
else
LOCAL := $(BIN)/python -m local
endif
IN_STACK := $(LOCAL) run --
# What only asks has nothing to ask before the first `make up`, and makes nothing for it.
MADE := $(if $(wildcard $(BIN)/python),setup,nothing-yet)
export IMAGE RUN
# Two begin with the chains of tests on the cluster, which wait most of the time; the third takes the rest.
WORKERS ?= 3
CHECKED := infra training serving client store local tools tests benchmarks examples __main__.py

.PHONY: help setup nothing-yet doctor up predict status logs cancel env stop destroy down data film frontend check test test-cluster test-fast test-kills test-stores release
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup: $(STAMP) $(BIN)/dlstack ## make .venv with all that a developer needs
$(STAMP): requirements.txt requirements-dev.txt local/requirements.txt
	@echo "installing Python packages into $(VENV) (about two minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON to it.")'
	@$(AS_PERSON) $(PYTHON) -m venv $(VENV)
	@$(AS_PERSON) $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-dev.txt -r local/requirements.txt
	@$(AS_PERSON) touch $@

# The client of this checkout for every folder: the command `dlstack`, and the package `dlstack_client`.
$(BIN)/dlstack: $(STAMP) Makefile
	@site="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
	  $(AS_PERSON) ln -sfn "$(CURDIR)/client" "$$site/dlstack_client"
	@printf '%s\n' '#!/bin/sh' "'''exec' '$(abspath $(BIN))/python' \"\$$0\" \"\$$@\"" "' '''" \
	  'from dlstack_client._command.cli import run' '' 'run()' | $(AS_PERSON) tee $@ > /dev/null
	@$(AS_PERSON) chmod +x $@

nothing-yet:
	@echo 'nothing is here yet: run `make up` (or `make setup`, if your stack is on a cluster of your own)' >&2; exit 1

doctor: ## whether this machine can host the cluster, and the cure for what it lacks (JSON=1: for programs)
	@$(if $(wildcard $(STAMP)),$(BIN)/python,$(PYTHON)) -B -m local.doctor $(if $(JSON),--json)

up: setup ## the whole system on this machine (or the cluster of KUBECONFIG), ending with a prediction; NODES=3: on three nodes
	@$(LOCAL) up
	@$(AS_PERSON) $(BIN)/python -m local deploy

predict: $(MADE) ## what the model says to a file (picture, .csv, .json, .txt) or folder: make predict IMAGE=digit.png
	@test -n "$$IMAGE" || { echo 'name a file or folder: make predict IMAGE=digit.png'; exit 2; }
	@$(IN_STACK) $(BIN)/python -m client predict -- "$${IMAGE/#\~\//$$HOME/}"

status: $(MADE) ## the parts, the job, the models and the addresses
	@$(LOCAL) status

logs: $(MADE) ## follow the training job's log: make logs, or RUN=5a1dcbe5 for that of an earlier run
	@$(IN_STACK) $(BIN)/python -m infra logs $(if $(RUN),--run "$$RUN",-f)

cancel: $(MADE) ## end the training that runs; the next make up goes on from its last checkpoint
	@$(IN_STACK) $(BIN)/python -m infra cancel

env: $(MADE) ## shell variables for pulumi, kubectl and the client: eval "$(make env)"
	@$(LOCAL) env

stop: setup ## stop the embedded cluster and keep everything: make up goes on from there
	@$(LOCAL) stop

destroy: setup ## pulumi destroy: takes the stack down
	@$(LOCAL) destroy

down: setup ## destroy, and stop the embedded cluster; asks if that deletes models (YES=1: does not ask)
	@$(LOCAL) down

film: setup ## record make up and the page as the film of the README: docs/images/film.svg
	@$(BIN)/python -m tools.film

data: setup ## download MNIST into ./data/mnist
	@$(AS_PERSON) $(BIN)/python -m training.datasets.download_mnist --target_dir=data/mnist

frontend: setup ## build the model server's fast front end (Go) for `python -m serving` in this checkout
	@$(AS_PERSON) $(BIN)/python -m local frontend

check: setup frontend ## format, lint, types, fast tests
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n $(WORKERS) -m "not slow and not cluster"

test: setup frontend ## everything: check, the slow tests, and a real `pulumi up` on a real cluster
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/mypy & types=$$!; $(BIN)/pytest -n $(WORKERS); tests=$$?; wait $$types && exit $$tests

test-cluster: setup ## only the tests on a real cluster
	@$(BIN)/pytest -n $(WORKERS) -m cluster

test-fast: setup ## one stack's life on a real cluster: up, a change, a roll-back, destroy
	@$(BIN)/pytest tests/cluster/with_own_stacks/test_life_of_a_stack.py

test-kills: setup ## kill pulumi in each way at each moment of a stack's life, on a real cluster; over an hour
	@$(BIN)/pytest tests/cluster/killed --all-kills

test-stores: setup ## the suite of object stores, versitygw among them, which is built first; 2 minutes
	@$(BIN)/python -m tests.versitygw
	@$(BIN)/pytest tests/store

release: setup ## what a release consists of, in dist/: archive, client wheel, image recipe, notes
	@$(BIN)/python -m tools.release
