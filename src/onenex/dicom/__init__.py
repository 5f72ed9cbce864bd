"""DICOM in and out."""

from onenex.dicom.acquisition import acquisition_of
from onenex.dicom.read import read_series
from onenex.dicom.source import DicomSource

__all__ = ["DicomSource", "acquisition_of", "read_series"]
