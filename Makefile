# A thin list of what can be done; the work is in scripts/. YES=1 asks nothing, DRY=1 only lists what setup would do.
.DEFAULT_GOAL := help
.PHONY: help setup build run test test-long lint format bench uninstall

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what building and running Warren needs, and build it
	@scripts/setup.sh run

build: ## the server, target/release/warren
	@scripts/build.sh

run: ## set up, start Warren, deploy and call two example functions, serve on
	@scripts/run.sh

test: ## every suite; SUITES="unit e2e" for some of them
	@scripts/setup.sh test
	@scripts/test.sh

test-long: ## what takes too long for every day: 1,000 calls through each of AWS's own clients
	@scripts/setup.sh test
	@SUITES="build fixtures trees long" scripts/test.sh

lint: ## format, clippy, crate arrows, licences, scripts
	@scripts/lint.sh

format: ## format all Rust code
	@cargo fmt --all

bench: ## measure Warren and its peers on this machine
	@scripts/setup.sh bench
	@scripts/bench.sh

uninstall: ## undo what setup and run did to this machine; DRY=1 only lists it
	@scripts/uninstall.sh
