"""The last training of the restoration: with lesions and artefacts in its patches and a price on bias, then half of the way back."""

# shapes: B batch, H row, W column

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from onenex.model.condition import tell
from onenex.model.weights import Networks
from onenex.text.tokens import PhraseTable
from onenex.train.cascade import STRUCTURE_SHARE, structure_loss
from onenex.train.chance import Chance
from onenex.train.config import PhaseConfig
from onenex.train.dataset import Batch, Scan, of_second_scans
from onenex.train.distributed import training_device
from onenex.train.loop import Phase
from onenex.train.losses import restoration_loss
from onenex.train.told import Told
from onenex.train.validate import validate_restoration


def fidelity_phase(config: PhaseConfig, held_out: list[Scan], networks: Networks, table: PhraseTable, seed: int) -> Phase:
    """Return the training of the restoration alone, with a price on bias; what else `networks` holds stays as it is."""
    table = table.to(training_device())
    told = Told(networks.noise_level)

    def restore(network: nn.Module, batch: Batch) -> Tensor:
        restored: Tensor = network(batch.measured_B1HW, told(batch).cautious, tell(table, batch.prompts)[0])
        return restored

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del generator, progress  # nothing is drawn, every step is alike
        restored = restore(network, batch)
        again = of_second_scans(batch, partial(restore, network)) if config.bias_weight else None
        squared = restoration_loss(restored, batch, batch.sigma_B1HW, again_B1HW=again, bias_weight=config.bias_weight)
        return (1 - STRUCTURE_SHARE[1]) * squared + STRUCTURE_SHARE[1] * structure_loss(restored, batch)

    def validation(network: nn.Module) -> dict[str, float]:
        return validate_restoration(partial(restore, network), held_out, config)

    return Phase(network=networks.restoration.requires_grad_().train(), config=config, loss=loss, validation=validation, seed=seed)


Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def between(began: Network, finished: Network, share: float) -> Network:
    """Return the network whose weights lie between two: `share` 0 is the first, 1 the second, which was trained from the first on.

    Source
    ------
    Wortsman et al., CVPR 2022: the mean of a network before and after it was tuned does better at what either is better at.
    """
    found = deepcopy(finished)
    for value, first in zip(found.parameters(), began.to(training_device()).parameters(), strict=True):
        value.copy_(torch.lerp(first, value, share))
    return found
