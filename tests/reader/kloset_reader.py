#!/usr/bin/env python3
"""Reads a Kloset store, written from the manual page kloset(5) and nothing else.

    kloset_reader.py STORE list                   tell the snapshots
    kloset_reader.py STORE restore ID DIRECTORY   restore the one whose id begins with ID
                                                  into a new directory
    kloset_reader.py STORE check                  verify every byte of packs, the index and snapshots

With --footers it reads the footers of packs and ignores index objects.
The passphrase is in KLOSET_PASSPHRASE, or asked for.
Needs: pip install blake3 argon2-cffi pynacl zstandard
"""
import argparse, functools, getpass, grp, io, os, pwd, re, stat, struct, sys, tomllib
from datetime import datetime, timezone
from pathlib import Path
import argon2.low_level as argon2
import zstandard
from blake3 import blake3
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as aead_open
from nacl.exceptions import CryptoError

KiB, MiB = 1 << 10, 1 << 20
V1 = "kloset 2026-11 v1 "
AREAS = {"packs": 1, "index": 2, "snapshots": 3, "condemned": 4}
LARGEST = {"keys": 64 * KiB, "packs": 256 * MiB, "index": 64 * MiB,
           "snapshots": 16 * MiB, "condemned": 16 * MiB}
PLAIN = {("packs", 1): 8 * MiB, ("packs", 2): 64 * MiB, ("index", 1): 128 * MiB,
         ("snapshots", 1): 32 * MiB, ("condemned", 1): 32 * MiB}
SEAL = 24 + 5 + 16                  # nonce, head of the envelope, tag
problems = 0


