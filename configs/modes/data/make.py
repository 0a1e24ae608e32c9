#!/usr/bin/env python3
"""Writes the small data sets of this folder, with nothing but the standard library.

line.csv, line_test.csv   y = 2 a - b + 1 with a little noise, columns a, b, y
blobs_*.npy               three classes around three corners of the plane, <f4 and <i4
*-ubyte, *-ubyte.gz       4 x 4 images of three classes: class k has a bright row k
"""
import gzip
import random
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
draw = random.Random(1)


def write_csv(name, rows):
    lines = ["a,b,y"]
    for _ in range(rows):
        a, b = draw.random(), draw.random()
        lines.append(f"{a:.4f},{b:.4f},{2 * a - b + 1 + draw.gauss(0, 0.05):.4f}")
    (HERE / name).write_text("\n".join(lines) + "\n")


def write_npy(name, descr, shape, values):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    packed = struct.pack("<%d%s" % (len(values), {"<f4": "f", "<i4": "i"}[descr]), *values)
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (HERE / name).write_bytes(start + header.encode() + packed)


def write_blobs(name, rows):
    corners = [(0, 0), (3, 0), (0, 3)]
    points, labels = [], []
    for i in range(rows):
        labels.append(i % 3)
        points += [draw.gauss(c, 0.5) for c in corners[i % 3]]
    write_npy(f"blobs_{name}_inputs.npy", "<f4", (rows, 2), points)
    write_npy(f"blobs_{name}_labels.npy", "<i4", (rows,), labels)


def write_idx(name, rows, pack):
    images, labels = bytearray(), bytearray()
    for i in range(rows):
        labels.append(i % 3)
        for row in range(4):
            base = 160 if row == i % 3 else 20
            images += bytes(base + draw.randrange(80) for _ in range(4))
    files = {
        f"{name}-images-idx3-ubyte": struct.pack(">4I", 0x803, rows, 4, 4) + images,
        f"{name}-labels-idx1-ubyte": struct.pack(">2I", 0x801, rows) + labels,
    }
    for file, content in files.items():
        if pack:
            file, content = file + ".gz", gzip.compress(content, mtime=0)
        (HERE / file).write_bytes(content)


write_csv("line.csv", 300)
write_csv("line_test.csv", 60)
write_blobs("train", 300)
write_blobs("test", 60)
write_idx("train", 240, pack=True)
write_idx("t10k", 60, pack=False)
