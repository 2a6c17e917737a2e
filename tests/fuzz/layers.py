"""Coverage-guided fuzzing of layers: bytes through decompression and the tar reader, in pieces of a length they choose.

    .venv/bin/python -m tests.fuzz.layers -max_total_time=600 .cache/fuzz/layers tests/fuzz/corpus/layers

Needs `atheris`. Whatever is no error of ours, or takes memory or time out of proportion, is a finding: libFuzzer writes
it to a file, which goes to tests/fuzz/corpus/layers with its fix. tests/property replays that directory.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from registry_image.archive.compression import decompress
from registry_image.archive.tarstream import TarReader
from registry_image.errors import CorruptLayer, UnsafePath
from tests.support import tar

CORPUS = Path(__file__).with_name("corpus") / "layers"


def read_layer(data: bytes) -> None:
    """Reads ``data`` as a layer; its first byte says how long pieces are, and whether to put the checksums right."""
    choice = data[0] if data else 0
    layer = with_right_checksums(data[1:]) if choice % 2 else data[1:]
    with contextlib.suppress(CorruptLayer, UnsafePath):
        reader = TarReader(decompress(tar.pieces(layer, 1 + choice * 7), "layer"), "layer")
        while entry := reader.next():
            if entry.mode % 2:
                assert sum(map(len, reader.body())) <= entry.size


def with_right_checksums(data: bytes) -> bytes:
    """A mutation almost never hits the checksum that goes with it; so the parser behind it would hardly be tried."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, tar.BLOCK):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks)


def seeds() -> dict[str, bytes]:
    """What the corpus starts from: one of each dialect and kind."""
    segments = [(4096, b"data"), (1 << 20, b"more")]
    members = {
        "dialects": b"".join(tar.file("a/b", b"data", dialect=dialect) for dialect in ("v7", "ustar", "gnu", "pax")),
        "long": tar.file("n" * 200, dialect="gnu") + tar.symlink("n" * 200, "t" * 200),
        "pax": tar.file("f", b"data", mtime_ns=-5, uid=2**31, xattrs={"user.a": b"\0"})
        + tar.pax({"a": "b"}, type=b"g"),
        "sparse": b"".join(tar.pax_sparse("s", segments, 1 << 21, version=v) for v in ("0.0", "0.1", "1.0")),
        "old-sparse": tar.gnu_sparse("s", [(at * 4096, b"x") for at in range(30)], 1 << 20),
        "kinds": tar.directory("d") + tar.hardlink("h", "f") + tar.fifo("p") + tar.device("n", 1, 3),
    }
    layers = {name: tar.archive(data) for name, data in members.items()}
    return {
        **{name: b"\xff" + data for name, data in layers.items()},
        "gzip": b"\x05" + tar.gzip(layers["kinds"]) + tar.gzip(b"") + bytes(20),
        "zstd": b"\x05" + tar.zstd_skippable() + tar.zstd(layers["kinds"]),
    }


def main() -> None:
    import atheris

    for name, data in seeds().items():
        CORPUS.mkdir(parents=True, exist_ok=True)
        (CORPUS / f"seed-{name}").write_bytes(data)
    atheris.instrument_all()
    atheris.Setup(sys.argv, read_layer)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
