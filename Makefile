# Targets for development. A Rust toolchain is enough: `make test` installs the rest.

CARGO ?= cargo
SDK := tests/sdk
PROVIDER := tests/outbound_auth/provider
SEGMENT := tests/segment
METRICS := tests/metrics
BROWSER := tests/web

.PHONY: help test check fmt lint doc sdk provider segment metrics schemathesis browser book docs tools build dist dev bench chaos clean verify postgres inbox announce

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: announce tools sdk provider segment verify metrics postgres inbox schemathesis browser book ## Run every test, with the real binary and the real SDKs
	$(CARGO) nextest run --no-fail-fast
	$(CARGO) test --doc --quiet
	$(CARGO) test --bench path

announce:
	@echo 'make test installs what is missing: cargo-nextest by cargo; in this folder the SDKs, Schemathesis, mdbook, nginx, Caddy'
	@echo 'and promtool; on this machine, by apt-get as root: Node.js, Python, Go, Ruby, PHP, Java, PostgreSQL and Chromium. Up to'
	@echo '1 GB to fetch, 3 GB on disk. Each is said when it is missing and cannot be installed.'

check: fmt lint doc ## Check formatting, lints and documentation; warnings are errors

fmt: ## Check the formatting
	$(CARGO) fmt --check

lint: ## Run clippy; warnings are errors
	$(CARGO) clippy --all-targets -- -D warnings

doc: ## Build the documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

tools: ## Install cargo-nextest
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked

sdk: ## Install the Segment SDKs for the tests, pinned
	@$(SDK)/install

provider: ## Install the authorization server for the tests, pinned
	@$(PROVIDER)/install

segment: sdk ## Install Segment's trigger and directive code for the differential test
	@$(SEGMENT)/install

verify: sdk ## Install the languages of the verification page
	@tests/verify/install

metrics: ## Install the checkers of the alerting rules and the OTLP export
	@$(METRICS)/install

postgres: ## Install PostgreSQL's server and PgBouncer, which the tests start
	@tests/postgres/install

inbox: sdk ## Install what the examples of the inbox use
	@tests/inbox/install

schemathesis: ## Install Schemathesis, which tests the admin API against its OpenAPI description
	@tests/schemathesis/install

browser: ## Install the browser for the tests of the UI
	@$(BROWSER)/install

book: ## Install what builds and checks the book
	@tests/book/install

docs: book ## Build the book from docs/ and check its links
	@docs/build

build: ## Build the release binary
	$(CARGO) build --profile dist --locked

dist: build ## Package it: a tar archive, a Debian package, an SBOM and checksums
	deploy/package

dev: ## Run a temporary service with sample events
	$(CARGO) run --release -- dev

bench: ## Measure throughput and latency on this machine, against a bare POST loop
	$(CARGO) build --release
	target/release/postrider bench

chaos: postgres ## Fail nodes, servers and connections for 10 minutes; prints its seed (SEED=n repeats it, ROUNDS=n bounds it)
	CHAOS_ROUNDS=$(or $(ROUNDS),40) $(CARGO) nextest run --no-capture --no-fail-fast -E 'test(/^(chaos::|process::crash)/)'

clean: ## Remove build output and installed tools
	$(CARGO) clean
	rm -rf $(SDK)/node_modules $(SDK)/.venv $(PROVIDER)/node_modules $(SEGMENT)/node_modules $(METRICS)/bin \
		$(METRICS)/.venv tests/schemathesis/.venv tests/book/.venv tests/book/bin \
		examples/outbox/node_modules examples/outbox/.venv
