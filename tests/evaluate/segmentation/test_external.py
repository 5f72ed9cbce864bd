"""External tools, with their faults; the tool is a small script."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.segmentation.external import ExternalTool, affine_of, tool_task

TOOL = """
import sys, time
import nibabel as nib, numpy as np
kind, source, target = sys.argv[1:4]
image = nib.load(source)
values, affine = image.get_fdata(), image.affine
labels = (values > 200).astype(np.int16) + (values > 700)
if kind == "fails":
    sys.exit("no model found")
if kind == "sleeps":
    time.sleep(60)
if kind == "shape":
    labels = labels[1:]
if kind == "floats":
    labels = labels * 0.3
if kind == "empty":
    labels[:] = 0
turned = nib.Nifti1Image(labels, affine)
if kind == "turns":
    turned = nib.as_closest_canonical(turned)
if kind == "folder":
    import pathlib
    pathlib.Path(target, "step1").mkdir(parents=True)
    pathlib.Path(target, "step2").mkdir()
    nib.save(nib.Nifti1Image(labels * 0, affine), pathlib.Path(target, "step1", "a.nii.gz"))
    target = str(pathlib.Path(target, "step2", "b.nii.gz"))
if kind != "silent":
    nib.save(turned, target)
if kind == "grid":
    print(nib.aff2axcodes(affine), image.header.get_zooms())
"""
IMAGES = np.zeros((3, 8, 6), dtype=np.float32)
IMAGES[0, :4], IMAGES[2, 1, :2] = 0.5, 0.9
LABELS = (IMAGES > 0.2).astype(np.int32) + (IMAGES > 0.7)
EVERYWHERE = np.ones(IMAGES.shape, dtype=np.bool_)


@pytest.fixture
def command(tmp_path: Path) -> str:
    script = tmp_path / "my tool.py"
    script.write_text(TOOL)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} KIND {{in}} {{out}}"


@pytest.mark.parametrize(("kind", "plane"), [("works", "unknown"), ("turns", "axial"), ("turns", "sagittal"), ("turns", "coronal")])
def test_an_external_tool_gets_the_image_and_its_labels_come_back(command: str, kind: str, plane: str) -> None:
    tool = ExternalTool(command=command.replace("KIND", kind), plane=plane)
    np.testing.assert_array_equal(tool(IMAGES, (4.0, 0.5, 0.7), EVERYWHERE), LABELS)


def test_a_tool_that_makes_a_folder(command: str) -> None:
    tool = ExternalTool(command=command.replace("KIND", "folder"), result="step2/*.nii.gz")
    np.testing.assert_array_equal(tool(IMAGES, None, EVERYWHERE), LABELS)
    with pytest.raises(DataError, match=r"2 files match .*step1/a.nii.gz, step2/b.nii.gz"):
        ExternalTool(command=command.replace("KIND", "folder"))(IMAGES, None, EVERYWHERE)


def test_a_tools_task_scores_by_its_own_labels(command: str) -> None:
    found = tool_task(ExternalTool(command=command.replace("KIND", "works")), IMAGES)
    assert found.note == Path(sys.executable).name
    assert found.score(IMAGES) == {"label 1": 1.0, "label 2": 1.0}
    assert found.score(np.where(IMAGES > 0.7, 0, IMAGES).astype(np.float32)) == {"label 1": 1.0, "label 2": 0.0}
    with pytest.raises(DataError, match="found nothing on the reference"):
        tool_task(ExternalTool(command=command.replace("KIND", "empty")), IMAGES)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fails", "failed with status 1: no model found"),
        ("shape", r"labels of shape \(5, 8, 3\) for an image of \(6, 8, 3\)"),
        ("floats", "does it write probabilities"),
        ("silent", "wrote nothing"),
        ("sleeps", "longer than 1 s"),
    ],
)
def test_faults_of_a_tool_are_told(command: str, kind: str, message: str) -> None:
    timeout_s = 1.0 if kind == "sleeps" else 60.0
    with pytest.raises(DataError, match=message):
        ExternalTool(command=command.replace("KIND", kind), timeout_s=timeout_s)(IMAGES, None, EVERYWHERE)


@pytest.mark.parametrize(
    ("command", "message"),
    [("tool {in}", "lacks {out}"), ("", "lacks {in} and {out}"), ("tool '{in} {out}", "check its quotes")],
)
def test_commands_that_cannot_work_are_refused_at_once(command: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ExternalTool(command=command)


def test_a_missing_program_is_told_and_no_shell_is_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="doesn't start"):
        ExternalTool(command="no-such-segmenter {in} {out}")(IMAGES, None, EVERYWHERE)
    with pytest.raises(DataError, match="doesn't start"):
        ExternalTool(command=f"true;touch${{IFS}}{tmp_path}/made {{in}} {{out}}")(IMAGES, None, EVERYWHERE)
    assert not list(tmp_path.iterdir())


def test_affines_are_those_of_the_usual_views() -> None:
    # DICOM's axial view: columns run to the patient's left, rows to the back, slices to the head
    np.testing.assert_array_equal(affine_of((4.0, 2.0, 1.0), "axial") @ [1, 0, 0, 0], [-1, 0, 0, 0])
    np.testing.assert_array_equal(affine_of((4.0, 2.0, 1.0), "axial") @ [0, 1, 0, 0], [0, -2, 0, 0])
    np.testing.assert_array_equal(affine_of((4.0, 2.0, 1.0), "sagittal") @ [0, 1, 0, 0], [0, 0, -2, 0])
    for plane in ("axial", "sagittal", "coronal"):  # slices rise along the normal: column × row × slice is right-handed
        assert np.linalg.det(affine_of((4.0, 2.0, 1.0), plane)) == pytest.approx(8)
    with pytest.raises(DataError, match="three positive numbers"):
        affine_of((0.0, 1.0, 1.0), "axial")
