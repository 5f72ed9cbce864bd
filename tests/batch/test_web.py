"""Series of a real Orthanc by QIDO-RS and WADO-RS."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from onenex.batch import Access, Kind, Ledger, plan, process, web
from onenex.errors import DataError
from onenex.options import Options
from tests.batch.archive import SHAPE, Fake, run
from tests.dicom.make import make_series
from tests.node.orthanc_web import DICOMWEB, Pacs, orthanc_web
from tests.test_pipeline import write_dicom

ORTHANC = shutil.which("Orthanc")
ACCESS = Access(user="node", password="secret")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies of one MR series each, and one CT series in the third."""
    folder = tmp_path_factory.mktemp("web") / "scans"
    for number in (1, 2):
        write_dicom(folder / f"mr{number}", number, shape=SHAPE)
    first, *_ = make_series(folder / "mr3", 3, StudyDate="20200102", PatientID="third")
    from pydicom import dcmread

    study = dcmread(first).StudyInstanceUID
    make_series(folder / "ct", 1, StudyInstanceUID=study, Modality="CT", StudyDate="20200102", PatientID="third", SeriesInstanceUID="1.2.3.4.5")
    return folder


@pytest.fixture(scope="module")
def pacs(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    if ORTHANC is None or not DICOMWEB.exists():
        pytest.skip("Orthanc or its DICOMweb plugin not found: apt-get install orthanc orthanc-dicomweb")
    with orthanc_web(ORTHANC, tmp_path_factory.mktemp("orthanc")) as server:
        for path in sorted(scans.rglob("*.dcm")):
            address = f"http://127.0.0.1:{server.http_port}/instances"
            httpx.post(address, content=path.read_bytes(), auth=("node", "secret"), timeout=20, trust_env=False).raise_for_status()
        yield server


@pytest.mark.debian
def test_series_are_listed_page_by_page_with_the_ids_of_their_files(pacs: Pacs, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = list(plan(f"dicomweb+{pacs.url}", access=ACCESS))
    assert {unit.id for unit in units} == {unit.id for unit in plan(str(scans))}
    assert {unit.kind for unit in units} == {Kind.DICOMWEB}
    assert sorted(unit.n_instances or 0 for unit in units) == [1, 2, 2, 3]
    assert [unit.problem for unit in units if unit.problem] == ["its modality is CT, not MR"]
    monkeypatch.setattr(web, "_PAGE", 1)
    assert {unit.id for unit in plan(f"dicomweb+{pacs.url}", access=ACCESS)} == {unit.id for unit in units}


@pytest.mark.debian
def test_a_query_chooses_studies_and_their_series(pacs: Pacs) -> None:
    def found(query: str) -> list[int]:
        return sorted(unit.n_instances or 0 for unit in plan(f"dicomweb+{pacs.url}?{query}", access=ACCESS))

    assert found("StudyDate=20200101-20200131") == [1, 3]
    assert found("StudyDate=20200101-20200131&Modality=MR") == [3]
    assert found("PatientID=third&ModalitiesInStudy=MR&Modality=CT") == [1]
    assert found("StudyDate=18990101") == []


@pytest.mark.debian
def test_a_query_becomes_an_archive_as_its_files_do(pacs: Pacs, scans: Path, tmp_path: Path, fake: Fake) -> None:
    there = run(f"dicomweb+{pacs.url}", tmp_path / "web", access=ACCESS)
    here = run(scans, tmp_path / "files")
    assert there.units.total() == here.units.total() == 4
    made = [{row.unit: (row.digest, row.slices) for row in Ledger(str(tmp_path / name)).rows() if row.digest} for name in ("web", "files")]
    assert made[0] == made[1] != {}
    assert run(f"dicomweb+{pacs.url}", tmp_path / "web", access=ACCESS).units.total() == 0
    assert "secret" not in " ".join(path.read_bytes().decode("latin-1") for path in (tmp_path / "web").rglob("*") if path.is_file())


@pytest.mark.debian
def test_instances_come_as_the_server_keeps_them(pacs: Pacs, scans: Path, tmp_path: Path) -> None:
    unit = next(unit for unit in plan(f"dicomweb+{pacs.url}?PatientID=third&Modality=MR", access=ACCESS))
    n_bytes = web.fetch(unit, tmp_path, ACCESS)
    fetched = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir())
    assert fetched == sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (scans / "mr3").iterdir())
    assert n_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.debian
def test_fewer_images_than_promised_fail_the_unit(pacs: Pacs, tmp_path: Path) -> None:
    from dataclasses import replace

    (unit,) = plan(f"dicomweb+{pacs.url}?PatientID=third&Modality=MR", access=ACCESS)
    row = process(replace(unit, n_instances=4), str(tmp_path / "out"), Options(), Fake(), access=ACCESS)
    assert row.status == "failed"
    assert "sent 3 of 4 images" in row.reason


@pytest.mark.debian
@pytest.mark.parametrize("access", [None, Access(user="node", password="wrong"), Access(token="wrong")])
def test_who_may_not_ask_is_told(pacs: Pacs, access: Access | None) -> None:
    with pytest.raises(DataError, match="HTTP 401"):
        list(plan(f"dicomweb+{pacs.url}", access=access))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("dicomweb+http://node:secret@127.0.0.1/dicom-web", "give them as options"),
        ("dicomweb+http://127.0.0.1/dicom-web?limit=5", "attributes only"),
        ("dicomweb+http://127.0.0.1/dicom-web?StudyDate=1&StudyDate=2", "twice"),
        ("dicomweb+http://127.0.0.1:9/dicom-web", "cannot be asked"),
    ],
)
def test_queries_that_cannot_be_asked_are_refused(source: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PAUSE_MS", 1)
    with pytest.raises(DataError, match=said) as caught:
        list(plan(source))
    assert "secret" not in str(caught.value)


def test_secrets_are_not_printed() -> None:
    assert "secret" not in repr(ACCESS)
    assert "abc" not in repr(Access(token="abc"))
