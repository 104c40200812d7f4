"""Step 2, duplicates: exact, equal but for case and spaces, and near ones by MinHash (Broder 1997) with banding.

Near duplicates share n-grams (see `src.curate.canonical`), the numbers in the question and the gold answer: problems of one
template that ask for different things are kept. The first copy stays. A problem takes 536 bytes on disk while it is
compared, and some 50 in memory; texts are never held.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from src.common.base import Config
from src.curate.canonical import canonical, hash_64, ngrams
from src.curate.store import Candidate, Finished, Writer
from src.data.loaders import normalise

if TYPE_CHECKING:
    import numpy as np

EXACT, NORMALISED, NEAR = "exact duplicate", "duplicate but for case and spaces", "near duplicate"
KINDS = ("", EXACT, NORMALISED, NEAR)
OTHER_ANSWER = "duplicate with another gold answer"
PERMUTATIONS, ROWS_PER_BAND = 126, 3  # 42 bands: at half the n-grams in common, 99.6 % of pairs meet in one of them
LEADERS = 50  # of one band's bucket that all others in it are compared with
RECORDS_AT_ONCE = 20_000


class DuplicatesConfig(Config):
    """What counts as a near duplicate."""

    ngram: int = Field(default=4, ge=1)  # tokens
    near_share: float = Field(default=0.5, gt=0, le=1)  # n-grams in common / in either (Jaccard), as MinHash estimates it


def drop_duplicates(config: DuplicatesConfig, previous: Finished, writer: Writer, done: Callable[[int], None]) -> None:
    """Keep the first of each set of copies."""
    scratch = writer.folder / "signatures.bin"
    signatures = _signatures(config, previous, scratch, done)
    copies = find_copies(signatures, config.near_share)
    _write(previous, writer, signatures, copies)
    del signatures
    scratch.unlink()


@dataclass(frozen=True)
class Copies:
    """For each of N problems, by position."""

    first: "np.ndarray"  # the earlier problem that it is a copy of; itself for none
    kind: "np.ndarray"  # 0 for none, else the number of its reason in KINDS
    share: "np.ndarray"  # of n-grams in common with that, as estimated; 1 where the texts are equal


def find_copies(signatures: "np.ndarray", near_share: float) -> Copies:
    """Compare N signatures with each other."""
    copies = _equal(signatures)
    _add_near(signatures, copies, near_share)
    return copies


def signature_type() -> "np.dtype":
    """What is kept of a problem while problems are compared."""
    import numpy as np

    hashes = [(name, np.uint64) for name in ("exact", "normalised", "answer", "numbers")]
    return np.dtype([*hashes, ("minhash", np.uint32, (PERMUTATIONS,))])


def sign(candidates: Iterable[Candidate], n: int) -> Iterator["np.ndarray"]:
    """A signature for each problem."""
    import numpy as np
    from datasketch import MinHash

    blank = MinHash(num_perm=PERMUTATIONS, hashfunc=lambda gram: gram & 0xFFFFFFFF)
    kind = signature_type()
    for candidate in candidates:
        form = canonical(candidate.question)
        minhash = blank.copy()
        minhash.update_batch(ngrams(form.tokens, n))
        record = np.zeros((), dtype=kind)
        record["exact"], record["normalised"] = hash_64(candidate.question), hash_64(normalise(candidate.question))
        record["answer"], record["numbers"] = hash_64(normalise(candidate.answer)), number_bits(form.numbers)
        record["minhash"] = minhash.hashvalues
        yield record


def number_bits(numbers: tuple[tuple[str, int], ...]) -> int:
    """64 bits, one set for each number and how often it occurs at least: a Bloom filter, to compare sets of numbers."""
    bits = 0
    for number, count in numbers:
        for occurrence in range(1, min(count, 4) + 1):
            bits |= 1 << (hash_64(f"{number}/{occurrence}") % 64)
    return bits


def _signatures(
    config: DuplicatesConfig, previous: Finished, path: Path, done: Callable[[int], None]
) -> "np.ndarray":
    import numpy as np

    with path.open("wb") as file:
        for number, record in enumerate(sign(previous.candidates(), config.ngram), start=1):
            file.write(record.tobytes())
            if number % 1_000 == 0:
                done(1_000)
    return np.memmap(path, dtype=signature_type(), mode="r")


def _equal(signatures: "np.ndarray") -> Copies:
    """The copies whose texts are equal, at least but for case and spaces."""
    import numpy as np

    rows = np.arange(len(signatures))
    _, first, group = np.unique(signatures["normalised"], return_index=True, return_inverse=True)
    first = first[group].astype(np.int64)
    kind = np.where(first == rows, 0, KINDS.index(NORMALISED)).astype(np.uint8)
    kind[(first != rows) & (signatures["exact"] == signatures["exact"][first])] = KINDS.index(EXACT)
    return Copies(first, kind, np.ones(len(rows), dtype=np.float32))


def _add_near(signatures: "np.ndarray", copies: Copies, near_share: float) -> None:
    """Add near duplicates: within each bucket of a band, those like an earlier one."""
    import numpy as np

    for start in range(0, PERMUTATIONS, ROWS_PER_BAND):
        unique = np.flatnonzero(copies.kind == 0)
        keys = _band_keys(signatures, unique, start)
        order = np.argsort(keys, kind="stable")
        edges = np.concatenate([[0], np.flatnonzero(np.diff(keys[order])) + 1, [len(order)]])
        for at in np.flatnonzero(np.diff(edges) > 1):
            _compare(signatures, unique[order[edges[at] : edges[at + 1]]], copies, near_share)


def _band_keys(signatures: "np.ndarray", rows: "np.ndarray", start: int) -> "np.ndarray":
    """One number for each problem: equal where the gold answer and this band of the MinHash are."""
    import numpy as np

    keys = np.empty(len(rows), dtype=np.uint64)
    for begin in range(0, len(rows), RECORDS_AT_ONCE):
        part = signatures[rows[begin : begin + RECORDS_AT_ONCE]]
        key = part["answer"].copy()
        for column in range(start, start + ROWS_PER_BAND):
            key = (key ^ part["minhash"][:, column]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        keys[begin : begin + RECORDS_AT_ONCE] = key
    return keys


def _compare(signatures: "np.ndarray", rows: "np.ndarray", copies: Copies, near_share: float) -> None:
    """Mark what is like an earlier problem of the bucket; `rows` rise."""
    import numpy as np

    minhash, numbers = signatures["minhash"][rows], signatures["numbers"][rows]
    left = np.arange(len(rows))
    for _ in range(min(LEADERS, len(rows) - 1)):
        if len(left) < 2:
            return
        leader, others = left[0], left[1:]
        share = (minhash[others] == minhash[leader]).mean(axis=1)
        common = numbers[others] & numbers[leader]
        alike = (share >= near_share) & ((common == numbers[others]) | (common == numbers[leader]))
        marked = rows[others[alike]]
        copies.first[marked], copies.kind[marked], copies.share[marked] = rows[leader], KINDS.index(NEAR), share[alike]
        left = others[~alike]


def _write(previous: Finished, writer: Writer, signatures: "np.ndarray", copies: Copies) -> None:
    import numpy as np

    places = dict.fromkeys(copies.first[np.flatnonzero(copies.kind)].tolist(), 0)  # of originals in a file, in bytes
    with tempfile.TemporaryFile(dir=writer.folder) as originals:
        for row, candidate in enumerate(previous.candidates()):
            if row in places:
                places[row] = originals.seek(0, os.SEEK_END)
                pickle.dump(candidate, originals)
            if not copies.kind[row]:
                writer.keep(candidate)
                continue
            original = int(copies.first[row])
            same = signatures["answer"][row] == signatures["answer"][original]
            reason = KINDS[copies.kind[row]] if same else OTHER_ANSWER
            originals.seek(places[original])
            writer.drop(candidate, reason, candidate.answer, pickle.load(originals), round(float(copies.share[row]), 4))
