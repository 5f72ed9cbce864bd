"""The rivals: well-known denoisers by their own libraries, each with the best fair setting we found for it.

Settings were chosen on *training* files (two heads, a knee, a lumbar spine; σ 0.03 and 0.1), never on `test/`. Every peer is
told the noise by OneNEX's own estimate, as far as its library can be told. None is told what was scanned.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from onenex.errors import DataError
from onenex.series import FloatImages


class Peer(Protocol):
    """A denoiser of magnitude stacks."""

    @property
    def name(self) -> str:
        """Short, as in the table's head."""

    @property
    def package(self) -> str:
        """The module that its work comes from."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise one volume.

        Parameters
        ----------
        images
            (slice, row, column), adjacent slices of one volume, in units of the series scale.
        sigma
            Same shape and unit: standard deviation of the noise.
        """


def all_peers(n_threads: int = 2) -> list[Peer]:
    """Return every rival in the order of the table.

    Parameters
    ----------
    n_threads
        CPU threads of DIPY; ANTs takes what ITK gives it (all cores), scikit-image knows one.

    Raises
    ------
    DataError
        A package that a peer needs is not installed.
    """
    from onenex.evaluate.peers.antspy import AntsDenoise
    from onenex.evaluate.peers.dipy_nlm import blockwise, classic
    from onenex.evaluate.peers.total_variation import TotalVariation
    from onenex.evaluate.peers.wavelet import Wavelet

    peers: list[Peer] = [classic(n_threads), blockwise(n_threads), AntsDenoise(), Wavelet(), TotalVariation()]
    missing = sorted({peer.package for peer in peers if find_spec(peer.package) is None})
    if missing:
        raise DataError(f"the benchmark's peers need {', '.join(missing)}: pip install 'onenex[evaluate]'")
    return peers
