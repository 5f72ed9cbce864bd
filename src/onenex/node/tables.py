"""The tables of `node.toml`, key by key."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from onenex.node.attributes import is_attribute

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
"""DICOM's AE: up to 16 printable characters, no backslash, not only blanks (PS3.5 6.2)."""
Port = Annotated[int, Field(ge=0, le=65535)]
"""0: any free one, which tests use."""


class Strict(BaseModel):
    """A table of the file: an unknown key is a mistake, and nothing changes once it's read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tls(Strict):
    """Certificates, PEM files."""

    certificate: Path
    """The node's own, for receiving and for sending."""
    key: Path
    """Of the certificate."""
    authorities: Path
    """Who signs the other side's certificates; a client without one of theirs is refused."""


class Limits(Strict):
    """What a sender may take."""

    associations: int = Field(default=25, ge=1, le=500)
    """At once; more are rejected, transient, so that the sender tries again."""
    pdu_bytes: int = Field(default=262_144, ge=4096, le=16_777_216)
    """The largest piece that a sender may cut its messages into."""
    object_mb: int = Field(default=2048, ge=1)
    """Of one object as sent; larger ones are refused."""
    decoded_mb: int = Field(default=4096, ge=1)
    """Of one series' pixels once decoded, before denoising is tried: a small file may claim to unpack to anything."""
    reserve_mb: int = Field(default=2048, ge=0)
    """Free disk below which nothing is accepted any more (status A700, out of resources)."""
    idle_s: float = Field(default=60.0, gt=0)
    """An association that says nothing for so long is aborted."""

    @property
    def object_bytes(self) -> int:
        """`object_mb` in bytes."""
        return self.object_mb * 10**6

    @property
    def decoded_bytes(self) -> int:
        """`decoded_mb` in bytes."""
        return self.decoded_mb * 10**6

    @property
    def reserve_bytes(self) -> int:
        """`reserve_mb` in bytes."""
        return self.reserve_mb * 10**6


