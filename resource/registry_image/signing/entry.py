"""A transparency log's entry, as a signature of either form carries it. `log` verifies it."""

from __future__ import annotations

from dataclasses import dataclass

from registry_image.decode import JSONReader
from registry_image.signing.reading import Rejected, base64_of, read_base64, read_count


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """A path in the log's Merkle tree (RFC 6962, 2.1.1), and the checkpoint by which the log signed the tree."""

    log_index: int
    tree_size: int
    root_hash: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """``promise`` is the signed entry timestamp (SET): the log signed the entry and its time; b"" if there is none.

    ``integrated_time`` is in Unix seconds. ``log_index`` counts in all shards of the log, the proof's own in one.
    ``kind`` is the body's kind and version according to the bundle, such as ("dsse", "0.0.1"), or None.
    """

    body: bytes
    log_id: bytes
    log_index: int
    integrated_time: int
    promise: bytes
    proof: InclusionProof | None = None
    kind: tuple[str, str] | None = None


def read_classic_entry(text: str) -> LogEntry:
    """From the annotation of a classic signature. Raises Rejected or InvalidManifest."""
    reader = JSONReader.parse(text, "log entry")
    payload = reader.child("Payload")
    try:
        log_id = bytes.fromhex(payload.text("logID"))
    except ValueError:
        raise Rejected("log entry: logID: not hex") from None
    return LogEntry(
        body=read_base64(payload, "body"),
        log_id=log_id,
        log_index=read_count(payload, "logIndex"),
        integrated_time=read_count(payload, "integratedTime"),
        promise=read_base64(reader, "SignedEntryTimestamp"),
    )


def read_bundle_entry(reader: JSONReader) -> LogEntry:
    """From `verificationMaterial.tlogEntries` of a bundle. Raises Rejected or InvalidManifest."""
    kind = reader.child("kindVersion")
    promise = reader.child("inclusionPromise") if reader.has("inclusionPromise") else None
    return LogEntry(
        body=read_base64(reader, "canonicalizedBody"),
        log_id=read_base64(reader.child("logId"), "keyId"),
        log_index=read_count(reader, "logIndex"),
        integrated_time=read_count(reader, "integratedTime"),
        promise=read_base64(promise, "signedEntryTimestamp") if promise else b"",
        proof=_read_proof(reader.child("inclusionProof")) if reader.has("inclusionProof") else None,
        kind=(kind.text("kind"), kind.text("version")),
    )


def _read_proof(reader: JSONReader) -> InclusionProof:
    return InclusionProof(
        log_index=read_count(reader, "logIndex"),
        tree_size=read_count(reader, "treeSize"),
        root_hash=read_base64(reader, "rootHash"),
        hashes=tuple(base64_of(each, f"{reader.where}: hashes") for each in reader.texts("hashes")),
        checkpoint=reader.child("checkpoint").text("envelope"),
    )
