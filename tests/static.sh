#!/bin/bash
# Tests that a static binary is self-contained: it requires no other file, reveals nothing about
# the build machine, and works in an empty file system.
#
#   tests/static.sh TARGET [BINARY]     as root; `make static-check TARGET=...` builds it first
#
# A binary for another architecture runs in an emulator, if there is one: qemu-user-static, which
# works in an empty file system. Names are resolved by a test DNS server on a loopback address. The
# TLS and SSH servers use loopback addresses too. PLAKAR_STATIC_SUITE=no omits the command tests, which
# take a quarter of an hour in an emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
target=$1
binary=$(realpath "${2:-target/static/$target/release/plakar}")

# The size limit: devices with a small flash memory cannot hold more.
SIZE_LIMIT_BYTES=$((10 << 20))
# The address of the test DNS server. Port 53 is the only one that resolv.conf(5) supports.
NAMESERVER=127.0.0.77
# The names it resolves: one normal name, and one whose response does not fit into a datagram.
NAME=nas.plakar.test
LONG_NAME=long.plakar.test

passed=0
failed=0
work=$(mktemp -d)
processes=()
finish() {
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# Runs the command after the description, and counts the result. Shows the output if it fails.
check() {
    local description=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $description"
    else
        failed=$((failed + 1))
        echo "FAILED: $description: $*"
        sed 's/^/    /' "$work/log"
    fi
}

# Succeeds if the command fails.
fails() {
    ! "$@"
}

# Waits up to ten seconds until the file contains a line with the word.
await() {
    for _ in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    echo "no $2 in $1:" >&2
    cat "$1" >&2
    return 1
}

# ---- Contents of the file ----

no_interpreter() { ! readelf -lW "$binary" | grep INTERP; }
no_libraries() { ! readelf -dW "$binary" | grep NEEDED; }
# Position-independent, and relocates itself.
movable() { readelf -hW "$binary" | grep -E 'Type: +DYN'; }
small() { [ "$(stat -c %s "$binary")" -le "$SIZE_LIMIT_BYTES" ]; }
no_paths() {
    local path
    for path in "$top" "$HOME/" "${CARGO_HOME:-$HOME/.cargo}" "${STATIC_WORK:-$top/target}" \
        "$(rustc --print sysroot 2>/dev/null || echo /rustup)" .cargo/registry /home/ /build/; do
        ! strings -a "$binary" | grep -F -m 3 -e "$path" || return 1
    done
}
check "it asks for no interpreter" no_interpreter
check "it asks for no library" no_libraries
check "it may lie anywhere in memory" movable
check "it is small: $(stat -c %s "$binary") bytes" small
check "it tells no path of the machine that built it" no_paths

# ---- In an empty file system ----

case $target in
x86_64-*) emulator='' ;;
aarch64-*) emulator=qemu-aarch64-static ;;
armv7-*) emulator=qemu-arm-static ;;
*)
    echo "static: unknown target $target" >&2
    exit 64
    ;;
esac
if [ "$(uname -m)" = "${target%%-*}" ]; then
    emulator=
fi
if [ -n "$emulator" ] && ! command -v "$emulator" >/dev/null; then
    echo "static: no $emulator, so $target is not run"
    echo "$passed passed, $failed failed"
    exit "$((failed > 0))"
fi

root=$work/alone
mkdir -p "$root/home/.ssh" "$root/etc"
cp "$binary" "$root/plakar"
inside=(/plakar)
if [ -n "$emulator" ]; then
    cp "$(command -v "$emulator")" "$root/emulator"
    inside=(/emulator /plakar)
fi
cp -r man "$root/data"

# Runs the program in the empty file system.
alone=(env -i HOME=/home "PLAKAR_PASSPHRASE=an owl in the attic" "$(command -v chroot)" "$root" "${inside[@]}")
plakar() {
    "${alone[@]}" "$@"
}
says() {
    local wanted=$1
    shift
    plakar "$@" | grep -F -e "$wanted"
}
# Backs up data to a store, and restores it.
round() {
    local at=$1 out=$2
    plakar at "$at" create && plakar at "$at" backup /data && plakar at "$at" check &&
        plakar at "$at" restore -to "/$out" latest && diff -r "$root/data" "$root/$out"
}

commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
check "it tells its version" says "plakar $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml) (" version
check "it tells its commit" says "\"commit\":\"$commit\"" version -json
check "it shows its manual" says 'PLAKAR-BACKUP(1)' help backup
check "it backs up, checks and restores" round /store out-directory

