"""Reading is told from its first byte to its last, and called finished only if the bytes were right."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_image.errors import DigestMismatch, SizeMismatch
from registry_image.oci.content import open_verified, read_small_blob
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Digest
from registry_image.oci.progress_reader import ProgressReader
from registry_image.storage.layout import LayoutDirectory
from tests.support import images
from tests.support.ear import Ear
from tests.support.memory import MemoryReader

IMAGE = images.image(images.layer(b"layer" * 1000, "none"))
BLOB = IMAGE.blobs[1]
DESCRIPTOR = Descriptor(media_type=BLOB.media_type, digest=Digest.parse(BLOB.digest), size=BLOB.size)
TOLD = ("download", DESCRIPTOR.digest.short)


def test_a_blob_is_told_from_its_first_byte_to_its_last() -> None:
    ear = Ear()
    source = ProgressReader(MemoryReader(IMAGE, piece=1000), ear, "download")
    with open_verified(source, DESCRIPTOR, "blob") as pieces:
        next(pieces)
        next(pieces)
        assert (ear.totals, ear.counts, ear.finished) == ({TOLD: BLOB.size}, {TOLD: 1000}, [])
        rest = b"".join(map(bytes, pieces))
    assert rest == BLOB.data[2000:]
    assert (ear.counts, ear.finished) == ({TOLD: BLOB.size}, [TOLD])


@pytest.mark.parametrize(
    ("served", "error"),
    [(bytes(BLOB.size), DigestMismatch), (BLOB.data + b"x", SizeMismatch), (BLOB.data[:-1], SizeMismatch)],
    ids=["wrong", "long", "short"],
)
def test_a_blob_that_does_not_verify_is_never_finished(served: bytes, error: type[Exception], tmp_path: Path) -> None:
    reader = MemoryReader(IMAGE)
    reader.blobs[BLOB.digest] = served
    ear = Ear()
    source = ProgressReader(reader, ear, "download")
    with pytest.raises(error, match="blob"):
        LayoutDirectory(str(tmp_path / "oci")).put_blob(DESCRIPTOR, source)
    with pytest.raises(error, match="a document"):
        read_small_blob(source, DESCRIPTOR, "a document", limit=BLOB.size)
    assert ear.finished == []
