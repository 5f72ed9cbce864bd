"""The rivals: well-known denoisers by their own libraries, and learnt ones, each with the best fair setting we found for it.

Settings were chosen on *training* files by `search` and `search_learnt`, never on `test/`. Every peer is told the noise by OneNEX's own
estimate, as far as its library can be told. None is told what was scanned.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from onenex.errors import DataError
from onenex.series import FloatImages

_LOG = logging.getLogger(__name__)


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


def all_peers(n_threads: int = 2, asked: Sequence[str] = ()) -> list[Peer]:
    """Return every rival in the order of the tables: the classical ones, then the learnt ones.

    Parameters
    ----------
    n_threads
        As in `classical_peers`; the learnt ones take as many as torch is set to.
    asked
        Names that the user gave, as `spelt` reads them. Among the rivals only when they are named: BM3D, whose licence allows non-commercial
        use only, and the learnt ones as long as nobody trained them (their first call then says how).

    Raises
    ------
    DataError
        A package that a peer needs is not installed.
    """
    from onenex.evaluate.peers import bm3d
    from onenex.evaluate.peers.learnt import learnt_peers
    from onenex.rivals.weights import bundled_path

    named = {spelt(name) for name in asked}
    learnt, trained = learnt_peers(), bundled_path().is_file()
    if not trained:
        _LOG.info("event=learnt_peers_left_out reason=no_weights command='onenex train rivals_cpu'")
    return [
        *classical_peers(n_threads),
        *([bm3d.asked_for()] if spelt(bm3d.NAME) in named else []),
        *(peer for peer in learnt if trained or spelt(peer.name) in named),
    ]


def classical_peers(n_threads: int = 2) -> list[Peer]:
    """Return the rivals that nobody had to train, with the settings that `peers.search` chose.

    Parameters
    ----------
    n_threads
        CPU threads of DIPY; ANTs takes what ITK gives it (all cores), SciPy and scikit-image know one.

    Raises
    ------
    DataError
        A package that a peer needs is not installed.
    """
    from onenex.evaluate.peers.antspy import AntsDenoise
    from onenex.evaluate.peers.dipy_nlm import blockwise, classic
    from onenex.evaluate.peers.gaussian import Gaussian
    from onenex.evaluate.peers.total_variation import TotalVariation
    from onenex.evaluate.peers.wavelet import Wavelet

    peers: list[Peer] = [Gaussian(), classic(n_threads), blockwise(n_threads), AntsDenoise(), Wavelet(), TotalVariation()]
    missing = sorted({peer.package for peer in peers if find_spec(peer.package) is None})
    if missing:
        raise DataError(f"the benchmark's peers need {', '.join(missing)}: pip install 'onenex[evaluate]'")
    return peers


def spelt(name: str) -> str:
    """Return a peer's name as it's given on a command line: small letters, hyphens for blanks."""
    return name.strip().lower().replace(" ", "-")
