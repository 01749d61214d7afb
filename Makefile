# Timbre's commands; `make help` lists them. One profile builds everything, outside the checkout, so that a fresh clone is warm.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/timbre
export CARGO_TARGET_DIR ?= $(CACHE)/target
# Where rustup puts cargo, for shells that have not been told.
export PATH := $(PATH):$(HOME)/.cargo/bin

TIMBRE := $(CARGO_TARGET_DIR)/release/timbre
LISTEN ?= 127.0.0.1:8080
# What `make bench` measures: `make bench WHAT=turn`; `timbre bench --help` lists it.
WHAT ?=

.PHONY: demo serve test bench eval page lint fmt help setup build models test-setup test-models

demo: models ## Play a recorded question into the pipeline, show the turn, write reply.wav
	$(TIMBRE) talk "$$($(TIMBRE) models path moonshine-tiny-en)/two_cities.wav" --seconds 4.6 --out reply.wav

serve: models ## Serve, with a page to talk to, on http://127.0.0.1:8080 (LISTEN=address:port for another)
	TIMBRE_SERVER__LISTEN=$(LISTEN) $(TIMBRE) serve

test: test-setup ## Set up, then run every check and every test
	cargo fmt --all --check
	cargo lint
	@.ci/page check
	$(MAKE) --no-print-directory test-models
	TIMBRE_SDK_PYTHON="$(CACHE)/venv/bin/python" cargo test --release --workspace
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; fi

bench: models ## Measure quality, latency, load and cost (WHAT=... for a part)
	$(TIMBRE) bench $(WHAT)

eval: models ## Say how good the signals are on recordings in TIMBRE_DATA, and write docs/quality.md
	$(TIMBRE) eval --out docs/quality.md

page: ## Build the page that / shows from web/demo
	@.ci/setup page
	@.ci/page build

lint: ## Say what clippy finds
	cargo lint

fmt: ## Format the code
	cargo fmt --all

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 14

setup:
	@.ci/setup build

test-setup:
	@.ci/setup test

build: setup
	cargo build --release

# The default set; a second run only looks whether it is there.
models: build
	$(TIMBRE) models pull

# Some tests speak with Kokoro or compare meanings with MiniLM, which are not in the default set.
test-models: build
	$(TIMBRE) models pull
	$(TIMBRE) models pull kokoro minilm
