#!/bin/sh
# Configures OpenSSL with only the features that SSH needs.
#
# The crate that builds OpenSSL has no setting for its options. It runs `./Configure` with the perl
# that $OPENSSL_SRC_PERL names, and that variable names this script. The omitted features are never
# used by libssh2. INSTALL.md of OpenSSL documents the options.
set -eu
if [ "${1-}" != ./Configure ]; then
    exec perl "$@"
fi
unused='
    apps argon2 aria autoload-config bf blake2 cast chacha cmp cms ct dgram dsa ec2m gost http
    md4 mdc2 ml-dsa ml-kem multiblock nextprotoneg ocb poly1305 psk rc2 rc4 rfc3779 rmd160 scrypt
    siphash siv slh-dsa sm2 sm3 sm4 sock srp srtp ssl-trace tls-deprecated-ec ts ui-console whirlpool'
for name in $unused; do
    set -- "$@" "no-$name"
done
# AES-GCM for AVX-512 is 0.7 MB of unrolled code. OpenSSL omits it if the assembler is too old.
sed -i 's,^if (.avx512vaes>0),if (0),' crypto/modes/asm/aes-gcm-avx512.pl
perl "$@" -Os
# Nothing is loaded from these directories, because there are no modules. Their real paths would
# only reveal the build directory.
sed -i -E 's,^(MODULESDIR|ENGINESDIR)=.*,\1=/usr/lib/ossl,' Makefile
