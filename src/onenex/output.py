"""One output folder, whole or not at all: written beside its target and renamed when everything is done."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onenex.errors import DataError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False, protect: Iterable[Path] = (), expected_bytes: int | None = None) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well, and disappears when it does not.

    The folder lies beside the target on the same filesystem (`.NAME.onenex-XXXXXXXX`), so the last step is one rename.
    Where the target is a mount point, or only the target itself is writable, it lies inside the target and its entries are
    moved up one by one. On any exception in the block, Ctrl-C included, nothing is left behind and an old target is as it was.

    Parameters
    ----------
    target
        The folder to make; missing parents are made too. An existing *empty* folder is taken over.
    overwrite
        Replace an existing folder, with everything in it.
    protect
        Paths that must survive (the input): `overwrite` refuses a target that holds one of them.
    expected_bytes
        Rough size of the output; a filesystem with less room is refused at once.

    Raises
    ------
    DataError
        The target exists and is no empty folder, lies where nothing can be written, or the disk is full.
    """
    target = Path(os.path.realpath(target))
    _check_target(target, overwrite, protect)
    made_parents = _make_parents(target.parent)
    inside = target.is_dir() and (target.is_mount() or not os.access(target.parent, os.W_OK | os.X_OK))
    temporary: Path | None = None
    try:
        _check_space(target, expected_bytes)
        temporary = _make_temporary(target, inside)
        yield temporary
        _sync_tree(temporary)
        _publish(temporary, target, inside)
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise DataError(_no_space_message(target, temporary, expected_bytes)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made_parents)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield the path of a file to write, beside `target`, that becomes it when the block ends well, and disappears when it does not.

    Raises
    ------
    DataError
        The folder cannot be written to, or its disk is full.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise DataError(f"cannot write {target} ({error.strerror or error}): free some space, or choose a folder that you may write to") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_target(target: Path, overwrite: bool, protect: Iterable[Path]) -> None:
    """Refuse a target that is no folder, holds something, or would take the input with it."""
    if target.exists() and not target.is_dir():
        raise DataError(f"output {target} is a file: choose a folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not overwrite:
        raise DataError(f"output folder {target} exists and is not empty: choose another, or allow overwriting it")
    for path in (*protect, Path.cwd(), _home()):
        if Path(os.path.realpath(path)).is_relative_to(target):
            raise DataError(f"output folder {target} holds {path} and will not be overwritten: choose another")


def _home() -> Path:
    """Return the user's home, or the working folder where there is none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path.cwd()


def _make_parents(parent: Path) -> list[Path]:
    """Make `parent` and return what was made, deepest first."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise DataError(f"cannot make the folder {parent} ({error.strerror}): choose an output folder that you may write to") from error
    return missing


def _make_temporary(target: Path, inside: bool) -> Path:
    """Make the folder that is written to."""
    home = target if inside else target.parent
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:32]}.onenex-", dir=home))
        temporary.chmod(0o777 & ~_umask())
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
        raise DataError(f"cannot write to {home} ({error.strerror}): choose an output folder that you may write to") from error
    return temporary


def _umask() -> int:
    """Return the process's umask (mkdtemp makes private folders; the output gets the user's usual permissions)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _check_space(target: Path, expected_bytes: int | None) -> None:
    """Refuse a filesystem with less room than the output is known to need."""
    free = shutil.disk_usage(target.parent if not target.is_dir() else target).free
    if expected_bytes is not None and free < expected_bytes:
        raise DataError(
            f"{target} needs about {_megabytes(expected_bytes)} and its disk has {_megabytes(free)} left: free some, or choose another disk"
        )


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind `error` (pydicom re-raises an OSError without its number, so causes are followed)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__ or error.__context__
    return False


def _no_space_message(target: Path, temporary: Path | None, expected_bytes: int | None) -> str:
    """Say which disk is full, how far the output came, and what it needs."""
    written = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()) if temporary else 0
    need = f"about {_megabytes(expected_bytes)}" if expected_bytes is not None else f"more than {_megabytes(written)}"
    return f"the disk of {target} is full: the output needs {need}; free some space or choose another disk (nothing was left behind)"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _sync_tree(folder: Path) -> None:
    """Flush every file and folder to the disk: a rename must not overtake what it publishes."""
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # filesystems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _publish(temporary: Path, target: Path, inside: bool) -> None:
    """Make `temporary` the target; an old target goes only when the new one is in place, and returns if that fails."""
    if inside:
        for old in [path for path in target.iterdir() if path != temporary]:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for new in temporary.iterdir():
            new.rename(target / new.name)
        _sync(target)
        return
    if not target.is_dir():
        temporary.rename(target)
        _sync(target.parent)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name[:32]}.onenex-old-", dir=target.parent))
    target.rename(aside / "old")
    try:
        temporary.rename(target)
    except BaseException:
        (aside / "old").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _sync(target.parent)


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that were made for nothing, deepest first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
