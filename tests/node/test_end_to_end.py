"""A whole hospital: dcmtk's storescu → the node as its users start it → Orthanc."""

import json
import os
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid

from onenex.node.audit import Audit
from onenex.node.database.spool import dataset_digest
from onenex.node.records import SeriesView
from tests.dicom.make import make_enhanced, make_series
from tests.dicom.orthanc import PROPOSALS, free_ports
from tests.node.hospital import NodeProcess, node, until, write_config
from tests.node.orthanc_web import DICOMWEB, Pacs, orthanc_web

pytestmark = pytest.mark.debian

WHOLE = bool(os.environ.get("ONENEX_WHOLE"))
"""Send the shared series with all of their images; otherwise two of each, and not the one file with 96 frames."""
AUTH = ("node", "secret")


@dataclass(frozen=True)
class Hospital:
    """The node and its PACS."""

    running: NodeProcess
    orthanc: Pacs

    def send(self, paths: Sequence[Path]) -> None:
        """Send as a modality would, each file in its own transfer syntax."""
        by_option: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            by_option[PROPOSALS.get(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID, "-x=")].append(str(path))
        for option, names in by_option.items():
            command = ["storescu", option, "-aet", "SCANNER", "-aec", "ONENEX", "127.0.0.1", str(self.running.port), *names]
            sent = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert sent.returncode == 0, sent.stdout + sent.stderr

    def settled(self, seconds: float, n_series: int) -> dict[str, SeriesView]:
        """Wait for the end of every series and return Series Instance UID → series."""
        until(lambda: self.running.idle() and len(self.running.views()) == n_series, seconds, lambda: self.running.log.read_text()[-3000:])
        return {view.series_uid: view for view in self.running.views()}

    def qido(self, path: str) -> Any:
        """Search as a web viewer does (QIDO-RS)."""
        answer = httpx.get(f"{self.orthanc.url}/{path}", auth=AUTH, timeout=20, trust_env=False, headers={"Accept": "application/dicom+json"})
        return answer.raise_for_status().json() if answer.content else []

    def kept(self, folder: Path) -> dict[str, Dataset]:
        """Return SOP Instance UID → data set of everything in the PACS."""
        self.orthanc.digests(folder)
        return {str(one.SOPInstanceUID): one for one in map(dcmread, folder.glob("*.dcm"))}


@contextmanager
def hospital(folder: Path, **destination: object) -> Iterator[Hospital]:
    """Run a node and an Orthanc behind it."""
    program = shutil.which("Orthanc")
    if program is None or shutil.which("storescu") is None or not DICOMWEB.exists():
        pytest.skip("Orthanc, its DICOMweb plugin or storescu not found: apt-get install orthanc orthanc-dicomweb dcmtk")
    port, http_port = free_ports(2)
    with orthanc_web(program, folder / "orthanc", port) as orthanc:
        (folder / "password").write_text("secret")
        peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": orthanc.dicom_port, "commitment": True}
        if destination.get("kind") == "stow":
            peer = {"url": orthanc.url, "user": AUTH[0], "password_file": str(folder / "password")}
        peers = [{"ae_title": name, "addresses": ["127.0.0.1"]} for name in ("SCANNER", "PACS")]
        config = write_config(folder, port=port, http_port=http_port, destinations=[{"name": "pacs", **peer, **destination}], peers=peers)
        with node(config, port=port, http_port=http_port) as running:
            yield Hospital(running, orthanc)


def generated(folder: Path) -> dict[str, list[Path]]:
    """Make series of many kinds, of two studies: name → files."""
    study = {"StudyInstanceUID": generate_uid(), "PatientName": "Secret^Name"}
    adc = {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "SeriesDescription": "ep2d_ADC"}
    mosaic = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "SeriesDescription": "ep2d_bold"}
    capture = {"SOPClassUID": SecondaryCaptureImageStorage, "SeriesDescription": "a photograph"}
    return {
        "t2": make_series(folder / "t2", 3, 64, 64, SeriesDescription="t2_tse", SeriesNumber=2, **study),
        "coded": make_series(folder / "j2k", 3, 64, 48, SeriesDescription="t1_se", SeriesNumber=3, transfer_syntax=JPEG2000Lossless, **study),
        "adc": make_series(folder / "adc", 2, 64, 64, SeriesNumber=4, **adc, **study),
        "mosaic": make_series(folder / "mosaic", 1, 96, 96, SeriesNumber=5, **mosaic, **study),
        "photograph": make_series(folder / "sc", 1, 64, 64, SeriesNumber=6, **capture, **study),
        "enhanced": [make_enhanced(folder / "enhanced.dcm")],
    }


