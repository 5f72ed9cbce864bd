"""Fine-tuning on a site's own scans: begin at given weights, train a little, and keep of each network what does better on held-out slices."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from onenex import seen
from onenex.model.weights import Networks, Weights, save
from onenex.text.tokens import PhraseTable
from onenex.train.card import model_card
from onenex.train.claim import claim
from onenex.train.config import TrainConfig
from onenex.train.dataset import Scan, load_scans
from onenex.train.distributed import crew, training_device
from onenex.train.loop import Phase, train_phase
from onenex.train.phases import adaptation_phase
from onenex.train.unified import cascade_phase, prior_phase

log = logging.getLogger(__name__)

LEAST_GAIN_DB = 0.02
"""A tuned network is kept when it gains more than this on average …"""
MOST_LOSS_DB, MOST_LOSS_SIMULATED_DB = 0.1, 0.3
"""… and loses no more than this on any file of real scans, and at any level of simulated noise."""
LEAST_GAIN_NATS, MOST_LOSS_NATS = 0.002, 0.05
"""The same for the degradation model's negative log-likelihood per pixel."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a tuned network does better than the one it began as."""

    network: str
    phase: str
    kept: str
    """`tuned` or `start`."""
    reason: str
    before: dict[str, float]
    """Figures on the held-out slices."""
    after: dict[str, float]

    @property
    def tuned(self) -> bool:
        """Whether the tuned network was kept."""
        return self.kept == "tuned"

    @property
    def figures(self) -> dict[str, float]:
        """Those of the network that was kept."""
        return self.after if self.tuned else self.before


class FixedText(nn.Module):
    """The phrases of the weights that a run began at, in place of the text encoder: what a site says is understood as before."""

    def __init__(self, phrases: PhraseTable) -> None:
        super().__init__()
        self._phrases = phrases

    def table(self, phrases: Sequence[str] = (), *, gradients: bool = False) -> PhraseTable:
        """Return the whole table; there is nothing to train in it."""
        del phrases, gradients
        return self._phrases


