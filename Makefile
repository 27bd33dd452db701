# Everything starts here: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What binaries are made of. Tests and the image module (which is built by `sickbay image build` itself) are not part of it.
SOURCES := go.mod go.sum $(shell find . -path ./images -prune -o -path ./.git -prune -o -path ./bin -prune -o \
	\( -name '*.go' ! -name '*_test.go' -o -path '*/scenarios/*' -name '*.yaml' -o -path '*/kind-configs/*' -name '*.yaml' -o -path './docs/guide.md' -o -path './docs/failures/*.md' -o -path './suites/page/*' -o -path '*/vm/guest/*' \) -type f -print)
BINARIES := bin/sickbay bin/sickbay-agent-linux-amd64 bin/sickbay-agent-linux-arm64

PROFILE ?= core
CONTROLS ?= core
REPORT ?=
ARGS ?=

.PHONY: help
help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(BINARIES) ## bin/sickbay and the agent for both architectures

# Without cgo it runs in any Linux: in a container of one file (the engine's probe) and in the virtual machine.
bin/sickbay: $(SOURCES)
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/sickbay

bin/sickbay-agent-linux-%: $(SOURCES)
	CGO_ENABLED=0 GOOS=linux GOARCH=$* go build -trimpath -ldflags '-s -w' -o $@ ./cmd/sickbay-agent

.PHONY: setup
setup: build ## engine, node image and cluster, ready to fall ill
	bin/sickbay cluster up $(ARGS)

.PHONY: scenario
scenario: build ## one scenario through all seven steps: make scenario NAME=pleg-disk
	@test -n "$(NAME)" || { echo "which one? make scenario NAME=pleg-disk (bin/sickbay list shows them all)" >&2; exit 2; }
	bin/sickbay run $(NAME) $(if $(REPORT),--report $(REPORT)) $(ARGS)

.PHONY: conformance
conformance: build ## all scenarios of a profile, and the controls of the core ones: make conformance PROFILE=all REPORT=reports/today
	bin/sickbay suite --profile $(PROFILE) --controls=$(CONTROLS) $(if $(REPORT),--report $(REPORT)) $(ARGS)

.PHONY: vm-scenario
vm-scenario: build ## one scenario in a virtual machine: make vm-scenario NAME=apparmor-denied
	@test -n "$(NAME)" || { echo "which one? make vm-scenario NAME=apparmor-denied (bin/sickbay list shows them all)" >&2; exit 2; }
	bin/sickbay vm run $(NAME) $(if $(REPORT),--report $(REPORT)) $(ARGS)

.PHONY: vm-conformance
vm-conformance: build ## all scenarios of a profile in a virtual machine: make vm-conformance PROFILE=all REPORT=reports/vm
	bin/sickbay vm run --profile $(PROFILE) $(if $(REPORT),--report $(REPORT)) $(ARGS)

SOAK ?= 10m
.PHONY: soak
soak: build ## a healthy cluster, watched for ten minutes: no detector may speak
	bin/sickbay cluster up
	bin/sickbay diagnose --watch --for $(SOAK) $(ARGS)

.PHONY: decoys
decoys: build ## oddities that are no illness, made on a real node: no detector may speak
	bin/sickbay run suites/decoys/*/ $(if $(REPORT),--report $(REPORT)) $(ARGS)

.PHONY: byhand
byhand: build ## break a stranger's cluster by hand and ask what it has: make byhand ARGS="'kubelet-*' odd-cordoned"
	go run ./suites/byhand $(ARGS)

.PHONY: chaos-self
chaos-self: build ## kill sickbay at every point of every core scenario: make chaos-self ARGS="--scenario swap-on --point clear --mode wait"
	bin/sickbay chaos --table docs/results/kill-matrix.md $(ARGS)

# Each needs a worker for itself; SICKBAY_CLUSTER and SICKBAY_NODE name them.
DISASTER ?= TestDisasters|TestAgentKilled|TestTwoHarnesses|TestWalkOnANode
.PHONY: disasters
disasters: build ## nodes paused, restarted and killed mid-fault, an agent killed mid-injection, two harnesses for one node, a walk of 200 steps
	SICKBAY_E2E=1 go test ./suites -count=1 -v -run '$(DISASTER)' -timeout 60m

RUNS ?= 50
.PHONY: soak-runs
soak-runs: build ## the three quickest core scenarios, RUNS times in a row: nothing may drift
	SICKBAY_E2E=1 SICKBAY_RUNS=$(RUNS) go test ./suites -count=1 -v -run TestRunsInARow -timeout 180m

.PHONY: matrix
matrix: build ## docs/results/confusion-matrix.md from a report: make matrix REPORT=reports/today
	@test -n "$(REPORT)" || { echo "which report? make matrix REPORT=reports/today (make conformance REPORT=… writes one)" >&2; exit 2; }
	bin/sickbay report $(REPORT) --matrix > docs/results/confusion-matrix.md.new && mv docs/results/confusion-matrix.md.new docs/results/confusion-matrix.md

N ?= 5
.PHONY: timings
timings: build ## docs/results/timings.md: every scenario's median time over N runs of a profile
	for i in $$(seq $(N)); do bin/sickbay suite --profile $(PROFILE) --report reports/timings/$$i $(ARGS) || true; done
	bin/sickbay report reports/timings/* --timings > docs/results/timings.md.new && mv docs/results/timings.md.new docs/results/timings.md

RECORDED ?= recorded
.PHONY: record
record: build ## recorded bundles for the detectors' tests from a report: make record REPORT=reports/today; RECORDED=recorded-v2 for one of cgroup v2
	@test -n "$(REPORT)" || { echo "which report? make record REPORT=reports/today (make conformance REPORT=… writes one)" >&2; exit 2; }
	bin/sickbay report $(REPORT) --record detectors/all/testdata/$(RECORDED)

.PHONY: lab
lab: build ## practise on call: make lab NAME=conflist-missing
	@test -n "$(NAME)" || { echo "which one? make lab NAME=conflist-missing (bin/sickbay list shows them all)" >&2; exit 2; }
	bin/sickbay lab $(NAME) $(ARGS)

.PHONY: test
test: lint vet-darwin test-unit test-e2e ## everything: lint, units with -race, recorded bundles, the scenarios for real

.PHONY: test-unit
test-unit: ## unit tests and recorded bundles, with -race; needs no engine
	go test -race -timeout 30m ./...

# The three quickest to understand, side by side, and the controls of one. E2E=TestScenario runs every core scenario. The bound covers a
# cold start, which builds the node image.
E2E ?= ^TestScenario(Controls)?$$/^(pleg-disk|conflist-missing|swap-on)$$
.PHONY: test-e2e
test-e2e: build ## the scenarios on a real cluster
	SICKBAY_E2E=1 go test ./suites -count=1 -v -run '$(E2E)' -timeout 60m

.PHONY: bench
bench: ## the benchmarks
	go test -run '^$$' -bench . -benchtime 3x ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@bad=$$(find . -name '*.go' -not -path './.git/*' -print0 | xargs -0 gofmt -l); test -z "$$bad" || { echo "gofmt -w $$bad" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: vet-darwin
vet-darwin: ## the same code must build on a Mac, whose engine has a Linux machine behind it
	GOOS=darwin go vet ./...

.PHONY: generate
generate: ## docs/scenario.schema.json from the types
	go generate ./scenarios

.PHONY: clean
clean: ## remove the binaries; `bin/sickbay cluster down` and `engine down` remove the rest
	rm -rf bin
