"""Everything OneNEX raises on purpose.

A message says what went wrong, where, and what to do about it.

    OneNexError
    ├── DicomError
    │   ├── UnsupportedSeries     readable, but OneNEX must not denoise it
    │   ├── MissingTag            an attribute that the work needs is absent
    │   ├── InconsistentSeries    the files of one series contradict each other
    │   └── DecodeError           truncated, damaged, or no codec for its transfer syntax
    ├── ModelError
    │   ├── WeightsMismatch       a weights file that is not for this network
    │   └── OutOfDomain           numbers that the model cannot work on (NaN, too large, empty)
    ├── DataError                 bad input that is no DICOM: paths, NIfTI, training data
    ├── NodeError                 the DICOM node (network, queue, rules)
    ├── StudyError                a reader study: its protocol, folder or answers
    └── AccessError               passwords and keys of the web pages
"""


class OneNexError(Exception):
    """Base of every error that OneNEX raises on purpose."""


class DicomError(OneNexError):
    """A DICOM file or series that cannot be used."""


class UnsupportedSeries(DicomError):
    """A readable series that must not be denoised; the message is the reason."""


class MissingTag(DicomError):
    """An attribute that the work needs is absent or empty."""


class InconsistentSeries(DicomError):
    """The instances of one series contradict each other."""


class DecodeError(DicomError):
    """Pixel data that cannot be decoded: truncated, damaged, or without a codec."""


class ModelError(OneNexError):
    """The model cannot be built or applied."""


class WeightsMismatch(ModelError):
    """A weights file that does not belong to this network or version."""


class OutOfDomain(ModelError):
    """Input numbers on which the model cannot work."""


class DataError(OneNexError):
    """Input that is not DICOM and cannot be used: paths, NIfTI files, training data."""


class NodeError(OneNexError):
    """The DICOM node cannot go on."""


class StudyError(OneNexError):
    """A reader study cannot be made, read or analysed as asked."""


class AccessError(OneNexError):
    """A password or key of the web pages that cannot be used."""
