# Each command does its own set-up; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build static image figures dist docs test lint bench matrix soak screenshots demo demo-stop

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install and start what is needed: packages, a Docker engine, a Swarm, example images
	@.ci/setup

build: ## the binary, for development: target/debug/skep
	@cargo build --locked

target_static := x86_64-unknown-linux-gnu
static: ## the binary for others: optimised, and without a library: target/x86_64-unknown-linux-gnu/release/skep
	@RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target $(target_static)

image: static ## the image, from that binary: skep:VERSION (IMAGE=…)
	@packaging/image.sh target/$(target_static)/release/skep "$${IMAGE:-skep:$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}"

figures: image ## what that binary and image weigh, and how soon it is there
	@packaging/figures.sh target/$(target_static)/release/skep "$${IMAGE:-skep:$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}"

dist: static ## a release in target/dist: archive, checksums, the changelog's entry
	@packaging/dist.sh target/$(target_static)/release/skep $(target_static) target/dist

docs: ## the book, in target/book; `.ci/docs` tries every block of it out
	@.ci/docs book

test: ## every check, in stages, with the time of each
	@.ci/test

lint: ## form and lints only
	@.ci/lint --locked --features sim

bench: setup ## the figures of the README, on this machine
	@cargo bench --locked --features sim
	@.ci/dashboard figures

matrix: setup ## the contract, the rendering and the stories on other engines, 26.1 and 28 of Debian, by debootstrap; the unit under systemd
	@.ci/matrix

soak: ## the randomised tests with many more cases; SOAK_MINUTES=10
	@.ci/soak

screenshots: setup ## the pictures of the page, in docs/screenshots
	@.ci/dashboard screenshots

demo: ## Skep on a real Swarm with the examples, ready to try
	@.ci/demo start

demo-stop: ## end the demo and remove its stacks
	@.ci/demo stop
