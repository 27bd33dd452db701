# sickbay: what people type. Everything below works on a bare Debian 12 with Go and make, and on a laptop with Docker.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO          ?= go
NAME        ?=
PROFILE     ?= core
REPORTS     ?= reports
ARCH        := $(shell $(GO) env GOARCH)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
SOURCES     := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './images/*') $(shell find scenarios kind-configs suites -type f -not -name '*.go') go.mod go.sum
AGENTS      := bin/sickbay-agent-linux-amd64 bin/sickbay-agent-linux-arm64

.PHONY: help build setup scenario conformance lab test test-unit test-live bench lint clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: bin/sickbay $(AGENTS) ## bin/sickbay and the node agents

bin/sickbay: $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/sickbay

bin/sickbay-agent-linux-%: $(SOURCES)
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/sickbay-agent

setup: build ## engine and node image, ready (about ten minutes the first time)
	bin/sickbay engine up
	bin/sickbay image build

scenario: build ## one scenario through all seven steps: make scenario NAME=pleg-disk
	@test -n "$(NAME)" || { echo "make scenario needs NAME=…, one of:"; bin/sickbay list; exit 2; }
	bin/sickbay run $(NAME) --report $(REPORTS)/$(NAME)

conformance: build ## every scenario of PROFILE=core|all
	bin/sickbay suite $(PROFILE) --report $(REPORTS)/conformance-$(PROFILE)

lab: build ## on-call training: make lab NAME=conflist-missing
	@test -n "$(NAME)" || { echo "make lab needs NAME=…, one of:"; bin/sickbay list; exit 2; }
	bin/sickbay lab $(NAME)

test: lint test-unit test-live ## everything that must be green

test-unit: ## unit and replay tests, with the race detector
	$(GO) test -race -timeout 15m ./...

test-live: build ## the scenarios for real, on a cluster of their own
	SICKBAY_E2E=1 $(GO) test -count=1 -v -timeout 60m -run E2E ./suites/...

bench: ## numbers: observation, judging, journal
	$(GO) test -run '^$$' -bench . -benchmem ./...

lint: ## gofmt, vet (also for macOS), staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

clean: ## what make built
	rm -rf bin $(REPORTS)
