"""Networks with random weights that do something: laws must hold for any weights, not for good ones only."""

from pathlib import Path

import torch

from onenex.model.engine import Model
from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks, load_weights, save


def random_restoration(seed: int = 0) -> Restoration:
    torch.manual_seed(seed)
    network = Restoration(widths=(16, 16, 32), depth=1)
    with torch.no_grad():
        network.net.head[0].weight.normal_(0, 0.2)
    return network.eval()


def random_model(folder: Path, seed: int = 0) -> Model:
    restoration = random_restoration(seed)
    path = folder / "random.safetensors"
    save(path, Networks(noise_level=NoiseLevel().eval(), restoration=restoration), card={"recipe": "none"})
    return Model(load_weights(path), torch.device("cpu"))
