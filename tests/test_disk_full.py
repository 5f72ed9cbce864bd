"""A full disk, through the command line: one clear line, and nothing left on it."""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from tests.test_bad_input import CANNOT_START, Answer, fake, images, write

__all__ = ["fake"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB, a mount point inside it being ours."""
    mount = shutil.which("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False).returncode
    ):
        pytest.skip("a small tmpfs cannot be mounted: run as root")
    yield disk
    gc.collect()  # the given-up writer still holds its file
    subprocess.run(["umount", disk], check=True)


def test_disk_full(tmp_path: Path, small_disk: Path) -> None:
    write(tmp_path / "in", images(12, 128, 128))
    answer = Answer(tmp_path / "in", small_disk / "out")
    assert answer.code == CANNOT_START
    assert "full" in answer.stderr
    assert list(small_disk.iterdir()) == []


def test_disk_full_nifti(tmp_path: Path, small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(100, 4000, (128, 128, 20)).astype(np.int16)
    nib.save(Nifti1Image(noise, np.eye(4)), tmp_path / "in.nii.gz")
    answer = Answer(tmp_path / "in.nii.gz", small_disk / "out")
    assert answer.code == CANNOT_START
    assert "full" in answer.stderr
    assert list(small_disk.iterdir()) == []