class Peer(Strict):
    """Who may send. Nobody else may."""

    ae_title: AeTitle
    """As it calls itself."""
    addresses: tuple[str, ...] = Field(min_length=1)
    """IP addresses or networks, e.g. "10.1.2.0/24"."""

    @field_validator("addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one, strict=False)
        return value


class Destination(Strict):
    """A PACS."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    """By which rules, pages and logs call it."""
    kind: Literal["dicom", "stow"] = "dicom"
    """`dicom`: C-STORE. `stow`: STOW-RS, over HTTP."""
    ae_title: AeTitle | None = None
    """Of a `dicom` one; so are the next two."""
    host: str | None = None
    """Name or IP address."""
    port: Port | None = None
    """1 to 65535."""
    tls: bool = False
    """With the node's own certificate."""
    commitment: bool = True
    """Ask for storage commitment where the peer offers it; without, an image counts as verified once it's stored."""
    url: str | None = None
    """Of DICOMweb, for `stow`: the part before /studies."""
    user: str | None = None
    """Of HTTP's basic authentication, for `stow`."""
    password_file: Path | None = None
    """Its first line is that user's password."""
    token_file: Path | None = None
    """Its first line is a bearer token, instead of user and password."""

    @model_validator(mode="after")
    def _complete(self) -> Destination:
        if self.kind == "dicom" and (self.ae_title is None or not self.host or not self.port):
            raise ValueError("a dicom destination needs ae_title, host and port")
        if self.kind == "stow" and not re.match(r"^https?://", self.url or ""):
            raise ValueError("a stow destination needs url = 'http(s)://…'")
        others = ("url", "user", "password_file", "token_file") if self.kind == "dicom" else ("ae_title", "host", "port")
        if any(getattr(self, name) is not None for name in others):
            raise ValueError(f"{', '.join(others)} are not for kind '{self.kind}': take them out, or change kind")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("give user and password_file together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("give token_file, or user and password_file, not all of them")
        return self


class Rule(Strict):
    """What happens to a series; the first rule that matches decides."""

    name: str = Field(min_length=1, max_length=64)
    """By which pages, logs and the audit trail call it."""
    when: dict[str, str] = Field(default_factory=dict)
    """Attribute → regular expression that must be found in it (any case), all of them. An attribute is a DICOM keyword
    (`SeriesDescription`), a tag (`00181030`), `calling_ae`, `called_ae`, or a field of `onenex.Acquisition` (`organ`). Empty matches all."""
    action: Literal["denoise", "pass", "refuse"] = "denoise"
    """`pass`: forward the original only. `refuse`: forward nothing, keep and report."""
    mode: Literal["fast", "full"] = "fast"
    """As of `onenex denoise`."""
    strength: float = Field(default=1.0, ge=0, le=1)
    """0 (the pixels as they came) … 1."""
    destinations: tuple[str, ...] = ()
    """Names; empty means all."""
    suffix: str = Field(default="", max_length=32)
    """Added to the description of the derived series."""
    originals: Literal["always", "with-result", "never"] = "always"
    """`always`: at once, whatever becomes of denoising (fail open). `with-result`: only once the denoised series is there. `never`."""

    @field_validator("when")
    @classmethod
    def _expressions(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            if not is_attribute(name):
                raise ValueError(f"'{name}' is no DICOM keyword, tag, calling_ae, called_ae or field of onenex.Acquisition")
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is no regular expression ({error})") from error
        return value

    @field_validator("suffix")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("the suffix holds characters that cannot be printed")
        return value

    @model_validator(mode="after")
    def _forwards(self) -> Rule:
        if self.action == "pass" and self.originals == "never":
            raise ValueError("action 'pass' with originals 'never' forwards nothing: use action 'refuse'")
        return self


DEFAULT_RULE = Rule(name="default")
"""What happens to a series that no rule of the file matches."""


class Completion(Strict):
    """When a series counts as complete."""

    quiet_s: float = Field(default=60.0, gt=0)
    """Nothing came for so long."""
    expected_quiet_s: float = Field(default=5.0, gt=0)
    """The same once the number of images that MPPS or instance availability announced are there."""


class Sending(Strict):
    """How patient the sender is."""

    first_retry_s: float = Field(default=10.0, gt=0)
    """After the first failure; then twice as long each time."""
    longest_retry_s: float = Field(default=3600.0, gt=0)
    """But never longer than this."""
    give_up_days: float = Field(default=7.0, gt=0)
    """Then the delivery is failed and waits for `onenex node retry`; nothing is deleted."""
    timeout_s: float = Field(default=60.0, gt=0)
    """A peer that says nothing for so long counts as gone."""
    commitment_hours: float = Field(default=24.0, gt=0)
    """A promise of commitment that didn't come for so long is asked for again."""


class Status(Strict):
    """The status page."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """To listen on."""
    password_file: Path | None = None
    """Lines `user:hash`, made by `onenex node password`. Without one, the page is read-only and answers this machine alone."""
    certificate: Path | None = None
    """PEM file; with it the page speaks HTTPS."""
    key: Path | None = None
    """Of the certificate, unless its file holds it."""
    show_patients: bool = False
    """Whether pages show patient names and ids. Logs, metrics and the audit trail never do."""
    thumbnails: bool = True
    """Whether pages show pictures."""

    @model_validator(mode="after")
    def _complete(self) -> Status:
        if self.key is not None and self.certificate is None:
            raise ValueError("there is a key, but no certificate: give both, or neither")
        return self


class Retention(Strict):
    """What is kept. Only what is verified at every destination is ever deleted."""

    days: float = Field(default=14.0, ge=0)
    """Verified series stay for so long."""
    high_water_gb: float | None = Field(default=None, gt=0)
    """Verified series go early, oldest first, while the folder holds more."""


class Node(Strict):
    """The node itself."""

    ae_title: AeTitle = "ONENEX"
    """Its own; a sender that calls another is refused."""
    host: str = "0.0.0.0"
    """Address to listen on; by default all of the machine's."""
    port: Port = 11112
    """To listen on."""
    folder: Path
    """Spool, queue, results and audit trail."""
    workers: int = Field(default=1, ge=1, le=64)
    """Series that are denoised at once, each by a process with the weights in its memory."""
    threads: int | None = Field(default=None, ge=1)
    """Of each worker; by default its share of the cores."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    weights: Path | None = None
    """By default those that OneNEX carries."""
    attempts: int = Field(default=3, ge=1)
    """Times that a series is tried before it is failed (a worker may die of it)."""
    lease_s: float = Field(default=120.0, gt=0)
    """A worker that gives no sign for so long has lost its series."""
    longest_pause_s: float = Field(default=60.0, gt=0)
    """Before a part that keeps dying is started again."""
