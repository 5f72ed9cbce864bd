"""Any segmentation tool of the site's own, started by a command such as 'totalspineseg {in} {out}'."""

from __future__ import annotations

import logging
import math
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.evaluate.metrics import Mask
from onenex.evaluate.segmentation import Labels, Spacing, Task
from onenex.nifti import load
from onenex.series import FloatImages

_LOG = logging.getLogger(__name__)
PLACES = ("{in}", "{out}")
LONGEST_SECONDS = 600.0
FULL_SCALE = 1000.0
"""What the series scale becomes in the file: tools expect intensities of about this size."""
AXES_RAS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]] = {
    "axial": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    "coronal": ((0, -1, 0), (0, 0, -1), (-1, 0, 0)),
}
"""Plane → where slices, rows and columns lead to (right, anterior, superior) as DICOM's usual views do; oblique angles are not known here."""


@dataclass(frozen=True, kw_only=True)
class ExternalTool:
    """A program that reads one NIfTI file and writes a label map of the same grid.

    It is started without a shell, once an image, and gets no mask. `{in}` becomes the path of the image, `{out}` that of the label
    map, which ends in .nii.gz and doesn't exist yet; where a tool makes a folder of it instead, `result` says which file in it counts.
    """

    command: str
    """Words as a shell would part them, with `{in}` and `{out}` in some of them."""
    plane: str = "unknown"
    """Of the images; axial is taken where it's unknown."""
    result: str = "**/*.nii*"
    """Pattern of the label map, should `{out}` become a folder; exactly one file must match."""
    timeout_s: float = LONGEST_SECONDS
    names: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Refuse a command that cannot work before anything is computed."""
        self.words()

    @property
    def name(self) -> str:
        """The program's name."""
        return Path(self.words()[0]).name

    def words(self) -> list[str]:
        """Return the command's words, placeholders still in.

        Raises
        ------
        DataError
            It cannot be parted, or lacks a placeholder.
        """
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise DataError(f"segmenter '{self.command}': {error}: check its quotes") from None
        missing = [place for place in PLACES if not any(place in word for word in words)]
        if missing or not words:
            raise DataError(f"segmenter '{self.command}' lacks {' and '.join(missing)}: write it like 'totalspineseg {{in}} {{out}}'")
        return words

    def __call__(self, images: FloatImages, spacing_mm: Spacing | None, mask: Mask) -> Labels:
        """Segment as `Segmenter` says; pixels are taken as cubes of 1 mm when nobody knows their size.

        Raises
        ------
        DataError
            The tool doesn't start, takes too long, fails, or its label map cannot be used.
        """
        with tempfile.TemporaryDirectory(prefix="onenex-segment-") as name:
            source, target = Path(name, "image.nii.gz"), Path(name, "labels.nii.gz")
            affine = affine_of(spacing_mm or (1.0, 1.0, 1.0), self.plane)
            stored = (images * np.float32(FULL_SCALE)).transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(stored, affine), source)  # type: ignore[no-untyped-call]
            self._run([word.replace("{in}", str(source)).replace("{out}", str(target)) for word in self.words()], Path(name))
            return self._read(target, affine, images.shape)

    def _run(self, words: list[str], folder: Path) -> None:
        said = folder / "output.txt"
        try:
            with said.open("wb") as stream:
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=folder, start_new_session=True)
        except OSError as error:
            raise DataError(f"segmenter '{words[0]}' doesn't start: {error.strerror}: give a program on the PATH, or its full path") from None
        try:
            status = process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            raise DataError(f"segmenter '{self.name}' took longer than {self.timeout_s:g} s for one stack and was stopped") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its children as well
                process.wait()
        if status != 0:
            lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
            raise DataError(f"segmenter '{self.name}' failed with status {status}: {lines[-1] if lines else 'it said nothing'}")
        _LOG.debug("event=segmented tool=%s", self.name)

    def _read(self, target: Path, affine: NDArray[np.float64], shape: tuple[int, ...]) -> Labels:
        if target.is_dir():
            found = sorted(path for path in target.glob(self.result) if path.is_file())
            if len(found) != 1:
                some = ", ".join(str(path.relative_to(target)) for path in found[:8]) or "none"
                raise DataError(f"segmenter '{self.name}' made a folder in which {len(found)} files match '{self.result}' ({some}): one is needed")
            target = found[0]
        if not target.is_file():
            raise DataError(f"segmenter '{self.name}' ended well but wrote nothing at {{out}}")
        image = load(target)
        values = np.asarray(image.dataobj)
        if values.ndim == 4 and values.shape[-1] == 1:
            values = values[..., 0]
        if values.ndim == 3 and not np.allclose(image.affine[:3, :3], affine[:3, :3], atol=1e-3):
            values = _turned(values, image.affine, affine)
        if values.shape != shape[::-1]:
            raise DataError(f"segmenter '{self.name}' wrote labels of shape {values.shape} for an image of {shape[::-1]}: it must keep the grid")
        labels = np.rint(values).astype(np.int32)
        if not np.allclose(values, labels, atol=1e-3) or labels.min() < 0:
            raise DataError(f"segmenter '{self.name}' wrote values that are no labels (0, 1, 2 …): does it write probabilities?")
        return np.ascontiguousarray(labels.transpose(2, 1, 0), dtype=np.int32)


def _turned(values: NDArray[np.generic], affine: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.generic]:
    """Return values of a file whose axes were swapped or flipped in the order of the image."""
    axes, wanted_axes = (nib.io_orientation(one) for one in (affine, wanted))  # type: ignore[no-untyped-call]
    turn = nib.orientations.ornt_transform(axes, wanted_axes)  # type: ignore[no-untyped-call]
    return np.asarray(nib.orientations.apply_orientation(values, turn))  # type: ignore[no-untyped-call]


def affine_of(spacing_mm: Spacing, plane: str) -> NDArray[np.float64]:
    """Return the affine (4, 4) from (column, row, slice) to mm, right-anterior-superior, of a stack without obliqueness.

    Raises
    ------
    DataError
        A spacing that is no positive number.
    """
    if not all(math.isfinite(one) and one > 0 for one in spacing_mm):
        raise DataError(f"pixel spacing {spacing_mm} mm: three positive numbers are needed")
    axes = np.array(AXES_RAS.get(plane, AXES_RAS["axial"]), dtype=np.float64) * np.array(spacing_mm)[:, None]
    affine = np.eye(4)
    affine[:3, :3] = axes[::-1].T
    return affine


def tool_task(tool: ExternalTool, reference: FloatImages, spacing_mm: Spacing | None = None) -> Task:
    """Return how a stack is segmented by an external tool, the reference (slice, row, column) segmented already.

    Raises
    ------
    DataError
        The tool doesn't work (see `ExternalTool`), or finds nothing on the reference.
    """
    everywhere = np.ones(reference.shape, dtype=np.bool_)
    labels = tool(reference, spacing_mm, everywhere)
    if not labels.any():
        raise DataError(f"segmenter '{tool.name}' found nothing on the reference: is it made for these images?")
    return Task(segmenter=tool, mask=everywhere, reference=labels, note=tool.name)