# ---- Name resolution ----

cat >"$work/names.py" <<'PYTHON'
"""A server of names: one address for two names, and the answer for the second is long."""
import socket, struct, sys, threading

address, name, long_name = sys.argv[1:]
RECORDS = {name: 1, long_name: 60}

def answer(query, limit):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    asked = ".".join(labels).lower()
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    question = query[12 : at + 5]
    count = RECORDS.get(asked, 0) if kind == 1 else 0
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
    code = 0 if asked in RECORDS else 3
    whole = struct.pack(">HHHHHH", *struct.unpack(">H", query[:2]), 0x8580 | code, 1, count, 0, 0) + question + record * count
    if len(whole) <= limit:
        return whole
    print("long answer asked for", flush=True)
    return struct.pack(">HHHHHH", *struct.unpack(">H", query[:2]), 0x8780, 1, 0, 0, 0) + question

def tcp(listener):
    while True:
        stream, _ = listener.accept()
        with stream:
            while len(length := stream.recv(2, socket.MSG_WAITALL)) == 2:
                whole = answer(stream.recv(struct.unpack(">H", length)[0], socket.MSG_WAITALL), 65535)
                stream.sendall(struct.pack(">H", len(whole)) + whole)

listener = socket.create_server((address, 53))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((address, 53))
threading.Thread(target=tcp, args=(listener,), daemon=True).start()
print("ready", flush=True)
while True:
    query, peer = datagrams.recvfrom(4096)
    datagrams.sendto(answer(query, 512), peer)
PYTHON
python3 "$work/names.py" "$NAMESERVER" "$NAME" "$LONG_NAME" >"$work/names.log" 2>&1 &
processes+=($!)
await "$work/names.log" ready
echo "nameserver $NAMESERVER" >"$root/etc/resolv.conf"

# ---- TLS ----

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$NAME" \
    -addext "subjectAltName=DNS:$NAME,DNS:$LONG_NAME" \
    -keyout "$root/etc/key.pem" -out "$root/etc/cert.pem" 2>/dev/null
"${alone[@]}" at /served server -allow-delete -listen 127.0.0.1:0 -cert /etc/cert.pem -key /etc/key.pem \
    >/dev/null 2>"$work/server.log" &
processes+=($!)
await "$work/server.log" ' at https://'
port=$(sed -n 's/.* at https:.*:\([0-9]*\)$/\1/p' "$work/server.log")
check "it is told by name where to go over TLS" \
    plakar store add nas "https://$NAME:$port" tls_ca=/etc/cert.pem
check "it backs up and restores over TLS" round @nas out-tls
check "it trusts nobody it has no reason to" fails plakar at "https://$NAME:$port" ls
check "it finds nobody who is not there" fails plakar at "https://none.plakar.test:$port" ls
plakar store add long "https://$LONG_NAME:$port" tls_ca=/etc/cert.pem
check "it asks again by TCP if the answer is long" says /data at @long ls
check "that answer was long" grep -q long "$work/names.log"

# ---- SSH ----

mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$work/host"
ssh-keygen -q -t ed25519 -N '' -f "$root/home/.ssh/id_ed25519"
cp "$root/home/.ssh/id_ed25519.pub" "$work/authorized"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/sshd_config" <<CONFIG
ListenAddress 127.0.0.1:$port
HostKey $work/host
AuthorizedKeysFile $work/authorized
PidFile none
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
CONFIG
"$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f "$work/sshd_config" >"$work/sshd.log" 2>&1 &
processes+=($!)
await "$work/sshd.log" 'Server listening'
box=sftp://root@$NAME:$port$work/box
check "it refuses a server of SSH that it does not know" fails plakar at "$box" create
echo "[$NAME]:$port $(cut -d ' ' -f 1,2 "$work/host.pub")" >"$root/home/.ssh/known_hosts"
check "it backs up and restores over SSH" round "$box" out-ssh

# ---- Command tests ----

if [ "${PLAKAR_STATIC_SUITE-}" != no ]; then
    runner=$binary
    but=()
    if [ -n "$emulator" ]; then
        runner=$work/plakar
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$(command -v "$emulator")" "$binary" >"$runner"
        chmod 755 "$runner"
        # The emulator lacks the system call that disables echo (TCSETS2 of ioctl_tty(2)).
        but=(--skip typed --skip another_passphrase_if_that_is_wanted)
    fi
    check "it passes the suite of commands" env PLAKAR_TEST_BINARY="$runner" cargo test --test cli -- "${but[@]}"
    tail -n 3 "$work/log"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