def tune(config: TrainConfig, data: Path, folder: Path, *, start: Weights, resume: bool = True) -> Path:
    """Fine-tune `start` on `data` and return the weights file, `folder/weights.safetensors`; `folder/tuning.json` has the verdicts.

    The restoration is adapted; where `start` holds the unified model, the cascade and the prior follow. The noise map and the
    phrases stay as they are.

    Raises
    ------
    DataError
        No usable training data, nothing to hold out, an unreadable checkpoint, or a folder that holds another run.
    """
    scans, held_out = (load_scans(data, config, holdout=holdout) for holdout in (False, True))
    claim(folder, config, scans, start=start, resume=resume)
    config = replace(config, widths=start.restoration.widths, depth=start.restoration.depth)
    networks, verdicts = _on_device(start), []
    for train_next in (_adapt, _cascade, _prior):
        networks, found = train_next(_Run(config=config, scans=scans, held_out=held_out, folder=folder, resume=resume), networks)
        verdicts += found
    for verdict in verdicts:
        log.log(logging.INFO if verdict.tuned else logging.WARNING, "network=%s kept=%s reason='%s'", verdict.network, verdict.kept, verdict.reason)
    path = folder / "weights.safetensors"
    if not crew().leads:
        return path
    (folder / "tuning.json").write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1), encoding="utf-8")
    card = model_card(config, scans, metrics={verdict.network: verdict.figures for verdict in verdicts}, start=start)
    card["tuning"] = "; ".join(f"{verdict.network}: {verdict.kept} ({verdict.reason})" for verdict in verdicts)
    save(path, networks, card=card)
    seen.note(path, data, start.path)
    return path


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What the phases of one run share."""

    config: TrainConfig
    scans: list[Scan]
    held_out: list[Scan]
    folder: Path
    resume: bool

    def trained(self, phase: Phase, name: str) -> tuple[Any, dict[str, float], dict[str, float]]:
        """Train a phase; return its network, and the figures before and after."""
        before = phase.validation(phase.network.to(training_device()))
        last: dict[str, float] = {}

        def validation(network: nn.Module) -> dict[str, float]:
            last.clear()
            last.update(phase.validation(network))
            return dict(last)

        tuned = train_phase(replace(phase, validation=validation), self.scans, self.folder / name, resume=self.resume)
        return tuned, before, dict(last) or phase.validation(tuned)  # the last step's; none is done when the phase was finished before


def _adapt(run: _Run, networks: Networks) -> tuple[Networks, list[Verdict]]:
    """Tune the restoration."""
    phase = adaptation_phase(run.config, run.held_out, networks.noise_level, deepcopy(networks.restoration), networks.phrases)
    tuned, before, after = run.trained(phase, "adaptation")
    verdict = judge_gains("restoration", "adaptation", before, after)
    return (replace(networks, restoration=tuned) if verdict.tuned else networks), [verdict]


def _cascade(run: _Run, networks: Networks) -> tuple[Networks, list[Verdict]]:
    """Tune restoration and degradation together, where the weights have both."""
    unified, phrases = run.config.unified, networks.phrases
    if unified is None or phrases is None or networks.degradation is None:
        return networks, []
    copies = replace(networks, restoration=deepcopy(networks.restoration), degradation=deepcopy(networks.degradation))
    phase = cascade_phase(unified, run.held_out, copies, FixedText(phrases), run.config.seed + 3)  # type: ignore[arg-type]
    tuned, before, after = run.trained(phase, "cascade")
    verdicts = [judge_gains("restoration", "cascade", before, after), judge_likelihoods("degradation", "cascade", before, after)]
    if verdicts[0].tuned:
        networks = replace(networks, restoration=tuned.restoration)
    if verdicts[1].tuned:
        networks = replace(networks, degradation=tuned.degradation)
    return networks, verdicts


def _prior(run: _Run, networks: Networks) -> tuple[Networks, list[Verdict]]:
    """Tune the prior, where the weights have one."""
    unified, phrases = run.config.unified, networks.phrases
    if unified is None or phrases is None or networks.prior is None:
        return networks, []
    copies = replace(networks, prior=deepcopy(networks.prior))
    tuned, before, after = run.trained(prior_phase(unified, run.held_out, copies, phrases, run.config.seed + 4), "prior")
    verdict = judge_gains("prior", "prior", before, after)
    return (replace(networks, prior=tuned) if verdict.tuned else networks), [verdict]


def judge_gains(network: str, phase: str, before: dict[str, float], after: dict[str, float]) -> Verdict:
    """Judge by the gains in PSNR: of real scans where there are any, else of simulated noise; and by the worst loss anywhere."""
    before, after = ({name: value for name, value in figures.items() if "gain_db_" in name} for figures in (before, after))
    changes = {name: after[name] - before[name] for name in before}
    limits = {name: MOST_LOSS_SIMULATED_DB if "gain_db_sigma_" in name else MOST_LOSS_DB for name in changes}
    kept, reason = _judge(changes, limits, LEAST_GAIN_DB, "dB")
    return Verdict(network=network, phase=phase, kept=kept, reason=reason, before=before, after=after)


def judge_likelihoods(network: str, phase: str, before: dict[str, float], after: dict[str, float]) -> Verdict:
    """Judge by the log-likelihood of held-out scans under the degradation model, likewise."""
    before, after = ({name: value for name, value in figures.items() if "gain_db_" not in name} for figures in (before, after))
    changes = {name: before[name] - after[name] for name in before if name.startswith("nll_")}
    kept, reason = _judge(changes, dict.fromkeys(changes, MOST_LOSS_NATS), LEAST_GAIN_NATS, "nats a pixel")
    return Verdict(network=network, phase=phase, kept=kept, reason=reason, before=before, after=after)


def _judge(changes: dict[str, float], limits: dict[str, float], least: float, unit: str) -> tuple[str, str]:
    """Return "tuned" or "start", and why."""
    if not changes:
        return "start", "nothing held out to judge it by"
    real = {name: change for name, change in changes.items() if "_sigma_" not in name}
    mean = float(np.mean(list((real or changes).values())))
    worst = min(changes, key=lambda name: changes[name] + limits[name])
    better = mean > least and changes[worst] >= -limits[worst]
    told = f"{mean:+.3f} {unit} on average over held-out {'real' if real else 'simulated'} scans, at worst {changes[worst]:+.3f} ({worst})"
    return ("tuned" if better else "start"), told


def _on_device(start: Weights) -> Networks:
    """Return copies of the networks where the run computes, without the card."""

    def moved(network: Any) -> Any:
        return None if network is None else deepcopy(network).to(training_device())

    return Networks(
        noise_level=moved(start.noise_level),
        restoration=moved(start.restoration),
        degradation=moved(start.degradation),
        prior=moved(start.prior),
        phrases=start.phrases and start.phrases.to(training_device()),
    )
