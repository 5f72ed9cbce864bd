"""`node.toml`: everything that a site decides, checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from onenex.errors import NodeError
from onenex.node.tables import DEFAULT_RULE, Completion, Destination, Limits, Node, Peer, Retention, Rule, Sending, Status, Strict, Tls
from onenex.toml_file import problem_of, read_toml

if TYPE_CHECKING:
    pass

__all__ = [
    "DEFAULT_RULE", "Completion", "Destination", "Limits", "Node", "NodeConfig", "Peer", "Retention", "Rule", "Sending", "Status", "Tls",
    "load_config",
]  # fmt: skip


class NodeConfig(Strict):
    """All of `node.toml`."""

    node: Node
    """The node itself."""
    limits: Limits = Limits()
    """What a sender may take."""
    tls: Tls | None = None
    """Without, nothing is encrypted."""
    peers: tuple[Peer, ...] = ()
    """Who may send; without any, nobody."""
    destinations: tuple[Destination, ...] = Field(min_length=1)
    """Where to."""
    rules: tuple[Rule, ...] = ()
    """Followed by one that denoises everything."""
    completion: Completion = Completion()
    """When a series counts as complete."""
    sending: Sending = Sending()
    """How patient the sender is."""
    status: Status = Status()
    """The status page."""
    retention: Retention = Retention()
    """What is kept."""

    @model_validator(mode="after")
    def _consistent(self) -> NodeConfig:
        names = [one.name for one in self.destinations]
        if len(set(names)) < len(names):
            raise ValueError("two destinations have the same name")
        if len({rule.name for rule in (*self.rules, DEFAULT_RULE)}) <= len(self.rules):
            raise ValueError(f"two rules have the same name, or one is named '{DEFAULT_RULE.name}', which is that of the rule behind the last")
        for rule in self.rules:
            unknown = sorted(set(rule.destinations) - set(names))
            if unknown:
                raise ValueError(f"rule '{rule.name}' names destinations that there are not: {', '.join(unknown)}")
        if self.tls is None and any(one.tls for one in self.destinations):
            raise ValueError("a destination with tls needs the node's certificate: add a [tls] table")
        return self

    def destination(self, name: str) -> Destination:
        """Return a destination by its name.

        Raises
        ------
        NodeError
            There is none (any more).
        """
        for one in self.destinations:
            if one.name == name:
                return one
        raise NodeError(f"destination '{name}' is not in node.toml any more: add it again, or retry the delivery elsewhere")


def load_config(path: Path) -> NodeConfig:
    """Read and check `node.toml`; paths in it are relative to the file.

    Raises
    ------
    NodeError
        It cannot be read, is no TOML, or says something that makes no sense; the message names the key.
    """
    tables = read_toml(path, NodeError, "give the node's configuration file")
    try:
        return NodeConfig.model_validate(_absolute(tables, path.resolve().parent))
    except ValidationError as error:
        problems = dict.fromkeys(f"{_place(one['loc'])}: {problem_of(one)}" for one in error.errors())
        raise NodeError(f"{path}: {'; '.join(problems)}") from error


def _place(parts: Sequence[int | str]) -> str:
    """Return where in the file something is wrong, as the file itself would say it."""
    if not parts:
        return "the whole"
    if len(parts) > 1 and isinstance(parts[1], int):
        table, keys = f"[[{parts[0]}]] number {parts[1] + 1}", parts[2:]
    else:
        table, keys = f"[{parts[0]}]", parts[1:]
    return " ".join([table, ".".join(str(part) for part in keys)]).strip()


_PATHS = {"folder", "weights", "certificate", "key", "authorities", "password_file", "token_file"}


def _absolute(value: Any, base: Path, key: str = "") -> Any:
    """Return the tables with every path made absolute."""
    if isinstance(value, dict):
        return {name: _absolute(one, base, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_absolute(one, base, key) for one in value]
    return str(base / value) if key in _PATHS and isinstance(value, str) else value
