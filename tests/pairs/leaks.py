"""What a built folder must not say: a search through every file of it, compressed or not."""

import base64
import gzip
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

_START = 4
"""Bytes by which words are looked up."""
_PNG = b"\x89PNG\r\n\x1a\n"
_EMBEDDED = re.compile(rb"data:[\w/+.-]*;base64,([A-Za-z0-9+/=\s]+)")


def leaks(folder: Path, words: Sequence[str]) -> list[str]:
    """Return where a word of the source (a name, a number, a date, a UID, a path) turns up below `folder`, names of files included.

    Capitals don't count. Words should be long enough not to turn up by chance: four characters at least, eight digits.
    """
    index: dict[bytes, list[tuple[bytes, str]]] = {}
    for word in words:
        for one in spellings(word):
            index.setdefault(one[:_START], []).append((one, word))
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [str(path.relative_to(folder)).encode()] + ([] if path.is_dir() else list(texts_of(path.read_bytes(), path)))
        held = {word for text in texts for word in _words_in(text.lower(), index)}
        found += [f"{path.relative_to(folder)}: {word}" for word in words if word in held]
    return found


def _words_in(text: bytes, index: Mapping[bytes, Sequence[tuple[bytes, str]]]) -> Iterator[str]:
    """Yield the words whose spellings, sorted by their first bytes, are in `text`: in one pass, however many there are."""
    starts = np.array([int.from_bytes(one, "little") for one in index], np.uint32)
    for shift in range(_START):
        codes = np.frombuffer(text, np.dtype("<u4"), max(len(text) - shift, 0) // _START, offset=min(shift, len(text)))
        for place in np.flatnonzero(np.isin(codes, starts)) * _START + shift:
            yield from (word for one, word in index[text[place : place + _START]] if text.startswith(one, place))


def spellings(word: str) -> list[bytes]:
    """Return the bytes that a word may be written as."""
    lower = word.lower()
    forms = {lower, html.escape(lower), json.dumps(lower)[1:-1], lower.replace("^", " "), lower.replace("/", "\\\\")}
    return [form.encode(code) for form in forms for code in ("utf-8", "utf-16-le")]


def texts_of(content: bytes, path: Path) -> Iterator[bytes]:
    """Yield the bytes as they are, and all that can be unpacked from them."""
    yield content
    yield html.unescape(content.decode("utf-8", "ignore")).encode()
    if content.startswith(b"\x1f\x8b"):
        yield from texts_of(gzip.decompress(content), path)
    if content.startswith(_PNG):
        yield from png_texts(content)
    if content.startswith(b"PAR1"):
        yield from parquet_texts(path)
    for match in _EMBEDDED.finditer(content):
        yield from texts_of(base64.b64decode(match[1]), path)


def png_texts(content: bytes) -> Iterator[bytes]:
    """Yield the text chunks of a PNG (tEXt, zTXt, iTXt, eXIf)."""
    place = len(_PNG)
    while place + 8 <= len(content):
        size, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        chunk = content[place + 8 : place + 8 + size]
        if kind in (b"tEXt", b"iTXt", b"eXIf"):
            yield chunk
        for start in [match.end() for match in re.finditer(b"\0", chunk)] if kind in (b"zTXt", b"iTXt") else []:
            for skipped in (0, 1):  # the byte that names the compression
                try:
                    yield zlib.decompress(chunk[start + skipped :])
                except zlib.error:
                    continue
        place += 12 + size


def parquet_texts(path: Path) -> Iterator[bytes]:
    """Yield all values, names and metadata of a Parquet file."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    yield repr(table.schema.metadata).encode()
    for name in table.column_names:
        yield name.encode()
        yield "\n".join(str(value) for value in table[name].to_pylist()).encode()
