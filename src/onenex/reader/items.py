"""Scales that a protocol may use by name, each with where it was published."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onenex.reader.records import Item, Scale

DISC_LEVELS = ("L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1")
"""Lumbar discs, from the head down."""
SURENESS = ("surely absent", "probably absent", "cannot say", "probably present", "surely present")
"""Five grades of confidence that a finding is there, as rated for ROC analysis."""
PRESENT_FROM = 4
"""Cut of `SURENESS`: "probably present" and "surely present" count as present, "cannot say" as absent."""
PREFERENCE = ("left much better", "left slightly better", "no difference", "right slightly better", "right much better")
"""As stored, relative to the sides: −2 … 2. Which arm was where is only known after unblinding."""

_GRADES = ("poor", "fair", "good", "excellent")
_LIKERT = (
    "Ordinal rating of image quality by readers (visual grading): Båth & Månsson, Br. J. Radiol. 80:169 (2007); aspects as in "
    "the reader study of Shao et al., npj Digit. Med. 9:366 (2026), doi 10.1038/s41746-026-02548-y. Wording of the grades: ours."
)
_ROC = (
    "Five-grade confidence rating: Hanley & McNeil, Radiology 143:29 (1982), and Obuchowski, AJR 184:364 (2005). "
    "The cut before 'probably present' is ours, set before reading."
)


def _rating(name: str, question: str, explained: str, labels: tuple[str, ...] = _GRADES, source: str = _LIKERT) -> Item:
    return Item(name=name, question=question, scale=Scale.GRADE, labels=labels, higher_is_better=True, explained=explained, source=source)


def _finding(name: str, question: str, where: tuple[str, ...] = ("",)) -> Item:
    explained = "How sure are you that it is there? Use the whole scale. From 'probably present' on it counts as found."
    return Item(
        name=name, question=question, scale=Scale.FINDING, labels=SURENESS, cut=PRESENT_FROM, where=where, explained=explained, source=_ROC,
    )  # fmt: skip


_QUALITY = (
    _rating(
        "overall_quality",
        "Overall image quality?",
        "All in all, for what such images are made for: poor (not usable) to excellent (nothing to wish for).",
    ),
    _rating(
        "snr", "Signal-to-noise ratio?", "How little grain there is in tissue: poor (noise hides structures) to excellent (hardly any noise seen)."
    ),
    _rating("sharpness", "Sharpness?", "How well small structures and edges are drawn: poor (blurred) to excellent (crisp)."),
    _rating(
        "artefacts",
        "Artefacts?",
        "Motion, ghosts, wrap, ringing, or textures that look made: how much they disturb. The higher, the fewer.",
        ("severe, hide anatomy", "moderate, disturb", "slight, do not disturb", "none"),
    ),
    _rating(
        "confidence",
        "How confident would you be to diagnose from these images?",
        "From inadequate (no diagnosis possible, scan again) to excellent (no doubt that comes from the images).",
        ("inadequate", "poor", "adequate", "good", "excellent"),
    ),
)

_COMPARED = Item(
    name="preference",
    question="Which side is better for diagnosis?",
    scale=Scale.GRADE,
    labels=PREFERENCE,
    first=-2,
    explained="Compare the same slices of both sides. Say 'no difference' when you would be content with either.",
    source="Stimulus comparison with named grades: ITU-R BT.500 (there seven, −3 … 3; here five). Wording: ours.",
)

_FAZEKAS = "Fazekas, Chawluk, Alavi, Hurtig & Zimmerman, AJR 149:351 (1987)"
_SPINE_AND_BRAIN = (
    Item(
        name="fazekas_periventricular",
        question="Fazekas grade, periventricular?",
        scale=Scale.GRADE,
        labels=("0: none", "1: caps or thin lining", "2: smooth halo", "3: irregular, into deep white matter"),
        first=0,
        explained="Hyperintensity beside the ventricles on T2-weighted or FLAIR images.",
        source=_FAZEKAS,
    ),
    Item(
        name="fazekas_deep",
        question="Fazekas grade, deep white matter?",
        scale=Scale.GRADE,
        labels=("0: none", "1: points", "2: beginning to flow together", "3: large confluent areas"),
        first=0,
        explained="Hyperintensity in deep white matter, apart from the ventricles, on T2-weighted or FLAIR images.",
        source=_FAZEKAS,
    ),
    Item(
        name="pfirrmann",
        question="Pfirrmann grade?",
        scale=Scale.GRADE,
        labels=("I", "II", "III", "IV", "V"),
        where=DISC_LEVELS,
        explained=(
            "On sagittal T2-weighted images. I: homogeneous, bright as CSF, normal height. II: inhomogeneous, perhaps with horizontal bands, "
            "still bright, nucleus and annulus told apart, normal height. III: inhomogeneous, grey, nucleus and annulus not clearly apart, height "
            "normal or slightly less. IV: grey to black, nucleus and annulus not to be told apart, height normal to moderately less. "
            "V: black, disc space collapsed."
        ),
        source="Pfirrmann, Metzdorf, Zanetti, Hodler & Boos, Spine 26:1873 (2001)",
    ),
)

_SIDES = ("medial", "lateral")
_KNEE = (
    _finding("meniscus_tear", "Meniscus: tear?", _SIDES),
    _finding("acl_tear", "Anterior cruciate ligament: tear?"),
    _finding("pcl_tear", "Posterior cruciate ligament: tear?"),
    _finding("mcl_injury", "Medial collateral ligament: injury?"),
    _finding("lcl_injury", "Lateral collateral ligament: injury?"),
    _finding("cartilage_defect", "Cartilage: defect?"),
    _finding("bone_marrow_oedema", "Bone marrow oedema?"),
    _finding("effusion", "Joint effusion?"),
)
_SHOULDER = (
    _finding("supraspinatus_tear", "Supraspinatus tendon: tear?"),
    _finding("infraspinatus_tear", "Infraspinatus tendon: tear?"),
    _finding("subscapularis_tear", "Subscapularis tendon: tear?"),
    _finding("labrum_tear", "Labrum: tear?"),
    _finding("biceps_tendon", "Long head of biceps: abnormal tendon?"),
    _finding("ac_joint", "Acromioclavicular joint: abnormal?"),
)
_WORDS = Item(
    name="comment",
    question="Remarks?",
    scale=Scale.TEXT,
    required=False,
    explained="No names or numbers of patients. Words are kept, but not analysed.",
)

BUILT_IN: Mapping[str, Item] = MappingProxyType(
    {item.name: item for item in (*_QUALITY, _COMPARED, *_SPINE_AND_BRAIN, *_KNEE, *_SHOULDER, _WORDS)},
)
"""Name → scale. A protocol names them in a reading's `items`, and adds its own in `[[items]]`."""
