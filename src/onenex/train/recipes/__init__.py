"""Training runs by name; each recipe is a function that returns a TrainConfig."""

from __future__ import annotations

from collections.abc import Callable

from onenex.train.config import RivalsConfig, TrainConfig
from onenex.train.recipes.restoration_cpu import restoration_cpu
from onenex.train.recipes.restoration_cpu_more import restoration_cpu_more
from onenex.train.recipes.rivals_cpu import rivals_cpu
from onenex.train.recipes.site import site
from onenex.train.recipes.unified_cpu import unified_cpu
from onenex.train.recipes.unified_cpu_more import unified_cpu_more
from onenex.train.recipes.unified_gpu import unified_gpu

RECIPES: dict[str, Callable[[], TrainConfig | RivalsConfig]] = {
    "restoration_cpu": restoration_cpu,
    "restoration_cpu_more": restoration_cpu_more,
    "rivals_cpu": rivals_cpu,
    "site": site,
    "unified_cpu": unified_cpu,
    "unified_cpu_more": unified_cpu_more,
    "unified_gpu": unified_gpu,
}
