# The shell is bash; go, python3 (3.10 or later), node (20 or later) with npm, git and make are all that has to be there.
SHELL := bash
.DEFAULT_GOAL := help

FLEET_CHECKS ?= 100
# The same runs each time, so that a change is judged by what it changes; FLEET_SEED=0 draws others.
FLEET_SEED ?= 20261125
BENCH_TIME ?= 5s
KILL_FOR ?= 3m
# Where what is deployed is written to, and the manifests that are in it.
DIST ?= dist
SUBSCRIPTIONS ?= infra/subscriptions
# The same bytes wherever it is built: whatever else decides about them is set here, and the state of the checkout is not in them.
BUILD := GOFLAGS= GOEXPERIMENT= GOFIPS140=off GOWORK=off GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=0 GOOS=linux go build -buildvcs=false -trimpath -ldflags '-s -w'
ARTIFACT := GOARCH=arm64 $(BUILD) -tags lambda.norpc,lambdaartifact
# What packs is built for this machine.
PACK := GOFLAGS= GOWORK=off GOOS= GOARCH= go run ./infra/pack -dist $(DIST)
TOOL := go tool -modfile=tools/go.mod
NODE := subscribers/node
NODE_MODULES := $(NODE)/node_modules/.package-lock.json

.PHONY: help demo test fleet kill lint fmt bench mutants build templates e2e package layer deploy deploy-all

help: ## What can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: ## Watch a secret change and every environment follow; needs only Go. ARGS=--drop-pushes, ARGS=--hold, ARGS=--help
	@go run ./cmd/broadcaster demo $(ARGS)

# What the Node client is built and tested with; the file is npm's own.
$(NODE_MODULES): $(NODE)/package-lock.json $(NODE)/test/runtimes/package-lock.json
	npm ci --prefix $(NODE)/test/runtimes
	npm ci --prefix $(NODE)
	touch $@

test: $(NODE_MODULES) ## Set up what the tests need, run everything: the race detector, the fleet model, kills and mutants
	go vet ./...
	bash test/tools/with-ministack.sh bash test/tools/with-postgres.sh npm test --prefix $(NODE)
	bash test/tools/with-infra.sh bash test/tools/with-ministack.sh bash test/tools/with-postgres.sh go test -race $$(go list ./... | grep -v -e /test/fleet -e /test/kill)
	for code in test/fleet/node cmd/broadcaster/internal/demo/node; do $(NODE)/node_modules/.bin/tsc --project $$code || exit 1; done
	go test -run '^$$' -bench . -benchtime 1x ./test/bench
	go test ./test/fleet -rapid.checks=$(FLEET_CHECKS) -rapid.seed=$(FLEET_SEED) -rapid.nofailfile
	KILL_FOR=60s go test -race ./test/kill
	go run ./test/mutants

fleet: $(NODE_MODULES) ## Play new random runs of the fleet model, FLEET_CHECKS=1000 of them
	go test ./test/fleet -count 1 -timeout 0 -rapid.checks=$(FLEET_CHECKS) -rapid.nofailfile

kill: ## Kill the broadcaster at random under load, for KILL_FOR=3m; KILL_SEED=n makes the same trouble again
	KILL_FOR=$(KILL_FOR) go test -race -count 1 -timeout 0 -v ./test/kill

mutants: $(NODE_MODULES) ## Break the code in every way we know; the fleet model must notice each
	go run ./test/mutants

templates: ## What is in infra: linted, its rules and policies judged
	bash test/tools/with-infra.sh go test -count 1 ./test/infra

e2e: $(NODE_MODULES) ## Deploy to an emulator of AWS, change secrets there, and see functions follow: test/e2e
	npm run build --prefix $(NODE)
	bash test/tools/with-infra.sh bash test/tools/with-ministack.sh go test -count 1 -v ./test/e2e

lint: ## gofumpt, go vet and golangci-lint
	@test -z "$$($(TOOL) gofumpt -l . | tee -a /dev/stderr)" || { echo 'run: make fmt' >&2; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run

fmt: ## Format
	$(TOOL) gofumpt -w .

bench: $(NODE_MODULES) ## Benchmarks beside their baselines, and a summary of the ratios: docs/performance.md
	set -o pipefail; HISTORY_CHANGES=100000 go test -run '^$$' -bench . -benchtime $(BENCH_TIME) -timeout 30m ./test/bench | go run ./test/bench/summary
	go test -run '^$$' -bench 'Parse|Match' -benchtime 1s ./events ./subscribers
	npm run build --prefix $(NODE)
	node $(NODE)/scripts/bench.mjs

build: ## The Lambda artifacts for arm64: dist/bootstrap, and the canary's dist/canary/bootstrap
	$(ARTIFACT) -o $(DIST)/bootstrap ./cmd/broadcaster
	$(ARTIFACT) -o $(DIST)/canary/bootstrap ./cmd/canary

package: build ## What is deployed: dist/broadcaster.zip with every manifest, dist/canary.zip, the same bytes each time, and their bills of materials
	$(PACK) -bootstrap $(DIST)/bootstrap -subscriptions '$(SUBSCRIPTIONS)'
	$(PACK) -bootstrap $(DIST)/canary/bootstrap -name canary -subscriptions ''

layer: ## The extension as a Lambda layer, dist/extension-arm64.zip and dist/extension-x86_64.zip, the same bytes each time
	for arch in arm64:arm64 amd64:x86_64; do \
		GOARCH=$${arch%:*} $(BUILD) -tags lambda.norpc -o $(DIST)/secret-broadcaster-$${arch#*:} ./subscribers/extension && \
		$(PACK) -bootstrap $(DIST)/secret-broadcaster-$${arch#*:} -as extensions/secret-broadcaster -name extension-$${arch#*:} -subscriptions '' || exit 1; done

deploy: $(if $(ARTIFACT_KEY),,package) ## Deploy one domain to AWS: ENV=prod DOMAIN=payments; DRY_RUN=1 only prints: docs/deploying.md
	@bash infra/deploy.sh "$(ENV)" "$(DOMAIN)"

deploy-all: $(if $(ARTIFACT_KEY),,package) ## Deploy what an environment's domains share, then each of them: ENV=prod; DRY_RUN=1 only prints
	@bash infra/deploy.sh "$(ENV)" --all
