"""Integers into PixelData: which transfer syntax a derived image gets, and its bytes in that syntax."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

logger = logging.getLogger(__name__)

_KEPT = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless)
_FAMILIES = {
    JPEGLSLossless: (JPEGLSLossless, JPEGLSNearLossless),
    JPEG2000Lossless: (JPEG2000Lossless, JPEG2000, JPEG2000MCLossless, JPEG2000MC, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K),
}
_PLUGINS = {RLELossless: "pylibjpeg", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}
"""Encoders by name: GDCM's, which pydicom would try first for RLE, aborts the whole process on 8-bit images of odd size."""
_WORDS = {"OW": "u2", "OL": "u4", "OF": "u4", "OD": "u8", "OV": "u8"}
"""VRs whose bytes pydicom hands over unswapped → their word (PS3.5 6.2)."""


def output_syntax(source: UID) -> UID:
    """Return the lossless transfer syntax of the source's family, in which a derived image is written.

    Implicit, explicit and deflated little endian, RLE, JPEG-LS and JPEG 2000 stay what they are, the lossy members in
    their lossless form (the lossy history stays in the header). Two families end as explicit VR little endian: big endian,
    which the standard has retired, and the other JPEG processes, for which no encoder is at hand.
    """
    if source in _KEPT:
        return source
    return next((lossless for lossless, members in _FAMILIES.items() if source in members), ExplicitVRLittleEndian)


def set_pixels(dataset: Dataset, frames: NDArray[Any], syntax: UID) -> UID:
    """Set PixelData and return the transfer syntax it's coded in: `syntax`, or explicit VR little endian where its encoder refuses.

    Parameters
    ----------
    dataset
        Header with the Image Pixel attributes that describe `frames`.
    frames
        (frame, row, column) integers in the container type (BitsAllocated, PixelRepresentation).
    syntax
        One that `output_syntax` returns.
    """
    if syntax.is_encapsulated:
        try:
            dataset.PixelData = encapsulate([_encode(dataset, frame, syntax) for frame in frames])
        except (RuntimeError, ValueError, NotImplementedError) as error:
            logger.warning("encoder refused syntax=%s error=%s: writing explicit little endian", syntax, type(error).__name__)
            syntax = ExplicitVRLittleEndian
        else:
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
            return syntax
    data = frames.astype(frames.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if frames.dtype.itemsize == 1 and not syntax.is_implicit_VR else "OW"
    dataset["PixelData"].is_undefined_length = False
    return syntax


def swap_binary(dataset: Dataset) -> None:
    """Turn the binary values of a dataset read as big endian into little endian, in place; numbers are pydicom's business.

    Elements of unknown VR hold bytes in an order that nobody knows any more: they're dropped.
    """
    for element in list(dataset):
        if element.VR == "UN":
            del dataset[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                swap_binary(item)
        elif element.VR in _WORDS and element.value:
            big, little = np.dtype(">" + _WORDS[element.VR]), np.dtype("<" + _WORDS[element.VR])
            values = element.value if isinstance(element.value, list) else [element.value]
            swapped = [np.frombuffer(value, big).astype(little).tobytes() for value in values]
            element.value = swapped if isinstance(element.value, list) else swapped[0]


def _encode(dataset: Dataset, frame: NDArray[Any], syntax: UID) -> bytes:
    """Compress one frame."""
    encoded = get_encoder(syntax).encode(
        np.ascontiguousarray(frame),
        encoding_plugin=_PLUGINS[syntax],
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=1,
        photometric_interpretation=str(dataset.PhotometricInterpretation),
        bits_allocated=int(dataset.BitsAllocated),
        bits_stored=int(dataset.BitsStored),
        pixel_representation=int(dataset.PixelRepresentation),
    )
    return bytes(encoded)