@pytest.mark.parametrize("kind", ["dicom", "stow"])
def test_originals_arrive_untouched_and_denoised_ones_beside_them(tmp_path: Path, kind: str) -> None:
    made = generated(tmp_path / "made")
    (tmp_path / "kept").mkdir()
    with hospital(tmp_path, kind=kind) as there:
        there.send([path for paths in made.values() for path in paths])
        views = there.settled(120, len(made))
        _compare(there, made, views, there.kept(tmp_path / "kept"))
        states = {name: views[_uid(paths)] for name, paths in made.items()}
        assert {name: str(view.state) for name, view in states.items()} == {
            "t2": "verified", "coded": "verified", "adc": "passed-through", "mosaic": "passed-through",
            "photograph": "passed-through", "enhanced": "verified",
        }  # fmt: skip
        assert "ADC map" in states["adc"].reason
        assert "mosaic" in states["mosaic"].reason
        assert "MR" in states["photograph"].reason
        study = dcmread(made["t2"][0]).StudyInstanceUID
        described = [one["0008103E"]["Value"][0] for one in there.qido(f"studies/{study}/series?includefield=SeriesDescription")]
        assert sum(text.startswith("t2_tse") for text in described) == 2
        audit = (there.running.folder / "audit.jsonl").read_text()
        events = Counter(json.loads(line)["event"] for line in audit.splitlines())
        assert events["delivered"] == sum(len(view.deliveries) for view in views.values())
        assert events["denoised"] == 3
        assert (events["kept"] > 0) == (kind == "dicom")
        assert Audit(there.running.folder).verify() == events.total()
        log = there.running.log.read_text() + audit
        assert "Secret" not in log
        assert study not in log


@pytest.mark.data
def test_every_shared_series(tmp_path: Path, data_dir: Path) -> None:
    """Real scans of four vendors; ONENEX_WHOLE=1 sends all of their images."""
    made = {folder.name: sorted(path for path in folder.rglob("*") if path.is_file()) for folder in sorted((data_dir / "dicom").iterdir())}
    sent = made if WHOLE else {name: paths[:2] for name, paths in made.items() if len(paths) > 1 or name == "head_siemens_dwi_mosaic"}
    (tmp_path / "kept").mkdir()
    with hospital(tmp_path) as there:
        there.send([path for paths in sent.values() for path in paths])
        views = there.settled(1200 if WHOLE else 120, len({_uid(paths) for paths in sent.values()}))
        _compare(there, sent, views, there.kept(tmp_path / "kept"))
        states = {name: views[_uid(paths)] for name, paths in sent.items()}
        print("".join(f"\n{name}: {view.n_images} images, {view.state} {view.reason}" for name, view in states.items()))
        passed = {name for name, view in states.items() if view.state == "passed-through"}
        assert passed >= {"head_siemens_adc_map", "head_siemens_dwi_mosaic"}
        assert all(states[name].reason for name in passed)
        assert "ADC map" in states["head_siemens_adc_map"].reason
        assert "mosaic" in states["head_siemens_dwi_mosaic"].reason
        assert {str(view.state) for name, view in states.items() if name not in passed} == {"verified"}
        assert len(states) - len(passed) >= 8


def _uid(paths: Sequence[Path]) -> str:
    return str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)


def _sop_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _sources(one: Dataset) -> set[str]:
    """Return the UIDs of the images that a derived one names as its sources, wherever it does."""
    sequences = [element.value for element in one.iterall() if element.keyword == "SourceImageSequence"]
    return {str(item.ReferencedSOPInstanceUID) for items in sequences for item in items}


def _compare(there: Hospital, sent: dict[str, list[Path]], views: dict[str, SeriesView], kept: dict[str, Dataset]) -> None:
    """Hold what is in the PACS against what was sent: each original is there unchanged, each denoised series in its study."""
    originals = {uid: path for paths in sent.values() for path in paths for uid in [_sop_uid(path)]}
    for uid, path in originals.items():
        assert kept[uid] == dcmread(path), f"{path.name} was changed"
    derived: dict[str, list[Dataset]] = defaultdict(list)
    for uid, one in kept.items():
        if uid not in originals:
            for source in _sources(one) & set(originals):
                derived[source].append(one)
    for name, paths in sent.items():
        view, first = views[_uid(paths)], dcmread(paths[0])
        mine = {one.SOPInstanceUID: one for path in paths for one in derived.get(_sop_uid(path), [])}.values()
        assert bool(mine) == (view.state == "verified"), name
        assert {one.StudyInstanceUID for one in mine} <= {first.StudyInstanceUID}
        assert {one.SeriesInstanceUID for one in mine}.isdisjoint({first.SeriesInstanceUID})
        assert len({one.SeriesInstanceUID for one in mine}) == bool(mine)
    digests = {_sop_uid(path): dataset_digest(path) for path in (there.running.folder / "instances").rglob("*.dcm")}
    stored = {uid: dataset_digest(Path(str(one.filename))) for uid, one in kept.items() if uid in originals}
    assert stored == digests, "the encoded data sets of node and PACS differ"
