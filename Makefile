# Ringfence. `make` lists the targets. make demo and make test need nothing but Go,
# git and make on Debian 12 or 13, as root: scripts/bootstrap fetches the rest.
FUZZTIME := 30s

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
demo: ## the whole box against real peers and attackers, under two minutes (root)
	@scripts/bootstrap demo && go run ./scripts/demo
run: ## the lab with the box in it, and a prompt to play in (root)
	@scripts/bootstrap run && scripts/play
test: ## every test, race detector on, end-to-end ones included (root)
	@scripts/bootstrap test && go test -race $(TESTFLAGS) ./...
matrix: ## what real peers see of the box, as tables: a part of make test (root)
	@scripts/bootstrap test && scripts/matrix
test-kernels: ## the gate's tests on Debian's kernels in QEMU; ARCH=arm64, or ALL=1
	@scripts/bootstrap kernels && scripts/test-kernels $(TESTFLAGS)
bench: ## the gate and the inspector against their peers, in ratios (root)
	@scripts/bootstrap bench && scripts/bench/run
generate: ## the eBPF objects anew (clang 19)
	@scripts/bootstrap generate && go generate ./...
lint: ## gofmt, vet, clang-format, shellcheck, golangci-lint
	@scripts/bootstrap lint && scripts/lint
build: ## every command for this machine into build/; ALL=1 for every target
	@scripts/build $(ALL)
fuzz: ## every fuzz target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)
clean: ## remove build/
	@rm -rf build

.PHONY: help demo run test matrix test-kernels bench generate lint build fuzz clean
