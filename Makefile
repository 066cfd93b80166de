# Signet. `make help` lists the targets. Every target installs what it needs; demo and test need root for a real node.

.DEFAULT_GOAL := help
SHELL := /bin/bash
# The flags of everything that is built; see BuildFlags in test/stack.
export CGO_ENABLED := 0
GO ?= go
GO_RUN := $(GO) run -trimpath

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Start a real node, Istio's CA, cert-manager and Kafka; show the main job; remove everything (root)
	@$(GO_RUN) ./test/demo

.PHONY: test
test: ## Run every test and check docs/guarantees.md (root)
	@$(GO_RUN) ./test/run

.PHONY: lint
lint: ## Run gofmt, go vet, golangci-lint and govulncheck over all modules
	@hack/lint.sh

.PHONY: bench
bench: ## Measure, as ratios to a baseline in the same run; RUN=name runs one
	@$(GO_RUN) ./test/bench $(if $(RUN),-run $(RUN))

.PHONY: generate
generate: ## Write deepcopy functions, apply configurations and CRDs from api/
	@hack/generate.sh

.PHONY: images
images: ## Build Signet's container images into dist/images/signet.tar, without a container engine
	@cd images && $(GO_RUN) ./cmd/images --root ..

.PHONY: filter
filter: ## Build the filter for Envoy into dist/filter.wasm
	@hack/filter.sh

.PHONY: clean
clean: ## Remove what was built here, and clusters of an interrupted demo or test
	@if [ -x bin/cluster ]; then bin/cluster down --all; fi
	@rm -rf bin dist
