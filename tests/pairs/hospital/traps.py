"""What else lies in a hospital's archive: series that look like pairs and are none, repeats, copies, damage, litter."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from onenex.physics import noise
from onenex.scans import load_images, read_manifest
from tests.dicom.make import save
from tests.pairs.hospital.anatomy import SEQUENCES
from tests.pairs.hospital.scan import Grid, draw_motion, rigid
from tests.pairs.hospital.truth import AXES, Plan, TrueRepeats, Visit
from tests.pairs.hospital.vendors import Person, usual_name

AI_NAMES = {"Siemens": "t2_tse_DeepResolve", "GE": "T2 FSE AIR Recon DL", "Philips": "T2W_TSE SmartSpeed AI", "UIH": "t2_fse_uAI"}
LOCALISERS = {"Siemens": "localizer", "GE": "3-Plane Loc", "Philips": "Survey", "UIH": "scout_3pl"}
PHASES = {"Siemens": ["ORIGINAL", "PRIMARY", "P", "ND"], "GE": ["ORIGINAL", "PRIMARY", "OTHER"],
          "Philips": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "UIH": ["ORIGINAL", "PRIMARY", "P", "ND"]}  # fmt: skip


def localiser(visit: Visit) -> None:
    """Three planes of small images, as before every examination."""
    grid = Grid(shape=(3, 64, 64), spacing_mm=(20.0, 5.0, 5.0), axes=AXES["sagittal"].astype(float), first_mm=np.array([-20.0, -160.0, 160.0]))
    images = noise.rician(np.full((1, 3, 64, 64), 0.5, np.float32), 0.1, visit.generator)
    plan = Plan(sequence="T2w", name=LOCALISERS[visit.exam.vendor], attrs={"EchoTime": 90.0})
    visit.truth.lone[visit.put(plan, images, grid, 12.0)] = "localiser"


def _other_contrast(visit: Visit) -> None:
    name = usual_name(visit.exam.vendor, visit.paired[0][0], visit.anatomy.plane)
    visit.lone("other contrast, same name", Plan(sequence=visit.spare.pop(), name=name))


def _other_person(visit: Visit) -> None:
    sequence, who = visit.spare.pop(), visit.exam.person
    visit.lone("another patient of the same name", Plan(sequence=sequence))
    person = Person(name=who.name, patient_id=who.patient_id[::-1] + "7", birth_date="19" + who.birth_date[2:4] + "0229")
    exam = visit.elsewhere("bis", visit.exam.began + timedelta(hours=2), person)
    visit.lone("another patient of the same name", Plan(sequence=sequence, averages=4.0, exam=exam))


def _year_later(visit: Visit) -> None:
    sequence = visit.spare.pop()
    visit.lone("another study of the patient", Plan(sequence=sequence, averages=4.0))
    exam = visit.elsewhere("Verlauf", visit.exam.began + timedelta(days=371, hours=1))
    visit.lone("another study of the patient", Plan(sequence=sequence, exam=exam))


def _contrast_agent(visit: Visit) -> None:
    sequence = visit.spare.pop()
    visit.lone("contrast agent in one", Plan(sequence=sequence))
    visit.lone("contrast agent in one", Plan(sequence=sequence, averages=3.0, attrs={"ContrastBolusAgent": "Gadovist", "ContrastBolusVolume": 7.5}))


def _fat_suppressed(visit: Visit) -> None:
    sequence = next(name for name in reversed(visit.spare) if name not in ("STIR", "T2-FLAIR"))  # STIR always is, Siemens' FLAIR is called tirm
    visit.spare.remove(sequence)
    name = usual_name(visit.exam.vendor, sequence, visit.anatomy.plane)
    visit.lone("fat suppressed in one", Plan(sequence=sequence))
    visit.lone("fat suppressed in one", Plan(sequence=sequence, averages=3.0, name=f"{name}_fs", attrs={"ScanOptions": ["PFP", "FS"]}))


def _body_part(visit: Visit) -> None:
    sequence, organs = visit.spare.pop(), ("L-spine", "C-spine")
    other = organs[visit.exam.organ == organs[0]]
    visit.lone("another body part", Plan(sequence=sequence))
    visit.lone("another body part", Plan(sequence=sequence, averages=4.0, organ=other, moved_mm=(0.0, 0.0, -260.0)))


def _other_plane(visit: Visit) -> None:
    sequence, plane = visit.spare.pop(), "coronal" if visit.anatomy.plane == "sagittal" else "sagittal"
    visit.lone("another plane", Plan(sequence=sequence))
    visit.lone("another plane", Plan(sequence=sequence, averages=4.0, axes=plane))


def _other_slab(visit: Visit) -> None:
    sequence, grid = visit.spare.pop(), visit.window
    beyond = grid.axes[0] * grid.spacing_mm[0] * (grid.shape[0] + 3)
    visit.lone("no slice in common", Plan(sequence=sequence))
    visit.lone("no slice in common", Plan(sequence=sequence, averages=4.0, moved_mm=(float(beyond[0]), float(beyond[1]), float(beyond[2]))))


def _map(visit: Visit) -> None:
    sequence = visit.paired[0][0]
    kind = {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}
    visit.lone("a derived map", Plan(sequence=sequence, averages=1.0, attrs=kind))


def _phase(visit: Visit) -> None:
    grid = visit.window
    images = visit.generator.uniform(0, 2, (1, *grid.shape)).astype(np.float32)
    plan = Plan(sequence=visit.paired[0][0], attrs={"ImageType": PHASES[visit.exam.vendor]}, component=1)
    visit.truth.lone[visit.put(plan, images, grid, 74.0)] = "phase images"


def _rescan(visit: Visit) -> None:
    sequence, grid = visit.spare.pop(), visit.window
    moved = draw_motion(grid, visit.anatomy.thin, grid.spacing_mm[1], visit.generator)
    first, again = (visit.lone("scanned again the same way", Plan(sequence=sequence, averages=2.0, motion=motion)) for motion in (None, moved))
    visit.truth.reruns.append((first, again))


def _vendor_ai(visit: Visit) -> None:
    sequence = visit.spare.pop()
    visit.lone("denoised by the vendor", Plan(sequence=sequence))
    visit.lone("denoised by the vendor", Plan(sequence=sequence, averages=4.0, name=AI_NAMES[visit.exam.vendor]))


def _repeats(visit: Visit, data: Path | None) -> None:
    """Six instances a position from Philips, told apart by nothing that matters; three by nothing but their number from others."""
    n, size, images = (6 if visit.exam.vendor == "Philips" else 3), 96, None
    if data is not None:
        info = next(info for info in read_manifest(data) if info.id == "repeats_head_philips_b0_x6")
        images = np.swapaxes(load_images(info)[10:18, :n], 0, 1)
        images, size = images / np.percentile(images, 99), images.shape[-1]
    else:
        clean = visit.anatomy.contrast("T2w")[2:6, :size, :size]
        images = np.stack([noise.rician(clean, 0.06, visit.generator) for _ in range(n)])
    grid = replace(visit.window, shape=(images.shape[1], size, size), spacing_mm=(2.0, 2.0, 2.0))
    vary: dict[str, list[object]] = {}
    if n == 6:
        angles = np.arange(6) * np.pi / 3
        directions: list[object] = [[float(np.cos(angle)), float(np.sin(angle)), 0.0] for angle in angles]
        vary = {"DiffusionBValue": [0.0, 2.0, 2.0, 2.0, 2.0, 2.0], "DiffusionGradientOrientation": directions}
    uid = visit.put(Plan(sequence="DWI"), images.astype(np.float32), grid, 50.0, vary)
    visit.truth.repeats.append(TrueRepeats(series_uid=uid, n_repeats=n, n_slices=images.shape[1]))


def _time_series(visit: Visit, data: Path | None) -> None:
    """Sixty volumes of a brain at work: each position sixty times, and no two alike in what they should show."""
    del data
    n, clean = 60, visit.anatomy.contrast("T2*w")[2:5, 20:84, 20:84]
    beat = 1 + 0.06 * np.sin(np.arange(n) / 3)[:, None, None, None]
    images = noise.rician((clean[None] * beat).astype(np.float32), 0.02, visit.generator)
    grid = replace(visit.window, shape=tuple(clean.shape), spacing_mm=(3.0, 3.0, 3.0))
    vary: dict[str, list[object]] = {"TemporalPositionIdentifier": list(range(1, n + 1)), "NumberOfTemporalPositions": [n] * n}
    if visit.exam.vendor in ("Siemens", "GE"):
        vary = {"AcquisitionNumber": list(range(1, n + 1))}
    uid = visit.put(Plan(sequence="BOLD"), images, grid, 120.0, vary)
    visit.truth.lone[uid] = "a time series"


def _copied(visit: Visit) -> None:
    """A folder copied by hand beside the original."""
    target = visit.exam.folder / "Kopie von Übersicht (2)"
    target.mkdir(parents=True, exist_ok=True)
    for path in visit.files[visit.paired[0][2]]:
        shutil.copyfile(path, target / path.name)

    _sent_again(visit)


def _sent_again(visit: Visit) -> None:
    """The same instances by way of a PACS: other names, another transfer syntax, another institution."""
    target = visit.exam.folder / "resend"
    target.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(visit.files[visit.paired[0][1]]):
        dataset = dcmread(path)
        if dataset.file_meta.TransferSyntaxUID.is_little_endian:  # swapping is the writer's affair, not this test's
            dataset.InstitutionName = "Klinikum Oberpfaffenstein (Archiv)"
            save(dataset, target / f"{9 * number % 101:03d}-{number}", ExplicitVRLittleEndian)
        else:
            shutil.copyfile(path, target / f"{9 * number % 101:03d}-{number}")


def _doom(visit: Visit, why: str, fast: Plan) -> None:
    """Take a pair that only its headers make one, in a study of its own: `fast` says what is wrong."""
    exam = visit.elsewhere(f"Kontrolle {len(visit.truth.doomed)}", visit.exam.began + timedelta(days=500, hours=len(visit.truth.doomed)))
    fast, reference = replace(fast, exam=exam), Plan(sequence=fast.sequence, averages=4.0, exam=exam)
    visit.truth.doomed[visit.take(fast), visit.take(reference)] = why


def _moved_too_far(visit: Visit) -> None:
    grid = visit.window
    far = rigid(np.radians(9.0) * grid.axes[0], 18 * grid.spacing_mm[1] * grid.axes[1] - 9 * grid.spacing_mm[2] * grid.axes[2], grid.centre_mm)
    _doom(visit, "moved too far", Plan(sequence=visit.paired[0][0], motion=far))


def _untold_contrast(visit: Visit) -> None:
    told = visit.paired[0][0]
    shown = visit.anatomy.contrast(told)
    body = shown > 0.1
    unlike = min(SEQUENCES, key=lambda name: np.corrcoef(shown[body], visit.anatomy.contrast(name)[body])[0, 1])
    _doom(visit, "another contrast than its header says", Plan(sequence=told, pixels=unlike))


def _other_anatomy(visit: Visit) -> None:
    _doom(visit, "something else altogether", Plan(sequence=visit.paired[0][0], mirrored=True))


def _litter(visit: Visit) -> None:
    """What people and computers leave in folders."""
    folder = visit.exam.folder
    name = visit.exam.person.name.split("^")[0]
    files = {
        f"Befund {name}.pdf": b"%PDF-1.4\n" + b"0 obj " * 300, "notes.txt": f"{name}, MRT\n".encode(), ".DS_Store": b"\0\0\0\1Bud1" + b"\0" * 500,
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + b"\0" * 100, "._I0001.dcm": b"\0\5\x16\7" + b"\0" * 60, "empty.dcm": b"", "-rf": b"oops",
        "患者 ё 😀.bin": bytes(range(256)) * 4, "x" * 180: b"long name", "DICOMDIR": b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0\0\0\0\0",
    }  # fmt: skip
    for file, content in files.items():
        (folder / file).write_bytes(content)
    (folder / "leer" / "noch leerer").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "export.zip", "w") as archive:
        for path in visit.files[visit.paired[0][2]][:3]:
            archive.write(path, path.name)


def _broken(visit: Visit) -> None:
    """Files that start like DICOM and go wrong, each in its own way; none of them is part of a pair."""
    source = visit.files[visit.lone("damaged", Plan(sequence=visit.spare.pop(), averages=4.0))]
    whole = source[0].read_bytes()
    source[0].write_bytes(whole[: int(0.6 * len(whole))])
    folder = visit.exam.folder / "defekt"
    folder.mkdir(parents=True, exist_ok=True)
    scrambled = bytearray(whole)
    scrambled[200:900] = visit.generator.integers(0, 256, 700, dtype=np.uint8).tobytes()
    broken = (whole[:140], whole[:700], bytes(scrambled), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + visit.generator.bytes(3000))
    for number, content in enumerate(broken):
        (folder / f"BAD{number:03d}.dcm").write_bytes(content)


TRAPS: tuple[Callable[[Visit], None], ...] = (
    _other_contrast, _moved_too_far, _other_person, _phase, _year_later, _broken, _contrast_agent, _litter, _fat_suppressed, _copied, _body_part,
    _map, _other_plane, _other_slab, _rescan, _untold_contrast, _vendor_ai, _other_anatomy,
)  # fmt: skip
"""Dealt out patient by patient, so that a small hospital has every one of them."""
SERIES_OF_MANY: Mapping[str, Callable[[Visit, Path | None], None]] = {"repeats": _repeats, "time series": _time_series}
