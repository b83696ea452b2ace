# Copyright 2026 The Troupe Authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

LINT := go tool -modfile=tools/go.mod golangci-lint
NODE_BIN := node_modules/.bin

.PHONY: help
help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what the other targets need, unless it is there already
	@scripts/setup

.PHONY: generate
generate: setup ## Write gen/ again from the schemas
	@scripts/generate

.PHONY: build
build: ## Build every program into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./...

.PHONY: test
test: setup ## Run all tests: Go with the race detector, TypeScript, and end to end in a browser
	@scripts/test

.PHONY: test-swift
test-swift: setup ## Test the Swift client in a chroot of its own, built once
	@scripts/test-swift

.PHONY: check
check: setup ## Check format, lint, schemas, generated files, imports and modules
	@scripts/check

.PHONY: torture
torture: setup ## Run the crash, fault and model tests at their full budgets
	@scripts/torture

.PHONY: fuzz
fuzz: ## Run every fuzz target for 30 s, or for FUZZTIME
	@scripts/fuzz "$${FUZZTIME:-30s}"

.PHONY: seedbugs
seedbugs: ## Plant one bug at a time and show that a test fails for it
	@scripts/seedbugs

.PHONY: bench
bench: ## Measure this tree: the load generator and every benchmark
	go run ./bench

.PHONY: bench-cluster
bench-cluster: ## Measure nodes over PostgreSQL, with a server of its own
	go run ./bench -cluster -v

.PHONY: screenshots
screenshots: setup ## Take the pictures of docs/images again
	node --test --test-concurrency=1 --test-force-exit scripts/screenshots.mjs

.PHONY: fmt
fmt: setup ## Format every file that has a formatter
	$(LINT) fmt
	$(NODE_BIN)/biome check --write
	$(NODE_BIN)/buf format --write proto

.PHONY: vendor
vendor: ## Copy third_party/ again from the pinned modules
	@scripts/vendor-protovalidate

.PHONY: clean
clean: ## Remove what the build made
	rm -rf bin
