# deep — build, test and measure.
#
#   make build   the programs, into bin/
#   make test    every test; what needs an engine runs where one answers
#   make help    the rest

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The Podman client without cgo libraries, and, where the race detector needs cgo,
# without the C headers of a storage driver it does not use.
TAGS    := remote,containers_image_openpgp,exclude_graphdriver_btrfs
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/deep-sandbox/deep/core/internal/version.Version=$(VERSION)
# deep knows the sums of the plugins built with it.
SUMS    := github.com/deep-sandbox/deep/core/internal/version.Plugins
GOBUILD := CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)'

export GOFLAGS := -buildvcs=false

BACKENDS := docker podman local
TOOLS    := -modfile=tools/go.mod

## —— Build ——

.PHONY: build
build: ## Build deep, the plugins and the guest into bin/
	@umask 022 && mkdir -p bin/plugins bin/guest
	for b in $(BACKENDS); do $(GOBUILD) -o bin/plugins/deep-backend-$$b ./plugins/$$b; done
	for a in amd64 arm64; do GOOS=linux GOARCH=$$a $(GOBUILD) -o bin/guest/deep-guest-linux-$$a ./cmd/deep-guest; done
	@chmod go-w bin/plugins bin/plugins/* bin/guest bin/guest/*  # which deep would refuse
	$(GOBUILD) -o bin/deep -ldflags "$(LDFLAGS) -X $(SUMS)=$$(cd bin/plugins && sha256sum $(BACKENDS:%=deep-backend-%) | sed 's/^\([0-9a-f]*\) .*deep-backend-\(.*\)/\2=\1/' | paste -sd,)" ./cmd/deep

.PHONY: generate
generate: ## Generate the protocol's Go code (needs protoc)
	./core/proto/generate.sh

.PHONY: clean
clean: ## Remove what build and bench made
	rm -rf bin bench.json conformance.json

## —— Try ——

.PHONY: demo
demo: build ## Run the Fibonacci task on backend local with a recorded model
	./examples/demo.sh

## —— Check ——

.PHONY: test
test: build ## Run every test (DEEP_TEST_REQUIRE=docker,podman,local makes a skip a failure)
	@./test/run.sh

.PHONY: conformance
conformance: build ## Hold every backend to every rule, print the table and write conformance.json
	@mkdir -p bin/test
	go build -tags $(TAGS) -o bin/test/conformance ./test/conformance
	@./bin/test/conformance

.PHONY: adversarial
adversarial: build ## Attack every backend, each attack with its defence open too (root)
	@mkdir -p bin/test
	go build -tags $(TAGS) -o bin/test/adversarial ./test/adversarial
	@./bin/test/adversarial

.PHONY: adversarial-long
adversarial-long: build ## The same, and longer: races, and a thousand hostile kills
	@mkdir -p bin/test
	go build -tags $(TAGS) -o bin/test/adversarial ./test/adversarial
	@./bin/test/adversarial -long

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5s) each
	@./test/fuzz.sh

.PHONY: lint
lint: ## Check formatting, vet, golangci-lint, shell scripts and generated code
	@./test/lint.sh

.PHONY: bench
bench: build ## Measure, pairwise against the engines, and write bench.json
	go run -tags $(TAGS) ./test/bench

.PHONY: engines
engines: ## Bring up docker, podman, two registries and the test images where missing (Debian, root)
	@./test/engines/up.sh

.PHONY: engines-down
engines-down: ## Stop what `make engines` started
	@./test/engines/down.sh

## —— This ——

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^## ——/ {gsub(/## —— | ——/, ""); print "\n" $$0} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
