#!/usr/bin/env python3
"""Computes the test vectors of kloset(5) anew, and looks for each in the page.

    vectors.py [PAGE]
"""
import re, struct, sys
from pathlib import Path
import argon2.low_level as argon2
from blake3 import blake3
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as aead
import kloset_reader as reader
from kloset_reader import derive, keyed

page = Path(sys.argv[1] if len(sys.argv) > 1 else
            Path(__file__).resolve().parents[2] / "man/kloset.5").read_text()
page = page[page.index(".Sh TEST VECTORS"):]
dense = re.sub(r"\s", "", page)
failed = 0


def vector(what, value):
    global failed
    text = value.hex() if isinstance(value, bytes) else value
    found = re.sub(r"\s", "", text) in dense
    failed += not found
    print("ok " if found else "NOT IN THE PAGE", what, "" if found else text)


def seal(area, part, payload, head=None):
    aad = key_id + bytes([reader.AREAS[area], part])
    envelope = (head or struct.pack("<BI", 0, len(payload))) + payload
    nonce = keyed(derive("nonce", zero), aad + envelope, 24)
    return nonce + aead(envelope, aad, nonce, derive("seal " + area, zero))


def cut(data, gear, minimum, average, maximum):
    """The length of the first chunk, from the definition: no shifts, no loop unrolled."""
    k, n = average.bit_length() - 1, len(data)
    rolling = 0
    for p in range(minimum - 63, min(n, maximum)):
        rolling = ((rolling << 1) + gear[data[p - 1]]) % 2**64
        if minimum <= p and rolling < 2 ** (64 - (k + 2 if p < average else k - 2)):
            return p
    return min(n, maximum)


zero = key_id = bytes(32)
for name, purpose in [("chunk id", "chunk id"), ("nonce", "nonce"), ("gear", "gear table"),
                      ("CONFIG", "config mac"), ("slot", "slot mac"),
                      *((a, "seal " + a) for a in reader.AREAS)]:
    vector(f"key {name}", name + derive(purpose, zero).hex())

chunk_id = keyed(derive("chunk id", zero), b"hello")
vector("id of no bytes", "no bytes" + keyed(derive("chunk id", zero), b"").hex())
vector("id of hello", '"hello"' + chunk_id.hex())

gear = struct.unpack("<256Q", keyed(derive("gear table", zero), b"gear table", 2048))
for i in 0, 1, 255:
    vector(f"gear[{i}]", f"gear[{i}] {gear[i]:#018x}")
data = blake3(b"").digest(2 << 20)
for name, sizes in ("file", (65536, 262144, 1048576)), ("tree", (4096, 16384, 65536)):
    at, lengths = 0, []
    while at < len(data) and len(lengths) < 8:
        lengths.append(cut(data[at:], gear, *sizes))
        at += lengths[-1]
    vector(f"cuts of a {name}", name + " ".join(map(str, lengths)) + ("\n.Ed" if name == "tree" else "\n"))
    if name == "file" and at != len(data):
        vector("all of the cuts", f"come to {at}")

block = seal("packs", 1, b"hello")
vector("sealed block", block)
vector("sealed snapshot", seal("snapshots", 1, b"hello"))
frame = bytes.fromhex(re.search(r"^zstd frame\n([0-9a-f]+)$", page, re.M)[1])
assert reader.open_envelope(struct.pack("<BI", 1, 100) + frame, 100) == b"a" * 100
vector("zstd block", seal("packs", 1, frame, struct.pack("<BI", 1, 100)))
table = (b"\x82\x00\x81\x83\x18" + bytes([len(block)]) + b"\x58\x20" + chunk_id
         + b"\x44" + struct.pack("<I", 5))
footer = seal("packs", 2, table)
pack = b"KLOSETP\x01" + block + footer + struct.pack("<I", len(footer)) + b"KLOSETE\x01"
vector("footer", "footer" + table.hex())
vector("name of the pack", "name" + blake3(pack).hexdigest())
for area, title in ("snapshots", "Snapshot"), ("condemned", "Condemnation"):
    part = re.search(rf"^\.Ss {title}\n.*?^body\n([0-9a-f\n]+?)\n\n", page, re.M | re.S)[1]
    plain = bytes.fromhex(part)
    assert reader.cbor(plain)
    made = b"KLOSET" + area[:1].upper().encode() + b"\x01" + seal(area, 1, plain)
    vector(f"name of the {title.lower()}", "name" + blake3(made).hexdigest())
body = (b"\xa1\x00\x81\x83\x58\x20" + blake3(pack).digest() + bytes([0x18, len(pack)])
        + b"\x82\x00\x81\x83\x18" + bytes([len(block)]) + b"\x50" + chunk_id[:16]
        + b"\x44" + struct.pack("<I", 5))
index = b"KLOSETI\x01" + seal("index", 1, body)
vector("body of the index object", "body" + body.hex())
vector("name of the index object", "name" + blake3(index).hexdigest())
vector("size of the index object", f"nothing else: {len(index)} bytes")
vector("sizes of pack and footer", f"{len(pack)} bytes, with a sealed footer of {len(footer)} bytes")

key = argon2.hash_secret_raw(b"correct horse", bytes(16), 2, 19456, 1, 32, argon2.Type.ID, 0x13)
commitment = derive("key slot commitment", key)
head = (b"KLOSETK\x01" + struct.pack("<III16sqH", 19456, 2, 1, bytes(16), 0, 4) + b"test"
        + commitment + bytes(24))
slot = head + aead(zero, head, bytes(24), key)
mac = keyed(derive("slot mac", zero), slot)
slot += mac
assert reader.open_slot(slot, b"correct horse") == zero and reader.open_slot(slot, b"") is None
vector("wrapping key", key)
vector("commitment", commitment)
vector("wrapped, tag", slot[len(head):-32])
vector("MAC of the slot", mac)
vector("name of the slot", "name" + blake3(slot).hexdigest())

text = re.search(r"^# A Kloset store.*?(?=\.Ed)", page, re.M | re.S)[0].encode()
vector("length of CONFIG", f"number is {len(text)}")
vector("MAC of CONFIG", keyed(derive("config mac", zero), text))
sys.exit(failed > 0)
