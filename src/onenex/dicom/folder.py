"""The folder of one derived series: a harmless name, and its files, one after another."""

from __future__ import annotations

import re
import struct
import unicodedata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

from onenex.dicom.encode import output_syntax, set_pixels, swap_binary
from onenex.dicom.identity import derived_description, derived_series_number
from onenex.errors import InconsistentSeries
from onenex.series import Provenance, Series

IMPLEMENTATION_CLASS_UID = UID("2.25.331450087664141493860100944896329199783")
"""Names OneNEX as the software that wrote a file (PS3.7 D.3.3.2)."""


class SeriesFolder:
    """Takes derived images in their order; named after series number and description.

    Parameters
    ----------
    parent
        Existing folder that is ours alone.
    series
        The source series.
    provenance
        What the headers say.
    """

    def __init__(self, parent: Path, series: Series, provenance: Provenance) -> None:
        self._path = _new_folder(parent.absolute(), series, provenance)
        self._version = provenance.version
        self.files: list[Path] = []

    def save(self, derived: Dataset, frames: NDArray[Any], source: Path, syntax: UID) -> None:
        """Write the next file.

        Parameters
        ----------
        derived
            Header that describes `frames`; it gets the pixels and the File Meta Information.
        frames
            (frame, row, column) integers in the container type.
        source
            The file it was derived from, to name it when its header cannot be written.
        syntax
            Transfer syntax of that file.

        Raises
        ------
        InconsistentSeries
            The header holds a value that cannot be written. It's named by its kind only: its text may quote the patient.
        """
        if syntax == ExplicitVRBigEndian:
            swap_binary(derived)
        if syntax.is_encapsulated and syntax != RLELossless:  # codecs return values, not words
            derived.HighBit = int(derived.BitsStored) - 1
        derived.file_meta = _file_meta(derived, self._version)
        derived.file_meta.TransferSyntaxUID = set_pixels(derived, frames, output_syntax(syntax))
        target = self._path / f"IM{len(self.files) + 1:04d}.dcm"
        try:
            dcmwrite(target, derived, enforce_file_format=True)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError, struct.error) as error:
            raise InconsistentSeries(
                f"{source}: its header holds a value that cannot be written again ({type(error).__name__}): repair the file or send it again"
            ) from error
        self.files.append(target)


def _new_folder(parent: Path, series: Series, provenance: Provenance) -> Path:
    """Make the series' own folder: number and description in plain ASCII, and a counter where that is taken."""
    description = derived_description(series.description, provenance.suffix)
    name = f"{derived_series_number(series.number, provenance.shows)}_{_plain(description)}"
    for number in range(1, 10_000):
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent} holds too many series named {name}")


def _plain(text: str) -> str:
    """Return `text` with nothing in it that any filesystem could object to."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9+-]+", "_", ascii_text).strip("_") or "OneNEX"


def _file_meta(derived: Dataset, version: str) -> FileMetaDataset:
    """Return the File Meta Information (PS3.10 7.1) but the transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = derived.SOPClassUID
    meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"ONENEX_{version}"[:16]
    return meta
