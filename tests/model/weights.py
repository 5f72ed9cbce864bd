"""Networks with random weights that do something: laws must hold for any weights, not for good ones only."""

from pathlib import Path

import torch

from onenex.model.degradation import Degradation
from onenex.model.engine import Model
from onenex.model.noise_level import NoiseLevel
from onenex.model.prior import Prior
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks, load_weights, save
from onenex.nets.attention import TOKEN_WIDTH
from onenex.nets.unet import UNet
from onenex.text.phrases import TABLE
from onenex.text.tokens import PhraseTable

SIZE = (16, 16, 32)


def stirred(net: UNet) -> None:
    """Let a new network do something, and listen."""
    with torch.no_grad():
        net.head[0].weight.normal_(0, 0.2)
        for block in net.attend or ():
            block.out.weight.normal_(0, 0.3)


def random_restoration(seed: int = 0) -> Restoration:
    torch.manual_seed(seed)
    network = Restoration(widths=SIZE, depth=1)
    with torch.no_grad():
        network.net.head[0].weight.normal_(0, 0.2)
    return network.eval()


def random_networks(seed: int = 0) -> Networks:
    """Every network that a weights file may hold, and tokens for every phrase."""
    restoration = random_restoration(seed)
    degradation, prior = Degradation(widths=(8, 16), depth=1).eval(), Prior(widths=SIZE, depth=1).eval()
    for net in (restoration.net, degradation.net, prior.net):
        stirred(net)
    tokens = {phrase: torch.randn(3, TOKEN_WIDTH) for phrase in TABLE}
    return Networks(
        noise_level=NoiseLevel().eval(), restoration=restoration, degradation=degradation, prior=prior, phrases=PhraseTable(tokens=tokens)
    )


def random_model(folder: Path, seed: int = 0, *, unified: bool = False) -> Model:
    """A model for mode `fast` without text, or with everything when `unified`."""
    restoration = random_restoration(seed)
    networks = random_networks(seed) if unified else Networks(noise_level=NoiseLevel().eval(), restoration=restoration)
    path = folder / ("unified.safetensors" if unified else "random.safetensors")
    save(path, networks, card={"recipe": "none"})
    return Model(load_weights(path), torch.device("cpu"))
