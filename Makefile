# Needs GNU make, a C compiler and rustup; rustup brings the toolchain that rust-toolchain.toml
# names. Every target builds the whole workspace, so that they share what they have compiled.

WASM := wasm32-unknown-unknown

# Where everything compiled goes. Machines that run every change start from a fresh clone: they keep
# it elsewhere.
export CARGO_TARGET_DIR ?= $(if $(CI),$(HOME)/.cache/unskew/target,$(CURDIR)/target)
TARGET := $(abspath $(CARGO_TARGET_DIR))

# The Python packages that the tests compare with, in an environment of their own.
export UNSKEW_PYTHON := $(TARGET)/python/bin/python

.PHONY: help demo test lint bench bench-online bench-offline bench-materialize tools servers

help:
	@echo 'make demo   train, serve and audit on real data, in under a minute after the build'
	@echo 'make test   every test'
	@echo 'make lint   formatting, clippy and the documentation, warnings denied'
	@echo 'make bench  what a call of a transform costs, and a row in the stores'
	@echo 'make bench-online  answers a second: ours, feast serve, and the limits'
	@echo 'make bench-offline  training datasets and row transforms against DuckDB and Polars'
	@echo 'make bench-materialize  what materializing costs, beside Feast'

# Building one transform compiles what all of them need.
demo: tools
	cargo build --locked --workspace
	'$(TARGET)/debug/unskew' transform build transforms/user_age
	UNSKEW='$(TARGET)/debug/unskew' sh examples/cdnow/demo.sh

test: tools servers $(TARGET)/python/installed
	cargo test --locked --workspace

lint: tools
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

# Everything optimised, as users run it: the first time compiles the dependencies once more.
bench: tools servers $(TARGET)/python/installed
	cargo bench --locked --workspace --bench runtime --bench store

bench-online: tools servers $(TARGET)/python/installed
	cargo bench --locked --workspace --bench online

# ROWS and LINES are the sizes,
# MEMORY is the limit that unskew gets, RUNS how often each engine runs; benches/offline.py says more.
ROWS ?= 1000000
LINES ?= $(ROWS)
RUNS ?= 3
MEMORY ?=
bench-offline: tools $(TARGET)/python/installed
	cargo build --locked --workspace --release
	'$(UNSKEW_PYTHON)' benches/offline.py --unskew '$(TARGET)/release/unskew' \
		--folder '$(TARGET)/bench-offline' --rows $(ROWS) --lines $(LINES) --runs $(RUNS) --memory '$(MEMORY)'

# Into the embedded store and into Redis, beside Feast, in one run.
bench-materialize: tools servers $(TARGET)/python/installed
	cargo build --locked --workspace --release
	'$(UNSKEW_PYTHON)' benches/materialize.py --unskew '$(TARGET)/release/unskew'

# What the build needs, or how to get it.
tools:
	@command -v cc >/dev/null || { echo 'There is no C compiler: install gcc or clang (Debian, Ubuntu: apt install build-essential; macOS: xcode-select --install).' >&2; exit 1; }
	@command -v cargo >/dev/null || { echo 'There is no cargo: install rustup from https://rustup.rs and open a new shell.' >&2; exit 1; }
	@rustc --version >/dev/null || rustup toolchain install
	@test -d "$$(rustc --print target-libdir --target $(WASM))" || { \
		command -v rustup >/dev/null || { echo 'This Rust cannot compile for $(WASM): install rustup from https://rustup.rs.' >&2; exit 1; }; \
		rustup target list --installed | grep -qx $(WASM) || rustup target add $(WASM); }

# The servers that the tests start for themselves.
servers:
	@command -v redis-server >/dev/null || { \
		command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { echo 'There is no redis-server: install it (Debian, Ubuntu: apt install redis-server; macOS: brew install redis).' >&2; exit 1; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server; }

$(TARGET)/python/installed: tests/requirements.txt
	@command -v python3 >/dev/null || { echo 'There is no python3: the tests compare with packages of Python (Debian, Ubuntu: apt install python3-venv).' >&2; exit 1; }
	python3 -m venv '$(TARGET)/python'
	'$(TARGET)/python/bin/python' -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch '$@'
