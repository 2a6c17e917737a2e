"""One hash that two threads take turns in: each piece once, in order, whoever comes."""

from __future__ import annotations

import random
import threading

import pytest

from registry_image.errors import DigestMismatch
from registry_image.oci.digest import Digest, Verifier
from registry_image.transfer.inflate import SharedVerifier

PIECES = [random.Random(number).randbytes(number * 37) for number in range(300)]
RIGHT = Digest.of(b"".join(PIECES))


def shared(digest: Digest = RIGHT) -> SharedVerifier:
    return SharedVerifier(Verifier(digest, None, "layer 1 of 1"))


def test_pieces_are_hashed_in_the_order_in_which_they_were_added() -> None:
    verifier = shared()
    for piece in PIECES:
        verifier.add(piece)
    for _ in PIECES:
        assert verifier.hash_one()
    assert not verifier.hash_one()
    verifier.finish()


def test_up_to_a_piece_no_more_is_hashed_than_up_to_it() -> None:
    verifier = shared()
    for piece in PIECES:
        verifier.add(piece)
    verifier.hash_up_to(len(PIECES) - 2)
    assert verifier.hash_one()
    verifier.hash_up_to(3)
    assert verifier.hash_one()
    assert not verifier.hash_one()
    verifier.finish()


def test_what_is_missing_or_twice_is_a_mismatch() -> None:
    for pieces in (PIECES[:-1], [*PIECES, PIECES[-1]], [*PIECES[::-1]]):
        verifier = shared()
        for piece in pieces:
            verifier.add(piece)
        verifier.hash_up_to(len(pieces))
        with pytest.raises(DigestMismatch, match="layer 1 of 1"):
            verifier.finish()


@pytest.mark.parametrize("seed", range(20))
def test_a_thread_that_adds_and_one_that_reads_agree(seed: int) -> None:
    chance = random.Random(seed)
    helps = [chance.random() < 0.5 for _ in PIECES]
    verifier = shared()
    added = threading.Semaphore(0)

    def add() -> None:
        for piece, help_out in zip(PIECES, helps, strict=True):
            verifier.add(piece)
            added.release()
            if help_out:
                verifier.hash_one()

    thread = threading.Thread(target=add)
    thread.start()
    for count in range(1, len(PIECES) + 1):
        added.acquire()
        verifier.hash_up_to(count)
    thread.join()
    verifier.finish()
