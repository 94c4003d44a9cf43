"""Writes what each case of tests/wire sends to a file: seeds for a corpus.

python3 tests/fuzz/seeds.py http FOLDER
"""

import re
import sys
from pathlib import Path

WIRE = Path(__file__).resolve().parents[1] / "wire"
SEED_BYTES_MAX = 4096
PLAIN = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescape(text: str) -> bytes:
    sent = b""
    for part in re.split(r"(\\x[0-9a-fA-F]{2}|\\.)", text):
        if part.startswith("\\x"):
            sent += bytes.fromhex(part[2:])
        elif part.startswith("\\"):
            sent += PLAIN[part[1]]
        else:
            sent += part.encode()
    return sent


def sent_by(case: str) -> bytes:
    """What the lines `>>> text` and `>>>x900 text` of a case send."""
    sent = b""
    for line in case.split("\n"):
        if found := re.match(r">>>(?:x(\d+))? (.*)", line):
            sent += unescape(found[2]) * int(found[1] or 1)
    return sent


def main(protocol: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for case in sorted((WIRE / protocol).glob("*.case")):
        sent = sent_by(case.read_text(encoding="utf-8"))
        if len(sent) <= SEED_BYTES_MAX:
            (Path(folder) / case.stem).write_bytes(sent)


if __name__ == "__main__":
    main(*sys.argv[1:])
