# make check is the whole gate; CARGOFLAGS takes what every call of cargo shall get.
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
# Where each shell looks for completions.
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
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
	$(CARGO) bench $(CARGOFLAGS) --bench chunker --bench stages --bench index --bench remote
	@echo 'beside other programs: make bench-peers, told by tests/bench/compare.py -h'

# The program beside others, which are fetched, and so is what is backed up: 10 GB of disk
# and half an hour. Debian, as root; everything stays below $$BENCH, target/bench by default.
bench-peers: all
	tests/bench/peers.sh restic rest-server borg
	tests/bench/corpora.sh linux
	tests/bench/compare.py
	tests/bench/served.py
	tests/bench/sftp.py
	tests/bench/keep.py

# Backs up a directory, checks it, restores it and compares, in a temporary directory.
demo:
	tests/demo.sh

# Installs what `make` has built, so that root need not run a compiler. The completions are
# printed by the program that they are for.
install:
	test -x target/release/plakar || $(MAKE) all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 target/release/plakar $(DESTDIR)$(BINDIR)/plakar
	for page in man/*.[1-9]; do \
		section=$(DESTDIR)$(MANDIR)/man$${page##*.}; \
		install -d $$section && install -m 644 $$page $$section/ || exit 1; \
	done
	install -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	target/release/plakar completion bash > $(DESTDIR)$(BASHDIR)/plakar
	target/release/plakar completion zsh > $(DESTDIR)$(ZSHDIR)/_plakar
	target/release/plakar completion fish > $(DESTDIR)$(FISHDIR)/plakar.fish
	chmod 644 $(DESTDIR)$(BASHDIR)/plakar $(DESTDIR)$(ZSHDIR)/_plakar $(DESTDIR)$(FISHDIR)/plakar.fish

clean:
	$(CARGO) clean

.PHONY: all check lint test bench bench-peers demo install clean
