"""Rules: what happens to a series. The first of `node.toml` that matches decides; what matches none is denoised."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from onenex.node.attributes import SENDERS, text_of
from onenex.node.config import DEFAULT_RULE, NodeConfig, Rule
from onenex.node.records import Route

UNREADABLE = "its header cannot be read, so no rule could judge it"
"""Why a series goes on as it came although rules ask for its attributes."""


def decide(config: NodeConfig, header: Dataset | None, *, calling_ae: str = "", called_ae: str = "") -> Route:
    """Return what happens to a series.

    Where the header cannot be read, rules that ask for its attributes cannot be judged: the series then goes to every destination as
    it came, for an image too many hurts nobody.

    Parameters
    ----------
    header
        Of one image of the series; None when it cannot be read.
    calling_ae, called_ae
        Who sent it, and to whom.
    """
    rule = matching(config, header, calling_ae=calling_ae, called_ae=called_ae)
    if rule is None:
        return Route(rule="", action="pass", destinations=_names(config), originals="always", reason=UNREADABLE)
    return route_of(config, rule)


def matching(config: NodeConfig, header: Dataset | None, *, calling_ae: str = "", called_ae: str = "") -> Rule | None:
    """Return the rule that decides; None when a rule would have to know a header that cannot be read."""
    known = {"calling_ae": calling_ae, "called_ae": called_ae}
    for rule in config.rules:
        of_sender = {name: pattern for name, pattern in rule.when.items() if name in SENDERS}
        if not all(_found(pattern, known[name]) for name, pattern in of_sender.items()):
            continue
        if len(of_sender) < len(rule.when) and header is None:
            return None
        for name in rule.when.keys() - of_sender.keys():
            if name not in known and header is not None:
                known[name] = text_of(header, name)
        if all(_found(pattern, known[name]) for name, pattern in rule.when.items()):
            return rule
    return DEFAULT_RULE


def route_of(config: NodeConfig, rule: Rule) -> Route:
    """Return what a rule says."""
    reasons = {"pass": f"rule '{rule.name}' forwards originals only", "refuse": f"rule '{rule.name}' refuses it: nothing is forwarded"}
    return Route(
        rule=rule.name,
        action=rule.action,
        destinations=rule.destinations or _names(config),
        originals=rule.originals,
        reason=reasons.get(rule.action, ""),
    )


def named(config: NodeConfig, name: str) -> Rule | None:
    """Return a rule by its name; None when `node.toml` no longer has it."""
    return next((rule for rule in (*config.rules, DEFAULT_RULE) if rule.name == name), None)


def _names(config: NodeConfig) -> tuple[str, ...]:
    return tuple(one.name for one in config.destinations)


def _found(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
