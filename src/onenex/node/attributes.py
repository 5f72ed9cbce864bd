"""What a rule may ask of a series: a DICOM keyword, a tag, who sent it to whom, or a field of `onenex.Acquisition`; always as text."""

from __future__ import annotations

import re
from dataclasses import fields

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from onenex.dicom.acquisition import acquisition_of
from onenex.dicom.files import quiet
from onenex.dicom.frames import CONVERSION_ERRORS, MACROS, FrameHeader
from onenex.series import Acquisition

SENDERS = ("calling_ae", "called_ae")
"""Attributes that the association tells, not the header."""
MAX_TEXT = 1024
"""Characters of a value that a rule sees."""
_MAX_BYTES = 65_536
"""A longer element is taken for empty: nobody writes patterns for it, and converting it costs memory."""
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_FIELDS = frozenset(field.name for field in fields(Acquisition)) - {"evidence"}


def is_attribute(name: str) -> bool:
    """Whether a rule can ask for `name`."""
    return name in SENDERS or name in _FIELDS or _TAG.fullmatch(name) is not None or tag_for_keyword(name) is not None


def text_of(header: Dataset, name: str) -> str:
    r"""Return an attribute of a series as text.

    Parameters
    ----------
    header
        Of one of its images. Of an enhanced one, the first frame speaks.
    name
        A DICOM keyword, a tag ("00181030"), or a field of `Acquisition`.

    Returns
    -------
    str
        Several values are joined by a backslash. Empty where nothing is said, or nothing that is text: sequences, and
        whatever takes more than 64 kB. "yes" or "no" for `fat_suppressed`; numbers without needless zeros.
    """
    with quiet():
        if name in _FIELDS:
            return _plain(getattr(acquisition_of(header), name))[:MAX_TEXT]
        if _TAG.fullmatch(name):
            return _element(header, int(name, 16))[:MAX_TEXT]
        if name not in MACROS:
            return _element(header, tag_for_keyword(name) or 0)[:MAX_TEXT]
        return FrameHeader(header).text(name)[:MAX_TEXT]


def _plain(value: str | float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def _element(header: Dataset, number: int) -> str:
    tag = Tag(number)
    try:
        raw = header.get_item(tag).value if tag in header else None
        if raw is None or (isinstance(raw, bytes) and len(raw) > _MAX_BYTES):
            return ""
        value = header[tag].value
    except CONVERSION_ERRORS:
        return ""
    if value is None or isinstance(value, Sequence):
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    return str(value).strip() if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(str(part) for part in value).strip()
