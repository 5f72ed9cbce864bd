"""The learnt scanner as it is asked slice by slice."""

import numpy as np
import pytest
import torch

from onenex.model.degradation import Degradation
from onenex.model.guard import rician_model
from onenex.model.scanner import learnt_scanner
from tests.model.conditions import random_condition
from tests.model.test_engine import scan


@pytest.mark.parametrize("size", [(1, 1), (33, 65), (64, 48)])
def test_an_untrained_scanner_is_the_rician_one_at_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    image = scan(1, *size)[0] + 0.3
    sigma = np.full(size, 0.05, dtype=np.float32)
    degrade = learnt_scanner(Degradation((8, 8, 8)).eval(), sigma, random_condition())
    for found, expected in zip(degrade(image), rician_model(sigma)(image), strict=True):
        assert found.shape == size
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0.02)
