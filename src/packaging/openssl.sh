#!/bin/sh
# Configures OpenSSL with no more than SSH wants of it.
#
# The crate that builds it has no setting for its options, but runs `./Configure` by the perl
# that $OPENSSL_SRC_PERL names: this is named there. What is left out is what libssh2 never
# asks for. INSTALL.md of OpenSSL has the options.
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
# AES-GCM for AVX-512 is 0.7 MB of unrolled code. For an assembler too old for it there is none.
sed -i 's,^if (.avx512vaes>0),if (0),' crypto/modes/asm/aes-gcm-avx512.pl
perl "$@" -Os
# Nothing is loaded from there, since there are no modules: it would only tell where this was built.
sed -i -E 's,^(MODULESDIR|ENGINESDIR)=.*,\1=/usr/lib/ossl,' Makefile
