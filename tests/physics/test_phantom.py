"""The phantom is a head: deterministic, bounded, with the contrast that the signal equation promises."""

import numpy as np
import pytest

from onenex.physics.phantom import AIR, CSF, FAT, GREY, TIMINGS, WHITE, head_phantom, signal, slice_positions

SMALL = (3, 96, 80)


def test_the_same_seed_gives_the_same_head_and_another_seed_another() -> None:
    first = head_phantom(SMALL, seed=3, supersampling=2)
    assert first.shape == SMALL
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, head_phantom(SMALL, seed=3, supersampling=2))
    assert np.abs(first - head_phantom(SMALL, seed=4, supersampling=2)).max() > 50


def test_air_is_exactly_zero_and_signal_bounded() -> None:
    images = head_phantom(SMALL, supersampling=2)
    assert (images[:, :4, :4] == 0).all()
    assert images.min() == 0
    assert 300 < images.max() < 1200


def test_contrasts_are_those_of_the_sequences() -> None:
    t2w, t1w, flair = signal("T2w"), signal("T1w"), signal("T2-FLAIR")
    assert t2w[CSF] > t2w[GREY] > t2w[WHITE]
    assert t1w[FAT] > t1w[WHITE] > t1w[GREY] > t1w[CSF]
    assert flair[CSF] < 0.05 * flair[GREY]
    assert all(signal(name)[AIR] == 0 for name in TIMINGS)


def test_partial_volume_makes_values_between_tissues() -> None:
    sharp = head_phantom((1, 96, 80), supersampling=1)
    smooth = head_phantom((1, 96, 80), supersampling=4)
    assert smooth.std() < 0.98 * sharp.std()
    assert smooth.mean() == pytest.approx(sharp.mean(), rel=0.03)


def test_odd_and_thin_sizes_work() -> None:
    assert head_phantom((2, 33, 57), supersampling=1).shape == (2, 33, 57)
    assert np.isfinite(head_phantom((1, 1, 40), supersampling=1)).all()
    assert np.diff(slice_positions(5)).min() > 0


def test_unknown_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="T2-FLAIR"):
        head_phantom(SMALL, sequence="perfusion")
