# make check is the whole gate; CARGOFLAGS takes what every call of cargo shall get.
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
CARGO = cargo

all:
	$(CARGO) build --release $(CARGOFLAGS)

check: lint test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets $(CARGOFLAGS) -- -D warnings
	if command -v mandoc >/dev/null; then mandoc -Tlint -Wwarning man/*; fi

test:
	$(CARGO) test $(CARGOFLAGS)

# Our parts beside the crates that do their work.
bench:
	$(CARGO) bench $(CARGOFLAGS) --bench chunker --bench stages --bench index
	@echo 'beside other programs: make bench-peers, told by tests/bench/compare.py -h'

# The program beside others, which are fetched, and so is what is backed up: 10 GB of disk
# and half an hour. Debian, as root; everything stays below $$BENCH, target/bench by default.
bench-peers: all
	tests/bench/peers.sh restic borg
	tests/bench/corpora.sh linux
	tests/bench/compare.py

# Backs up a directory, checks it, restores it and compares, in a temporary directory.
demo:
	tests/demo.sh

# Installs what `make` has built, so that root need not run a compiler.
install:
	test -x target/release/plakar || $(MAKE) all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 target/release/plakar $(DESTDIR)$(BINDIR)/plakar
	for page in man/*.[1-9]; do \
		section=$(DESTDIR)$(MANDIR)/man$${page##*.}; \
		install -d $$section && install -m 644 $$page $$section/ || exit 1; \
	done

clean:
	$(CARGO) clean

.PHONY: all check lint test bench bench-peers demo install clean
