# The commands of this repository; `make` alone lists them.
# Everything here is a thin name for a script or for `cargo xtask`, so that CI and people run the same.

.DEFAULT_GOAL := help
.PHONY: help demo test test-kubernetes check fmt setup generate bench bench-quick bench-kubernetes static

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## install what is missing, build, and run examples/fincorp on this machine
	@scripts/demo.sh

test: ## install what the tests need, then run all checks and all tests
	@scripts/test.sh

test-kubernetes: ## the tests on a real Kubernetes: the one that KUBECONFIG names, or one of this machine
	@scripts/test-kubernetes.sh

check: ## format, lints, layers, purity, sizes, generated files (no tests)
	@cargo xtask check

fmt: ## format the code
	@cargo fmt --all

setup: ## install what is missing: PostgreSQL, cargo-nextest, the PostgreSQL builds to test with
	@scripts/setup.sh test

generate: ## write docs/cli.md, schema/ and charts/ from the binary
	@cargo xtask generate

bench: ## measure Boma beside what a user would take instead; prints Markdown tables
	@scripts/bench.sh

bench-quick: ## the same with few repetitions, to see that it works
	@scripts/bench.sh --quick

bench-kubernetes: ## a thousand databases on an API server, and the first query in a cluster
	@scripts/bench-kubernetes.sh

static: ## a release build that needs no library of this machine, for an image: see Containerfile
	@scripts/static.sh
