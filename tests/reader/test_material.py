import itertools
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from onenex.errors import StudyError
from onenex.reader import material
from onenex.reader.keeping.views import Image
from onenex.reader.material import FILE_DATE, TOP, expected_bytes, open_case, prepare
from onenex.reader.records import Case, Presentation
from tests.dicom.make import AXIAL, CORONAL, SAGITTAL, make_series
from tests.reader.sources import ARMS, SHAPE, arms_of, volume


def case_of(paths: dict[str, Path], name: str = "knee") -> Case:
    return Case(name=name, patient="P", series={arm: str(path) for arm, path in paths.items()})


def shown(number: int, *arms: str, case: str = "knee") -> Presentation:
    return Presentation(key=f"{number:032x}", reader="anna", reading="quality", session=1, position=number, case=case, arms=arms)


def pixels(folder: Path, image: Image) -> NDArray[np.uint16]:
    stack = image.stack
    return np.fromfile(folder / "images" / f"{image.token}.bin", "<u2").reshape(stack.n_slices, stack.rows, stack.columns)


def prepared(folder: Path, paths: dict[str, Path]) -> dict[str, NDArray[np.uint16]]:
    """Prepare one presentation an arm and return the pixels."""
    plan = [shown(number, arm) for number, arm in enumerate(paths)]
    found = prepare([open_case(case_of(paths))], plan, folder)
    return {one.arms[0]: pixels(folder, found.images[one.key][0]) for one in plan}


def test_all_arms_share_one_linear_map_window_shape_and_spacing(tmp_path: Path) -> None:
    paths = arms_of(tmp_path / "dicom", 3)
    plan = [*(shown(number, arm) for number, arm in enumerate(ARMS)), shown(8, ARMS[2], ARMS[0]), shown(9, ARMS[2])]
    case = open_case(case_of(paths))
    found = prepare([case], plan, tmp_path)
    images = [image for sides in found.images.values() for image in sides]
    assert len({image.token for image in images}) == len(images) == 6
    assert {image.stack for image in images} == {images[0].stack}
    assert (images[0].stack.n_slices, images[0].stack.rows, images[0].stack.columns) == SHAPE
    assert images[0].stack.spacing_mm == (2.0, 1.0, 0.75)
    centre, width = images[0].stack.window
    assert 0 <= centre - width / 2 < centre + width / 2 <= TOP
    assert width > TOP / 10
    sources = [volume(30 + index).astype(float) for index in range(3)]
    top = max(float(one.max()) for one in sources)
    bottom = min(float(one.min()) for one in sources)
    for number, sides in enumerate([(0,), (1,), (2,), (2, 0), (2,)]):
        for image, arm in zip(found.images[plan[number].key], sides, strict=True):
            expected = (sources[arm] - bottom) * TOP / (top - bottom)
            assert np.abs(pixels(tmp_path, image) - expected).max() <= 0.51
    assert found.notes == ()
    assert sum(path.stat().st_size for path in (tmp_path / "images").iterdir()) == expected_bytes([case], plan)


def test_files_differ_in_nothing_but_name_and_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [open_case(case_of(arms_of(tmp_path / name, index), name)) for index, name in enumerate(("a", "b"))]
    plan = [shown(number, arm, case=case.case.name) for number, (case, arm) in enumerate(itertools.product(cases, ARMS * 4))]
    orders: list[list[str]] = []
    write = material._write

    def noted(path: Path, stored: NDArray[np.uint16]) -> None:
        orders[-1].append(path.stem)
        write(path, stored)

    monkeypatch.setattr(material, "_write", noted)
    sequences: list[list[str]] = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        orders.append([])
        found = prepare(cases, plan, tmp_path / run)
        arms = {found.images[one.key][0].token: one.arms[0] for one in plan}
        sequences.append([arms[token] for token in orders[-1]])
        files = [path.stat() for path in (tmp_path / run / "images").iterdir()]
        assert {(one.st_size, one.st_mtime, one.st_mode, one.st_nlink) for one in files} == {(2 * int(np.prod(SHAPE)), FILE_DATE, 0o100600, 1)}
        assert all(len(token) == 32 and int(token, 16) >= 0 for token in arms)
    assert sequences[0] != sequences[1]
    assert len(set(sequences[0])) == 3
    assert sequences[0][:12] not in ([*ARMS] * 4, sorted(sequences[0][:12]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 30}, "4 × 30 × 24 slices × rows × columns, not 4 × 32 × 24"),
        ({"n_slices": 5}, "5 × 32 × 24"),
        ({"PixelSpacing": [1.0, 0.8]}, "2 × 1 × 0.8 mm"),
        ({"ImageOrientationPatient": CORONAL}, "another orientation"),
        ({"vary": {"ImagePositionPatient": [[0, 0, 2.0 * z + 3] for z in range(4)]}}, "another place: 3.0 mm away"),
        ({"vary": {"ImagePositionPatient": [[9, 0, 2.0 * z] for z in range(4)]}}, "another place"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
    ],
)
def test_arms_that_lie_otherwise_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    same = {"vary": {"ImagePositionPatient": [[0, 0, 2.0 * z] for z in range(4)]}}
    make_series(tmp_path / "slow", **same)
    make_series(tmp_path / "rapid", **{**({} if "n_slices" in change or "ImageOrientationPatient" in change else same), **change})
    with pytest.raises(StudyError, match=r"case 'knee', arm 'rapid'.*") as error:
        open_case(case_of({"slow": tmp_path / "slow", "rapid": tmp_path / "rapid"}))
    assert said in str(error.value)


