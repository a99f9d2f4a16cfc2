"""Texts as tokens in flat arrays: each distinct text is tokenised once, and many texts are kept for the next run."""

import dataclasses
import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from datamap.errors import DataError
from datamap.features.token_places import mended_places
from datamap.files import outputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

TOKENIZE_BATCH = 1000
# Fewer characters are tokenised in less time than it takes to look for their tokens.
CACHED_CHARACTERS = 2_000_000
CACHE = "datamap_tokens"


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat array: row i is `flat[offsets[i]:offsets[i + 1]]`."""

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """Pack lists of integers into int32 arrays."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.fromiter((item for row in rows for item in row), dtype=np.int32, count=int(offsets[-1]))
        return cls(flat, offsets)

    @property
    def lengths(self) -> np.ndarray:
        """The length of every row, int64 [n_rows]."""
        return np.diff(self.offsets)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]


@dataclasses.dataclass(frozen=True)
class TokenizedContexts:
    """Every distinct context, tokenised once without special tokens.

    `token_ids`, `char_starts`, `char_ends` and `text_ends` are parallel flat arrays; context c's tokens stand at
    `offsets[c]:offsets[c + 1]`. Places are as `mended_places` gives them, ends are exclusive.
    """

    token_ids: np.ndarray
    char_starts: np.ndarray
    char_ends: np.ndarray
    text_ends: np.ndarray
    offsets: np.ndarray


def tokenize_contexts(tokenizer: "PreTrainedTokenizerFast", contexts: Sequence[str]) -> TokenizedContexts:
    """Tokenise distinct contexts in batches, keeping ids and places in characters as flat int32 arrays."""

    def make() -> dict[str, np.ndarray]:
        empty = np.empty(0, dtype=np.int32)
        ids, places, lengths = [empty], [(empty, empty, empty)], [0]
        for begin in batch_begins("Tokenising contexts", len(contexts)):
            texts = contexts[begin : begin + TOKENIZE_BATCH]
            encodings = bare_encodings(tokenizer, texts)
            own = [len(encoding) for encoding in encodings]
            ids.extend(np.array(encoding.ids, dtype=np.int32) for encoding in encodings)
            flat = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
            starts, ends = np.fromiter(flat, dtype=np.int32, count=2 * sum(own)).reshape(-1, 2).T
            places.append(mended_places(texts, starts, ends, np.cumsum([0, *own])))
            lengths.extend(own)
        starts, ends, text_ends = (np.concatenate(part) for part in zip(*places, strict=True))
        found = {"token_ids": np.concatenate(ids), "char_starts": starts, "char_ends": ends, "text_ends": text_ends}
        return found | {"offsets": np.cumsum(lengths)}

    return TokenizedContexts(**kept(tokenizer, ("contexts", "mended places"), [contexts], make))


def tokenize_pairs(
    tokenizer: "PreTrainedTokenizerFast", first: Sequence[str], second: Sequence[str] | None, max_length: int
) -> tuple[Ragged, Ragged]:
    """Token ids and token types of single texts or pairs with special tokens; the longer side is cut first."""

    def make() -> dict[str, np.ndarray]:
        ids, types = [], []
        settings = {"truncation": True, "max_length": max_length, "return_token_type_ids": True}
        for begin in batch_begins("Tokenising pairs", len(first)):
            batch_rows = slice(begin, begin + TOKENIZE_BATCH)
            texts = [list(side[batch_rows]) for side in (first, second) if side is not None]
            batch = tokenizer(*texts, return_attention_mask=False, **settings)
            ids.extend(batch["input_ids"])
            types.extend(batch["token_type_ids"])
        rows, row_types = Ragged.from_rows(ids), Ragged.from_rows(types)
        return {"ids": rows.flat, "types": row_types.flat, "offsets": rows.offsets}

    found = kept(tokenizer, ("pairs", max_length), [first, second or []], make)
    return Ragged(found["ids"], found["offsets"]), Ragged(found["types"], found["offsets"])


def batch_begins(title: str, n_texts: int) -> np.ndarray:
    """The first places of batches of TOKENIZE_BATCH texts, with a progress bar where there are many."""
    begins = range(0, n_texts, TOKENIZE_BATCH)
    return tqdm(begins, desc=title, unit="batch", disable=len(begins) < 3, leave=False)


def bare_encodings(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> list:
    """The encodings (of the library `tokenizers`) of whole texts without special tokens.

    Transformers' own call makes Python lists of everything that an encoding holds, which takes longer than tokenising.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend.encode_batch(list(texts), add_special_tokens=False)


def kept(
    tokenizer: "PreTrainedTokenizerFast",
    settings: tuple,
    texts: Sequence[Sequence[str]],
    make: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """The arrays of `make`, from the cache of data sets where an earlier run with many texts has left them.

    The file's name is the fingerprint (as `datasets` makes them) of tokenizer, settings and texts.
    HF_DATASETS_CACHE says where the cache is, `datasets.disable_caching()` turns it off.
    """
    if sum(len(text) for side in texts for text in side) < CACHED_CHARACTERS:
        return make()
    import datasets
    from datasets.fingerprint import Hasher

    if not datasets.is_caching_enabled():
        return make()
    name = Hasher.hash([describe(tokenizer), settings, texts])
    path = Path(datasets.config.HF_DATASETS_CACHE) / CACHE / f"{name}.npz"
    found = read_arrays(path)
    if found is None:
        found = make()
        write_arrays(path, found)
    return found


def describe(tokenizer: "PreTrainedTokenizerFast") -> list:
    """All that a tokenizer's tokens depend on: its parts, its settings, and the versions of the libraries."""
    import tokenizers
    import transformers

    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    parts |= {"truncation": None, "padding": None}  # these change with every call
    settings = {name: str(value) for name, value in tokenizer.init_kwargs.items()}
    settings |= {"truncation_side": tokenizer.truncation_side, "split": tokenizer.split_special_tokens}
    versions = transformers.__version__, tokenizers.__version__
    return [parts, sorted(settings.items()), versions]


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None where there is no file, or one that cannot be read, which is said."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s cannot be read (%s); the texts are tokenised again.", path, error)
        return None
    logger.info("Tokens of an earlier run: %s.", path)
    return found


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Keep arrays in a file; where it cannot be written, say so and go on, as only the next run would need it."""
    try:
        with outputs.atomic_writer(path, binary=True) as file:
            np.savez(file, **arrays)
    except DataError as error:
        logger.warning("The tokens are not kept for the next run: %s", error)


def tokenize_texts(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text without special tokens; equal texts are tokenised once."""
    distinct = list(dict.fromkeys(texts))
    by_text = {text: found.ids for text, found in zip(distinct, bare_encodings(tokenizer, distinct), strict=True)}
    return [by_text[text] for text in texts]
