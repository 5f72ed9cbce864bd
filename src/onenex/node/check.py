"""`onenex node check`: is the configuration sound, and what would happen to each series of a folder?"""

from __future__ import annotations

import logging
import os
import ssl
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from onenex.checks import refusal
from onenex.dicom.quick import FileKind, glances
from onenex.errors import DataError, NodeError, OneNexError
from onenex.inputs import read_series
from onenex.node.config import DEFAULT_RULE, NodeConfig, load_config
from onenex.node.decoded import too_large
from onenex.node.headers import read_header
from onenex.node.rules import decide, named
from onenex.series import Series

logger = logging.getLogger(__name__)

_HEADINGS = ("series", "images", "rule", "action", "mode", "destinations", "originals", "reason")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What would happen to one series."""

    series: str
    """Number and description."""
    n_images: int
    """Files; of multi-frame ones, not frames."""
    rule: str
    action: str
    """`denoise`, `pass` (also where a rule says `denoise` and the series is none to denoise) or `refuse`."""
    mode: str
    """With the strength where that isn't 1; empty unless denoised."""
    destinations: tuple[str, ...]
    originals: str
    reason: str
    """Why it isn't denoised, or not all of it."""


def check(path: Path, folder: Path | None = None) -> None:
    """Print whether a configuration is sound and, as a table, what would happen to every series of a folder.

    Parameters
    ----------
    path
        `node.toml`.
    folder
        Of DICOM files, to any depth.

    Raises
    ------
    NodeError
        The configuration cannot work; everything that is wrong with it is named.
    DataError
        The folder holds no DICOM.
    """
    config = load_config(path)
    wrong = list(errors(config))
    if wrong:
        raise NodeError(f"{path}: " + "; ".join(wrong))
    for warning in warnings(config):
        typer.echo(f"warning: {warning}")
    typer.echo(f"{path}: sound, {len(config.peers)} peers, {len(config.rules)} rules, {len(config.destinations)} destinations")
    if folder is not None:
        table = Table(*_HEADINGS, box=None)
        for one in verdicts(config, folder):
            originals = "" if one.action == "refuse" else one.originals
            table.add_row(one.series, str(one.n_images), one.rule, one.action, one.mode, ", ".join(one.destinations), originals, one.reason)
        Console(width=None if sys.stdout.isatty() else 200).print(table)


def errors(config: NodeConfig) -> Iterator[str]:
    """Yield what keeps a configuration from working: files that are missing, certificates that don't fit, a folder that can't be written to."""
    files = {"[node] weights": config.node.weights, "[status] password_file": config.status.password_file}
    for one in config.destinations:
        files |= {f"destination '{one.name}' password_file": one.password_file, f"destination '{one.name}' token_file": one.token_file}
    for name, file in files.items():
        if file is not None and not (file.is_file() and os.access(file, os.R_OK)):
            yield f"{name}: {file} is not there, or may not be read"
    pairs = {"[status]": (config.status.certificate, config.status.key)}
    if config.tls is not None:
        pairs["[tls]"] = (config.tls.certificate, config.tls.key)
        yield from _authorities(config.tls.authorities)
    for name, (certificate, key) in pairs.items():
        if certificate is not None:
            yield from _certificate(name, certificate, key)
    place = next(one for one in (config.node.folder, *config.node.folder.parents) if one.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield f"[node] folder: {config.node.folder} cannot be written to by this user"
    yield from _modes(config)


def warnings(config: NodeConfig) -> Iterator[str]:
    """Yield what works, but hardly as it was meant."""
    if not config.peers:
        yield "there are no [[peers]]: nobody may send anything"
    caught = next((number for number, rule in enumerate(config.rules) if not rule.when), None)
    if caught is not None and caught < len(config.rules) - 1:
        yield f"rule '{config.rules[caught].name}' matches everything: those after it never decide"
    for rule in config.rules:
        if rule.action == "denoise" and rule.originals == "never":
            yield f"rule '{rule.name}' forwards no originals: of a series that cannot be denoised, nothing goes on"
    if config.tls is None:
        yield "there is no [tls]: whoever can listen in on the network can read the images"


def verdicts(config: NodeConfig, folder: Path, *, calling_ae: str = "", called_ae: str | None = None) -> list[Verdict]:
    """Return what would happen to every series of a folder, by its path.

    Parameters
    ----------
    folder
        Of DICOM files, to any depth.
    calling_ae, called_ae
        Who would send it, and to whom; by default what the files say and the node's own title.

    Raises
    ------
    DataError
        The folder holds no DICOM.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    files: dict[str, list[Path]] = defaultdict(list)
    for path, glance in zip(paths, glances(paths), strict=True):
        if glance.kind is FileKind.DICOM:
            files[glance.series_uid].append(path)
    if not files:
        raise DataError(f"{folder} holds no DICOM file: give a folder of series as a scanner sends them")
    read: dict[str, list[Series]] = defaultdict(list)
    for one in read_series(folder):
        read[one.uid].append(one)
    title = config.node.ae_title if called_ae is None else called_ae
    return [_verdict(config, mine, read[uid], (calling_ae, title)) for uid, mine in files.items()]


def _verdict(config: NodeConfig, files: list[Path], series: list[Series], senders: tuple[str, str]) -> Verdict:
    header = next((header for header in map(read_header, files) if header is not None), None)
    said = str(header.file_meta.get("SourceApplicationEntityTitle", "")) if header is not None else ""
    route = decide(config, header, calling_ae=senders[0] or said, called_ae=senders[1])
    action, mode, reason = route.action, "", route.reason
    if action == "denoise":
        reasons = [refusal(one) for one in series] or ["it cannot be read"]
        large = too_large(files, config.limits.decoded_bytes)
        reason = large or "; ".join(dict.fromkeys(one for one in reasons if one is not None))
        action = "pass" if large or None not in reasons else "denoise"
    if action == "denoise":
        rule = named(config, route.rule) or DEFAULT_RULE
        mode = rule.mode if rule.strength == 1 else f"{rule.mode}, strength {rule.strength:g}"
    title = next((" · ".join(part for part in (str(one.number or ""), one.description) if part) for one in series), "")
    return Verdict(
        series=title or "no description",
        n_images=len(files),
        rule=route.rule,
        action=action,
        mode=mode,
        destinations=() if action == "refuse" else route.destinations,
        originals=route.originals,
        reason=reason,
    )


def _modes(config: NodeConfig) -> Iterator[str]:
    """Load the weights only where a rule needs more of them than mode fast, or they aren't the bundled ones."""
    full = [rule.name for rule in config.rules if rule.action == "denoise" and rule.mode == "full"]
    if not full and config.node.weights is None:
        return
    if config.node.weights is not None and not config.node.weights.is_file():
        return  # said already
    from onenex.model import load

    try:
        modes = load("cpu", config.node.weights).modes
    except OneNexError as error:
        yield f"[node] weights: {error}"
        return
    if full and "full" not in modes:
        yield f"rule '{full[0]}' asks for mode full, which the weights don't know"


def _certificate(name: str, certificate: Path, key: Path | None) -> Iterator[str]:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        yield f"{name}: certificate and key cannot be used ({error}): give PEM files that belong together"


def _authorities(path: Path) -> Iterator[str]:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        yield f"[tls] authorities: {path} cannot be used ({error}): give a PEM file"
