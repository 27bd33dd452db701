# Everything starts here: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools are pinned, with the checksums of all they are made of, in a module of their own. goreleaser's would be as many again.
TOOL := go tool -modfile=.ci/tools/go.mod
GORELEASER := github.com/goreleaser/goreleaser/v2@v2.17.0

# A misspelled variable would be ignored in silence: `make conformance profile=all` would run the core profile.
VARIABLES := NAME PROFILE CONTROLS REPORT ARGS SOAK DISASTER RUNS N RECORDED E2E FUZZTIME VERSION
unknown := $(filter-out $(VARIABLES) GO% CGO% SICKBAY_%,$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))
$(if $(unknown),$(error there is no variable $(unknown); there are $(VARIABLES)))

# One shell word, whatever is in it.
quote = '$(subst ','\'',$(1))'
report = $(if $(REPORT),--report $(call quote,$(REPORT)))

# Prerequisites that stop before anything is built: need-NAME, need-REPORT.
example-NAME := NAME=pleg-disk (bin/sickbay list shows all scenarios)
example-REPORT := REPORT=reports/today (make conformance REPORT=... writes one)
.PHONY: need-NAME need-REPORT
need-NAME need-REPORT: need-%:
	@test -n $(call quote,$($*)) || { echo "$* is missing: make $(firstword $(MAKECMDGOALS)) $(example-$*)" >&2; exit 2; }

# What binaries are made of. Tests and the image module (which is built by `sickbay image build` itself) are not part of it.
SOURCES := go.mod go.sum $(shell find . -path ./images -prune -o -path ./.git -prune -o -path ./bin -prune -o \
	\( -name '*.go' ! -name '*_test.go' -o -path '*/scenarios/*' -name '*.yaml' -o -path '*/kind-configs/*' -name '*.yaml' -o -path './docs/guide.md' -o -path './detectors/*/page.md' -o -path './internal/report/page/*' -o -path './suites/*.yaml' -o -path '*/vm/guest/*' \) -type f -print)
AGENTS := sickbay-agent-linux-amd64 sickbay-agent-linux-arm64
BINARIES := bin/sickbay $(AGENTS:%=bin/%)
IMAGES := internal/platform/nodeimage/embedded/images.tar.zst
EMBEDDED := $(AGENTS:%=internal/agent/embedded/%.zst) $(IMAGES)

# A tag, else the commit. bin/version changes when it does, so that the binaries are linked again.
VERSION = $(shell git describe --tags --dirty 2>/dev/null || echo devel-$$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown))
LDFLAGS = -s -w -X github.com/sickbay-dev/sickbay/internal/version.stamped=$(VERSION)

# Programs that `go` runs have no agent inside.
AGENT = SICKBAY_AGENT=$(CURDIR)/bin/sickbay-agent-linux-$$(go env GOARCH)