def test_rounded_positions_are_no_difference(tmp_path: Path) -> None:
    for arm, shift in (("slow", 0.0), ("rapid", 0.04)):
        make_series(tmp_path / arm, vary={"ImagePositionPatient": [[shift, -shift, 2.0 * z + shift] for z in range(4)]})
    open_case(case_of({"slow": tmp_path / "slow", "rapid": tmp_path / "rapid"}))


def test_slices_are_sorted_alike_whatever_the_files_are_called(tmp_path: Path) -> None:
    stored = volume(1)
    make_series(tmp_path / "up", stored=stored, vary={"ImagePositionPatient": [[0, 0, 2.0 * z] for z in range(4)]})
    backwards = [[0, 0, 2.0 * z] for z in (3, 2, 1, 0)]
    make_series(tmp_path / "down", stored=stored[::-1], vary={"ImagePositionPatient": backwards, "SliceLocation": [6, 4, 2, 0]})
    found = prepared(tmp_path, {"up": tmp_path / "up", "down": tmp_path / "down"})
    assert np.array_equal(found["up"], found["down"])


ORIENTATIONS = [code for order in itertools.permutations(("LR", "PA", "IS")) for code in itertools.product(*order)]


@pytest.mark.parametrize(("plane", "cosines"), [("axial", AXIAL), ("coronal", CORONAL), ("sagittal", SAGITTAL)])
def test_nifti_in_any_storage_is_shown_as_dicom_is(tmp_path: Path, plane: str, cosines: Sequence[float]) -> None:
    stored = volume(1)
    make_series(tmp_path / "dicom", stored=stored, ImageOrientationPatient=list(cosines), WindowCenter=None)
    dicom = open_case(case_of({"dicom": tmp_path / "dicom"})).arms["dicom"]
    along, down = np.array(cosines[:3]), np.array(cosines[3:])
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([0.75 * along, 1.0 * down, 2.0 * np.cross(along, down)])
    assert dicom.placement.origin_mm is not None
    affine[:3, 3] = dicom.placement.origin_mm
    original = nib.Nifti1Image(stored.transpose(2, 1, 0).astype(np.int16), np.diag([-1, -1, 1, 1]) @ affine)
    for number, code in enumerate(ORIENTATIONS):
        turn = nib.orientations.ornt_transform(nib.io_orientation(original.affine), nib.orientations.axcodes2ornt(code))
        path = tmp_path / f"{plane}{number}.nii"
        original.as_reoriented(turn).to_filename(path)
        case = open_case(case_of({"dicom": tmp_path / "dicom", "nifti": path}))
        assert case.arms["nifti"].placement.spacing_mm == pytest.approx((2.0, 1.0, 0.75))
        assert np.array_equal(case.arms["nifti"].images(), dicom.images()), code


def test_a_folder_of_several_series_and_a_stack_by_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_series(tmp_path / "both" / name, SeriesDescription=name)
    with pytest.raises(StudyError, match=r"case 'knee', arm 'x'.*holds 2 series \('one', 'two'\)"):
        open_case(case_of({"x": tmp_path / "both"}))
    with pytest.raises(StudyError, match="does not exist"):
        open_case(case_of({"x": tmp_path / "nowhere"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="case 'knee', arm 'x'"):
        open_case(case_of({"x": tmp_path / "empty"}))
    echoes = {"SeriesInstanceUID": "1.2.3"}
    make_series(tmp_path / "echoes", stored=volume(1), EchoNumbers=1, EchoTime=20, prefix="a", **echoes)
    make_series(tmp_path / "echoes", stored=volume(2), EchoNumbers=2, EchoTime=80, prefix="b", **echoes)
    first = open_case(case_of({"x": tmp_path / "echoes"})).arms["x"]
    labels = [stack.label for stack in first.series.stacks]
    assert np.array_equal(first.images(), volume(1))
    second = open_case(case_of({"x": Path(f"{tmp_path / 'echoes'}#{labels[1]}")})).arms["x"]
    assert np.array_equal(second.images(), volume(2))
    with pytest.raises(StudyError, match="has no stack 'echo 9'"):
        open_case(case_of({"x": Path(f"{tmp_path / 'echoes'}#echo 9")}))


def test_an_arm_that_is_brighter_is_told(tmp_path: Path) -> None:
    make_series(tmp_path / "slow", stored=volume(1))
    make_series(tmp_path / "rapid", stored=volume(2, gain=0.5))
    case = open_case(case_of({"slow": tmp_path / "slow", "rapid": tmp_path / "rapid"}))
    (note,) = prepare([case], [shown(1, "slow", "rapid")], tmp_path).notes
    assert note.startswith("case 'knee': 'slow' is brighter than 'rapid'")


def test_flat_images_and_lone_sparks(tmp_path: Path) -> None:
    flat = np.full(SHAPE, 7, np.uint16)
    make_series(tmp_path / "flat", stored=flat)
    assert len(np.unique(prepared(tmp_path, {"flat": tmp_path / "flat"})["flat"])) == 1
    spark = volume(1)
    spark[2, 3, 4] = 60_000
    make_series(tmp_path / "spark", stored=spark, BitsStored=16, HighBit=15)
    (tmp_path / "two").mkdir()
    found = prepared(tmp_path / "two", {"spark": tmp_path / "spark"})["spark"]
    assert found[2, 3, 4] == TOP
    assert np.sort(found.ravel())[-2] > TOP / 5


def test_pixels_that_cannot_be_read_name_case_and_arm(tmp_path: Path) -> None:
    paths = arms_of(tmp_path / "dicom", 1)
    case = open_case(case_of(paths))
    next(iter(sorted(paths[ARMS[1]].iterdir()))).unlink()
    with pytest.raises(StudyError, match=f"case 'knee', arm '{ARMS[1]}'"):
        prepare([case], [shown(1, ARMS[1])], tmp_path)
