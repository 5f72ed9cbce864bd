"""What a machine that only trains must have installed."""

import subprocess
import sys
from pathlib import Path

MODULES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "src" / "onenex" / "train").glob("*.py") if path.stem != "__init__")


FORBIDDEN = {"pydicom", "ray", "pyarrow", "SimpleITK", "pandas", "fsspec", "onnx", "onnxruntime"}


def test_the_training_path_needs_little() -> None:
    """All rooms of training at once; pyarrow is asked for by the manifest of a built folder, and by nothing else."""
    program = f"import importlib, sys\nfor name in {MODULES}: importlib.import_module('onenex.train.' + name)\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    ).stdout
    tops = {name.split(".")[0] for name in loaded.split()}
    assert "torch" in tops
    assert not tops & FORBIDDEN
