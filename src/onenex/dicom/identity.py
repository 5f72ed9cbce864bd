"""Who a derived image is and how it says so: UIDs, numbers, names and sentences; pure functions without headers."""

from __future__ import annotations

from pydicom.uid import UID, generate_uid

from onenex.series import DEFAULT_SUFFIX, MAP_MEANING, MapKind, Provenance

SERIES_NUMBER_OFFSETS = {None: 100_000, MapKind.UNCERTAINTY: 200_000, MapKind.GUARD: 300_000}
"""Added to SeriesNumber: beyond the conventions of every vendor (GE ×100, Philips ×100 + reconstruction, Siemens + few)."""

MAX_IS, MAX_LO, MAX_ST = 2**31 - 1, 64, 1024  # PS3.5 table 6.2-1
_MAX_TOLD = 40
"""Characters of a free text that a derivation quotes."""


def derived_uid(source_uid: str, provenance: Provenance) -> UID:
    """Return the UID of what is derived from `source_uid`.

    It's a hash of the source's UID and of everything that decides the result, so the same run on the same images gives the same
    UIDs: sent twice, an archive keeps one copy. Another device (CPU, GPU) may differ in the last grey level under the same UID.
    """
    settings = provenance.settings() | {"strength": float(provenance.strength)}
    decisive = [
        provenance.version,
        provenance.weights_hash,
        *(f"{name}={value!r}" for name, value in sorted(settings.items())),
        provenance.shows or "",
        *([provenance.description_suffix] if provenance.description_suffix != DEFAULT_SUFFIX else []),
    ]
    return generate_uid(entropy_srcs=["OneNEX", str(source_uid), *(f"|{part}" for part in decisive)])


def derived_series_number(number: int | None, shows: MapKind | None = None) -> int:
    """Return SeriesNumber + 100000 (200000, 300000 for maps), within what an IS can hold (−2³¹ … 2³¹ − 1)."""
    value, offset = number or 0, SERIES_NUMBER_OFFSETS[shows]
    return value + offset if value <= MAX_IS - offset else value - offset


def derived_description(description: str | None, suffix: str) -> str:
    """Return the description with the suffix, shortened in the middle to the 64 characters of an LO.

    The suffix is put in ASCII, which every SpecificCharacterSet can write.
    """
    suffix = _ascii(suffix).strip()[:MAX_LO] or "OneNEX"
    head = str(description or "").strip()[: max(0, MAX_LO - len(suffix) - 1)].rstrip()
    return f"{head} {suffix}".strip()


def derivation_description(provenance: Provenance, note: str = "") -> str:
    """Return the sentences that say how the pixels were made, and what happened to this image."""
    settings = provenance.settings()
    parts = [f"mode {provenance.mode}"]
    if "preset" in settings:
        samples = f"{provenance.n_samples} sample" + ("s" if provenance.n_samples > 1 else "")
        parts += [f"preset {provenance.preset}", f"{provenance.n_steps} steps", samples]
    parts += [f"strength {provenance.strength:g}", f"seed {provenance.seed}", f"weights {provenance.weights_hash}"]
    parts += [f'told {name} "{_ascii(value)[:_MAX_TOLD]}"' for name, value in provenance.told.items()]
    parts += [] if provenance.guard else ["guard off"]
    parts += [f"engine {provenance.engine}"] if "engine" in settings else []
    what = f"Denoised by OneNEX {provenance.version}"
    if provenance.shows is not None:
        meaning = MAP_MEANING[provenance.shows]
        what = f"Map: {meaning}. OneNEX {provenance.version}"
    return f"{what}: {', '.join(parts)}. " + (f"{_ascii(note)} " if note else "") + "Research use only."


def derived_image_type(image_type: object) -> list[str]:
    """Return ImageType (or FrameType) with value 1 = DERIVED and everything else as it was."""
    values = values_of(image_type) or ["ORIGINAL", "PRIMARY", "OTHER"]
    return ["DERIVED", *(values[1:] or ["PRIMARY"])]


def values_of(value: object) -> list[str]:
    """Return a multi-valued string element as a list."""
    if value in (None, ""):
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]  # type: ignore[attr-defined]


def _ascii(text: str) -> str:
    """Return the text without what some character set, or an element of several values, could not hold."""
    return text.encode("ascii", "ignore").decode().replace("\\", " ")