class Damaged(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Damaged(what)


def warn(*what):
    global problems
    problems += 1
    print("warning:", *what, file=sys.stderr)


def keyed(key, data, length=32):
    return blake3(data, key=key).digest(length)


def derive(purpose, key):
    return blake3(key, derive_key_context=V1 + purpose).digest()


def split(data, n):
    need(len(data) % n == 0, f"a list that is not made of {n} bytes each")
    return [data[i:i + n] for i in range(0, len(data), n)]


# CBOR: what the page allows, and to be skipped, floats, tags and simple values.

def cbor_item(data, at, depth=0):
    """The item at an offset, and the offset behind it."""
    need(at < len(data) and depth < 64, "CBOR ends early, or is too deep")
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    number = low
    if low >= 24:
        need(low <= 27, "CBOR of indefinite length, or reserved")
        n = 1 << (low - 24)
        need(at + n <= len(data), "CBOR ends early")
        number, at = int.from_bytes(data[at:at + n], "big"), at + n
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major == 7:
        return None, at
    if major == 6:
        return cbor_item(data, at, depth + 1)
    need(number <= len(data) - at, "CBOR claims more than is there")
    if major in (2, 3):
        piece = data[at:at + number]
        return (piece if major == 2 else piece.decode("utf-8")), at + number
    items = []
    for _ in range(number * (major - 3)):
        item, at = cbor_item(data, at, depth + 1)
        items.append(item)
    if major == 4:
        return items, at
    need(all(type(k) is int and k >= 0 for k in items[::2]), "key of a map")
    made = dict(zip(items[::2], items[1::2]))
    need(len(made) == number, "key told twice")
    return made, at


def cbor_sequence(data):
    at = 0
    while at < len(data):
        item, at = cbor_item(data, at)
        yield item


def cbor(data):
    item, at = cbor_item(data, 0)
    need(at == len(data), "bytes after the CBOR item")
    return item


def open_envelope(envelope, limit):
    codec, length = struct.unpack_from("<BI", envelope)
    need(length <= limit, "plain length above its limit")
    need(codec in (0, 1), "unknown codec")
    plain = envelope[5:]
    if codec == 1:
        plain = zstandard.ZstdDecompressor().stream_reader(plain).read(length + 1)
    need(len(plain) == length, "plain length is another one")
    return plain


def open_slot(slot, passphrase):
    """The master key, or None if the slot is of another passphrase."""
    need(slot[:8] == b"KLOSETK\x01", "slot of another version, or damaged")
    memory, passes, lanes, salt, _, n = struct.unpack_from("<III16sqH", slot, 8)
    need(19456 <= memory <= 1048576 and 2 <= passes <= 64 and 1 <= lanes <= 16,
         "slot asks for too much, or too little")
    need(len(slot) == 182 + n, "slot of a wrong length")
    key = argon2.hash_secret_raw(passphrase, salt, passes, memory, lanes, 32,
                                 argon2.Type.ID, version=0x13)
    if derive("key slot commitment", key) != slot[46 + n:78 + n]:
        return None
    master = aead_open(slot[102 + n:150 + n], slot[:102 + n], slot[78 + n:102 + n], key)
    need(keyed(derive("slot mac", master), slot[:150 + n]) == slot[150 + n:], "MAC of a slot")
    return master


class Store:
    def __init__(self, path, passphrase, footers=False):
        self.path, self.footers = Path(path), footers
        text = (self.path / "CONFIG").read_bytes()
        need(len(text) <= 64 * KiB, "CONFIG is too long")
        config = tomllib.loads(text.decode("utf-8"))
        need(config.get("format") == 1, "not format 1")
        self.key_id = bytes.fromhex(config["key_id"])
        mac = re.search(rb'(?<=\n)mac = "([0-9a-f]{64})"\n\Z', text)
        need(mac, "CONFIG does not end in its MAC")
        for master in self.masters(config.get("plaintext_master_key"), passphrase):
            if keyed(derive("config mac", master), text[:mac.start()]).hex() == mac[1].decode():
                break
            warn("the MAC of CONFIG is another one under this key")
        else:
            raise Damaged("no key for this store")
        self.chunk_id_key, self.nonce_key = derive("chunk id", master), derive("nonce", master)
        self.keys = {area: derive("seal " + area, master) for area in AREAS}
        self.packs = dict(self.names("packs"))
        self.places, self.tables = {}, {}
        self.load_index()

    def masters(self, plaintext, passphrase):
        if plaintext is not None:
            yield bytes.fromhex(plaintext)
            return
        for name, path in list(self.names("keys"))[:64]:
            try:
                master = open_slot(self.read(path, "keys"), passphrase())
                if master:
                    yield master
            except (Damaged, CryptoError, struct.error) as e:
                warn("slot", name.hex(), e)

    # Objects

    def names(self, area):
        top = self.path / area
        folders = [top] if area != "packs" else [top / f"{i:02x}" for i in range(256)]
        for folder in folders:
            if top.is_symlink() or folder.is_symlink() or not folder.is_dir():
                continue
            for item in sorted(os.scandir(folder), key=lambda item: item.name):
                if (re.fullmatch("[0-9a-f]{64}", item.name) and item.is_file(follow_symlinks=False)
                        and (area != "packs" or item.name[:2] == folder.name)):
                    yield bytes.fromhex(item.name), Path(item.path)

    def read(self, path, area):
        need(path.stat().st_size <= LARGEST[area], "object is too long")
        data = path.read_bytes()
        if blake3(data).hexdigest() != path.name:
            warn(area, path.name, "its name is not the hash of its bytes")
        return data

    def open_part(self, sealed, area, part):
        need(SEAL <= len(sealed) <= SEAL + PLAIN[area, part], "length of a sealed part")
        aad = self.key_id + bytes([AREAS[area], part])
        nonce = sealed[:24]
        try:
            envelope = aead_open(sealed[24:], aad, nonce, self.keys[area])
        except CryptoError:
            raise Damaged("a seal is broken") from None
        if keyed(self.nonce_key, aad + envelope, 24) != nonce:
            warn("a nonce is not the one the envelope makes")
        return open_envelope(envelope, PLAIN[area, part])

    def bodies(self, area):
        """The maps of the objects of one part each."""
        for name, path in self.names(area):
            try:
                data = self.read(path, area)
                magic = b"KLOSET" + area[:1].upper().encode()
                need(data[:7] == magic, "its magic is wrong")
                need(data[7:8] == b"\x01", "its version is not known")
                yield name, cbor(self.open_part(data[8:], area, 1))
            except (Damaged, ValueError) as e:
                warn(area, name.hex(), e)

    # Packs and the index

    @functools.lru_cache(4)
    def pack(self, name):
        return self.read(self.packs[name], "packs")

    def footer(self, name):
        data = self.pack(name)
        need(data[:8] == b"KLOSETP\x01" and data[-8:] == b"KLOSETE\x01", "magic of a pack")
        length, = struct.unpack_from("<I", data, len(data) - 12)
        need(length + 20 <= len(data), "length of a footer")
        table = cbor(self.open_part(data[-12 - length:-12], "packs", 2))
        need(8 + sum(block[0] for block in table[1]) + length + 12 == len(data), "size of a pack")
        return table

    def blocks(self, table, width):
        """Offset, sealed length, ids and lengths of every block."""
        at = 8
        for sealed, ids, lengths, *_ in table[1]:
            ids, lengths = split(ids, width), [n for n, in struct.iter_unpack("<I", lengths)]
            need(len(ids) == len(lengths) <= 1 << 20 and sum(lengths) <= 8 * MiB, "table of a pack")
            yield at, sealed, ids, lengths
            at += sealed

    def add(self, name, table, width):
        if name in self.packs and name not in self.tables:
            self.tables[name] = list(self.blocks(table, width))
            for at, sealed, ids, lengths in self.tables[name]:
                start = 0
                for id, length in zip(ids, lengths):
                    self.places.setdefault(id[:16], []).append((name, at, sealed, start, length))
                    start += length

    def load_index(self):
        if not self.footers:
            for object, body in self.bodies("index"):
                for name, size, table, *_ in body[0]:
                    try:
                        if name in self.packs and self.packs[name].stat().st_size == size:
                            self.add(name, table, 16)
                    except (Damaged, struct.error) as e:
                        warn("index", object.hex(), e)
        for name in self.packs:
            if name not in self.tables:
                try:
                    self.add(name, self.footer(name), 32)
                except (Damaged, ValueError, struct.error) as e:
                    warn("pack", name.hex(), e)

    # Chunks

    @functools.lru_cache(16)
    def block(self, pack, at, sealed):
        return self.open_part(self.pack(pack)[at:at + sealed], "packs", 1)

    def get(self, id):
        why = "it is in no pack"
        for pack, at, sealed, start, length in self.places.get(id[:16], []):
            try:
                chunk = self.block(pack, at, sealed)[start:start + length]
                if keyed(self.chunk_id_key, chunk) == id:
                    return chunk
                why = "its id is another one"
            except (Damaged, OSError) as e:
                why = e
            warn("pack", pack.hex(), why)
        raise Damaged(f"chunk {id.hex()}: {why}")

    def chunks(self, entry, plain_key, list_key):
        """The chunks of a content or a tree, through all lists of ids."""
        need(plain_key not in entry or list_key not in entry, "two contents")
        depth, ids, *_ = entry.get(list_key) or (0, entry.get(plain_key, b""))
        need(depth <= 8, "lists are too deep")

        def walk(depth, ids):
            for id in split(ids, 32):
                if depth:
                    yield from walk(depth - 1, self.get(id))
                else:
                    yield self.get(id)
        return walk(depth, ids)

    def tree(self, entry):
        last = b""
        for chunk in self.chunks(entry, 21, 25):
            for child in cbor_sequence(chunk):
                name = child[0]
                need(type(name) is bytes and 1 <= len(name) <= 4096 and name not in (b".", b"..")
                     and b"/" not in name and b"\0" not in name, f"bad name {name!r}")
                need(name > last, f"{name!r} is out of order")
                last = name
                yield child

    def snapshots(self):
        found = {}
        for name, body in sorted(self.bodies("snapshots"), key=lambda it: (it[1].get(18, 0), it[0])):
            need(len(body[0]) == 32, "id of a snapshot")
            found[body[0]] = body
        return sorted(found.values(), key=lambda body: body.get(1, 0))

    def check(self):
        for name in self.packs:
            try:
                blocks = list(self.blocks(self.footer(name), 32))
                listed = [(a, s, [id[:16] for id in ids], n) for a, s, ids, n in blocks]
                told = [(a, s, [id[:16] for id in ids], n) for a, s, ids, n in self.tables[name]]
                need(listed == told, "footer and index object differ")
                for at, sealed, ids, lengths in blocks:
                    plain = io.BytesIO(self.block(name, at, sealed))
                    need(all(keyed(self.chunk_id_key, plain.read(n)) == id
                             for id, n in zip(ids, lengths)), "id of a chunk")
                    need(not plain.read(), "a block is longer than its chunks")
            except (Damaged, ValueError, struct.error) as e:
                warn("pack", name.hex(), e)
        list(self.bodies("condemned"))
        print(len(self.packs), "packs,", len(self.places), "chunks,",
              len(self.snapshots()), "snapshots,", problems, "problems")


# Restoring

NODES = {3: stat.S_IFIFO, 4: stat.S_IFSOCK, 5: stat.S_IFCHR, 6: stat.S_IFBLK}


def restore(store, entry, path, links):
    """Restores an entry as path, and returns the files, directories and bytes it counts for."""
    kind, inode = entry[1], (entry.get(12, 0), entry.get(11, 0))
    counts = [1, 0, entry.get(7, 0)] if kind == 0 else [0, 1, 0] if kind == 1 else [1, 0, 0]
    if 24 in entry:
        warn(os.fsdecode(path), "was not backed up:", entry[24])
    if 23 in entry:
        warn(os.fsdecode(path), "changed while it was read")
    linked = kind != 1 and entry.get(13, 1) > 1 and inode[1]
    if linked and inode in links:
        os.link(links[inode], path, follow_symlinks=False)
        return counts
    if kind == 0:
        if 24 in entry:
            return counts
        with open(path, "xb") as file:
            lay_out(file, store.chunks(entry, 19, 20), entry)
    elif kind == 1:
        os.mkdir(path)
        below, before = [0, 0, 0], problems
        try:
            for child in store.tree(entry):
                inside = os.path.join(path, child[0])
                try:
                    below = list(map(sum, zip(below, restore(store, child, inside, links))))
                except (Damaged, OSError) as e:
                    warn(os.fsdecode(inside), e)
        except Damaged as e:
            warn(os.fsdecode(path), "entries are missing:", e)
        if below != entry.get(22, [0, 0, 0])[:3] and problems == before:
            warn(os.fsdecode(path), "totals differ:", below, entry.get(22))
        counts = list(map(sum, zip(counts, below)))
    elif kind == 2:
        os.symlink(entry.get(14, b""), path)
    elif kind in NODES:
        os.mknod(path, NODES[kind] | 0o600, entry.get(15, 0))
    else:
        raise Damaged(f"unknown kind {kind}")
    if linked:
        links[inode] = path
    if os.geteuid() == 0:
        os.chown(path, *owner(entry), follow_symlinks=False)
    attributes = entry.get(16, [])
    for name, value in zip(attributes[::2], attributes[1::2]):
        os.setxattr(path, name, value, follow_symlinks=False)
    if kind != 2:
        os.chmod(path, entry.get(2, 0))
    os.utime(path, ns=(entry.get(8, 0),) * 2, follow_symlinks=False)
    return counts


@functools.cache
def accounts():
    return ({user.pw_name: user.pw_uid for user in pwd.getpwall()},
            {group.gr_name: group.gr_gid for group in grp.getgrall()})


def owner(entry):
    """The ids of user and group, by name where this machine knows it."""
    users, groups = accounts()
    return users.get(entry.get(5), entry.get(3, 0)), groups.get(entry.get(6), entry.get(4, 0))


def lay_out(file, chunks, entry):
    """Content and holes, from position 0 on."""
    numbers = entry.get(18, [])
    holes = list(zip(numbers[::2], numbers[1::2]))
    end = 0
    for offset, length in holes:
        need(end <= offset and offset + length <= entry.get(7, 0), "holes overlap, or pass the end")
        end = offset + length
    at, holes = 0, holes[::-1]
    for chunk in chunks:
        while chunk:
            while holes and holes[-1][0] == at:
                at += holes.pop()[1]
            n = min(len(chunk), holes[-1][0] - at if holes else len(chunk))
            file.seek(at)
            file.write(chunk[:n])
            at, chunk = at + n, chunk[n:]
    size = max(at, end)
    file.truncate(size)
    if size != entry.get(7, 0):
        warn(os.fsdecode(file.name), "has", size, "bytes instead of", entry.get(7, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--footers", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("check")
    command = commands.add_parser("restore")
    command.add_argument("id")
    command.add_argument("directory")
    args = parser.parse_args()

    @functools.cache
    def passphrase():
        told = os.environb.get(b"KLOSET_PASSPHRASE")
        return told if told is not None else os.fsencode(getpass.getpass())

    store = Store(args.store, passphrase, args.footers)
    if args.command == "check":
        store.check()
    for body in store.snapshots():
        if args.command == "list":
            when = datetime.fromtimestamp(body.get(1, 0) / 1e9, timezone.utc)
            print(body[0].hex(), when.isoformat(timespec="seconds"),
                  *(os.fsdecode(place) for place in body.get(3, [])))
        elif args.command == "restore" and body[0].hex().startswith(args.id):
            restore(store, cbor(body[4]), os.fsencode(args.directory), {})
            break
    else:
        if args.command == "restore":
            sys.exit("no such snapshot")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    try:
        main()
    except (Damaged, OSError) as e:
        sys.exit(f"error: {e}")
