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

bench:
	$(CARGO) bench $(CARGOFLAGS)

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

.PHONY: all check lint test bench demo install clean