PROFILE ?= core
CONTROLS ?= core
REPORT ?=
ARGS ?=
SCRIPTS = $(shell git grep -lE '^\#!.*[^a-z]([bd]a)?sh( |$$)' -- ':!*.go' ':!*.md')
MODULES := $(sort . .ci/tools internal/report/browser $(patsubst %/go.mod,%,$(wildcard images/*/go.mod)))

.PHONY: help
help: ## this text
	@awk -F ':.*## ' '/^##@ / {printf "\n%s:\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it

.PHONY: build
build: $(BINARIES) ## bin/sickbay, with the agents for amd64 and arm64 and the sources of node images inside

.PHONY: FORCE
bin/version: FORCE
	@mkdir -p bin && echo $(call quote,$(VERSION)) | cmp -s - $@ || echo $(call quote,$(VERSION)) > $@

# Without cgo it runs in any Linux: in a container of one file (the engine's probe) and in the virtual machine.
bin/sickbay: $(SOURCES) bin/version $(EMBEDDED)
	CGO_ENABLED=0 go build -trimpath -tags embedagent -ldflags $(call quote,$(LDFLAGS)) -o $@ ./cmd/sickbay

bin/sickbay-agent-linux-%: $(SOURCES) bin/version
	CGO_ENABLED=0 GOOS=linux GOARCH=$* go build -trimpath -ldflags $(call quote,$(LDFLAGS)) -o $@ ./cmd/sickbay-agent

internal/agent/embedded/%.zst: bin/%
	@mkdir -p $(@D)
	env -u GOOS -u GOARCH go run ./internal/pack/cmd < $< > $@.new && mv $@.new $@

# What node images are built from, so that a copied binary builds them, and from nobody else's files.
$(IMAGES): go.mod go.sum $(shell find images -type f)
	@mkdir -p $(@D)
	env -u GOOS -u GOARCH go run ./internal/pack/cmd go.mod go.sum images > $@.new && mv $@.new $@

.PHONY: embedded
embedded: $(EMBEDDED)

.PHONY: setup
setup: build ## engine, node image and cluster, ready to fall ill
	bin/sickbay cluster up $(ARGS)

.PHONY: scenario
scenario: need-NAME build ## one scenario through all seven steps: make scenario NAME=pleg-disk
	bin/sickbay run $(call quote,$(NAME)) $(report) $(ARGS)

.PHONY: lab
lab: build ## practise on call: a fault that you do not know; NAME=L07 chooses one
	bin/sickbay lab start $(if $(NAME),$(call quote,$(NAME))) $(ARGS)

##@ Run the suite

.PHONY: conformance
conformance: build ## all scenarios of a profile, and the controls of the core ones: make conformance PROFILE=all REPORT=reports/today
	bin/sickbay suite --profile $(call quote,$(PROFILE)) --controls=$(call quote,$(CONTROLS)) $(report) $(ARGS)

.PHONY: vm-scenario
vm-scenario: need-NAME build ## one scenario in a virtual machine: make vm-scenario NAME=apparmor-denied
	bin/sickbay vm run $(call quote,$(NAME)) $(report) $(ARGS)

.PHONY: vm-conformance
vm-conformance: build ## all scenarios of a profile in a virtual machine: make vm-conformance PROFILE=all REPORT=reports/vm
	bin/sickbay vm run --profile $(call quote,$(PROFILE)) $(report) $(ARGS)

SOAK ?= 10m
.PHONY: soak
soak: build ## a healthy cluster, watched for ten minutes: no detector may speak
	bin/sickbay cluster up
	bin/sickbay diagnose --watch --for $(call quote,$(SOAK)) $(ARGS)

.PHONY: decoys
decoys: build ## oddities that are no illness, made on a real node: no detector may speak
	bin/sickbay run suites/decoys/*/ --trust $(report) $(ARGS)

.PHONY: byhand
byhand: build ## break a stranger's cluster by hand and ask what it has: make byhand ARGS="'kubelet-*' odd-cordoned"
	$(AGENT) go run ./suites/byhand $(ARGS)

.PHONY: chaos-self
chaos-self: build ## kill sickbay at every point of every core scenario: make chaos-self ARGS="--scenario swap-on --point clear --mode wait"
	bin/sickbay chaos --table docs/results/kill-matrix.md $(ARGS)

# Each needs a worker for itself; SICKBAY_CLUSTER and SICKBAY_NODE name them.
DISASTER ?= TestDisasters|TestAgentKilled|TestTwoHarnesses|TestWalkOnANode
.PHONY: disasters
disasters: build ## nodes paused, restarted and killed mid-fault, an agent killed mid-injection, two harnesses for one node, a walk of 200 steps
	$(AGENT) SICKBAY_E2E=1 go test ./suites -count=1 -v -run $(call quote,$(DISASTER)) -timeout 60m

RUNS ?= 50
.PHONY: soak-runs
soak-runs: build ## the three quickest core scenarios, RUNS times in a row: nothing may drift
	$(AGENT) SICKBAY_E2E=1 SICKBAY_RUNS=$(call quote,$(RUNS)) go test ./suites -count=1 -v -run TestRunsInARow -timeout 180m

.PHONY: matrix
matrix: need-REPORT build ## docs/results/confusion-matrix.md from a report: make matrix REPORT=reports/today
	bin/sickbay report $(call quote,$(REPORT)) --matrix > docs/results/confusion-matrix.md.new && mv docs/results/confusion-matrix.md.new docs/results/confusion-matrix.md

N ?= 5
.PHONY: timings
timings: build ## docs/results/timings.md and suites/durations.yaml: every scenario's median time over N runs of a profile
	for i in $$(seq $(N)); do bin/sickbay suite --profile $(call quote,$(PROFILE)) --report reports/timings/$$i $(ARGS) || true; done
	bin/sickbay report reports/timings/* --timings > docs/results/timings.md.new && mv docs/results/timings.md.new docs/results/timings.md
	bin/sickbay report reports/timings/* --durations > suites/durations.yaml.new && mv suites/durations.yaml.new suites/durations.yaml

RECORDED ?= recorded
.PHONY: record
record: need-REPORT build ## recorded bundles for the detectors' tests from a report: make record REPORT=reports/today; RECORDED=recorded-v2 for one of cgroup v2
	bin/sickbay report $(call quote,$(REPORT)) --record detectors/all/testdata/$(call quote,$(RECORDED))

##@ Develop it

.PHONY: test
test: verify lint vet-darwin build test-unit test-e2e ## everything: verify, lint, units with -race, recorded bundles, the scenarios for real

.PHONY: test-unit
test-unit: ## unit tests and recorded bundles, with -race; needs no engine
	go test -race -timeout 30m ./...

.PHONY: test-browser
test-browser: ## the pages of reports and labs, driven in a headless Chromium; skipped where there is none
	cd internal/report/browser && go vet . && go test -count=1 .

.PHONY: test-labs
test-labs: build ## labs on a real cluster: a scripted learner, a scripted cheater, what tells nothing, and what the API recorded; CLUSTER=name
	$(AGENT) SICKBAY_E2E=1 SICKBAY_CLUSTER=$(call quote,$(CLUSTER)) go test ./cmd/sickbay -count=1 -v -run 'TestScripted|TestLabSecrecy|TestLabAudit' -timeout 120m

.PHONY: screenshots
screenshots: ## docs/report*.png and docs/lab-*.png, of the tests' samples or of a report: make screenshots REPORT=reports/today
	cd internal/report/browser && SICKBAY_SCREENSHOTS=$(CURDIR)/docs SICKBAY_REPORT=$(call quote,$(if $(REPORT),$(abspath $(REPORT)))) go test -count=1 -run Screenshots .

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each (10 s): what comes from nodes, bundles and files is judged or refused
	for dir in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
		for target in $$(cat $$dir/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p'); do \
			echo "$$dir $$target"; go test ./$$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(call quote,$(FUZZTIME)) -fuzzminimizetime 20x; \
		done; \
	done

# The three quickest to understand, side by side, and the controls of one. E2E=TestScenario runs every core scenario. The bound covers a
# cold start, which builds the node image.
E2E ?= ^TestScenario(Controls)?$$/^(pleg-disk|conflist-missing|swap-on)$$
.PHONY: test-e2e
test-e2e: build ## the scenarios on a real cluster
	$(AGENT) SICKBAY_E2E=1 go test ./suites -count=1 -v -run $(call quote,$(E2E)) -timeout 60m

.PHONY: bench
bench: ## the benchmarks
	go test -run '^$$' -bench . -benchtime 3x ./...

.PHONY: lint
lint: ## golangci-lint, and shellcheck over every script inside sickbay
	$(TOOL) golangci-lint run ./...
	@command -v shellcheck >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get install -qq -y shellcheck >/dev/null; } || \
		echo "shellcheck is not installed: the scripts inside sickbay are not checked" >&2
	! command -v shellcheck >/dev/null || shellcheck $(SCRIPTS)
	go test ./internal/detectorstest ./detectors/all -run 'Scripts$$'

.PHONY: fix
fix: generate ## format, tidy and generate: everything that verify checks
	gofmt -w $$(git ls-files '*.go')
	for m in $(MODULES); do (cd $$m && go mod tidy); done

# Generated pages are compared by tests of their packages as well; here are the files that only a tool writes.
.PHONY: verify
verify: ## nothing to format, tidy or generate
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "make fix: $$bad" >&2; exit 1; }
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || { echo "make fix: $$m/go.mod" >&2; exit 1; }; done
	@before=$$(git diff docs | sha256sum); $(MAKE) -s generate; test "$$before" = "$$(git diff docs | sha256sum)" || { git diff --stat docs; echo "make generate changed docs: commit it" >&2; exit 1; }

.PHONY: vuln
vuln: ## no known vulnerability is reached by sickbay or its agent; asks vuln.go.dev
	$(TOOL) govulncheck ./cmd/sickbay ./cmd/sickbay-agent

.PHONY: licenses
licenses: ## every module in sickbay and its agent has a license that lets it be there
	$(TOOL) go-licenses check ./cmd/sickbay ./cmd/sickbay-agent --disallowed_types=forbidden,restricted,unknown 2>&1 | grep -v 'contains non-Go code\|\.s$$' || exit $${PIPESTATUS[0]}

.PHONY: release
release: ## publish the tag that is checked out; .github/workflows/release.yml runs it
	go run $(GORELEASER) release --clean

.PHONY: release-check
release-check: ## the release configuration is valid
	go run $(GORELEASER) check

.PHONY: vet-darwin
vet-darwin: ## the same code must build on a Mac, whose engine has a Linux machine behind it
	GOOS=darwin go vet ./...

.PHONY: generate
generate: ## the schema from the types, docs/causes.md from the causal graph
	go generate ./scenarios ./internal/causal

.PHONY: clean
clean: ## remove the binaries; `bin/sickbay cluster down` and `engine down` remove the rest
	rm -rf bin dist internal/agent/embedded internal/platform/nodeimage/embedded
