"""A scanner as a process of its own: `python -m tests.node.scanner PORT FOLDER SEED COUNT`.

It sends one series after the other and repeats what isn't acknowledged until it is. Some series are broken: their pixels are cut off
in the middle. Sometimes it sends an image again with other pixels, or bytes that are no data set. It tells standard output in JSON lines
what it was told, and ends, between two series, when standard input does.
"""

import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config
from pynetdicom.sop_class import MRImageStorage

from tests.dicom.make import make_series
from tests.node.hospital import data_set_digest, data_set_start, listens

N_IMAGES = 4
BROKEN, TWICE, GARBAGE = 0.1, 0.25, 0.1
"""How many of the series are cut off, are followed by an image with other pixels, and by nonsense."""


def main(port: int, folder: Path, seed: int, count: int) -> None:
    """Send `count` series, or fewer if told to end."""
    _config.STORE_SEND_CHUNKED_DATASET = True  # a file's own bytes, not pydicom's idea of them
    chance, enough = random.Random(seed), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), enough.set()), daemon=True).start()
    for number in range(count):
        if enough.is_set():
            break
        broken = chance.random() < BROKEN
        files = _series(folder / f"{seed}-{number}", seed * 1000 + number, broken)
        for path in files:
            _until_told_yes(port, path)
        if chance.random() < TWICE:
            tell(again=hex(_other_pixels(port, chance.choice(files))))
        if chance.random() < GARBAGE:
            tell(garbage=hex(_garbage(port, files[0])))
        enough.wait(chance.uniform(0.2, 3))


def _series(folder: Path, seed: int, broken: bool) -> list[Path]:
    uid = str(generate_uid())
    files = make_series(folder, N_IMAGES, seed=seed, SeriesInstanceUID=uid, StudyInstanceUID=generate_uid(), PatientName="Secret^Name")
    if broken:
        for path in files:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) - 700])
    tell(series=uid, broken=broken, images=[str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files])
    return files


def _until_told_yes(port: int, path: Path) -> None:
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    while (status := store(port, path)) != 0:
        if status is not None and status != 0xA700:
            tell(refused=hex(status), image=uid)
        time.sleep(0.2)
    tell(acknowledged=uid, digest=data_set_digest(path))


def _other_pixels(port: int, path: Path) -> int:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    other = path.with_suffix(".other")
    other.write_bytes(content)
    return _answer(port, other)


def _garbage(port: int, path: Path) -> int:
    """Send the head of a file with noise for a data set."""
    content = path.read_bytes()
    start = data_set_start(content)
    other = path.with_suffix(".garbage")
    other.write_bytes(content[:start] + random.Random(0).randbytes(900))
    return _answer(port, other)


def _answer(port: int, path: Path) -> int:
    while (status := store(port, path)) in (None, 0xA700):
        time.sleep(0.2)
    assert status is not None
    return status


def store(port: int, path: Path) -> int | None:
    """Send one file over an association of its own; return the status, None without one."""
    if not listens(port):
        return None
    ae = AE("SCANNER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    ae.connection_timeout = 2
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="ONENEX")
    if not association.is_established:
        return None
    try:
        answer = association.send_c_store(path)
    except (RuntimeError, ValueError):
        return None
    finally:
        if association.is_established:
            association.release()
    return int(answer.Status) if answer else None


def tell(**fields: Any) -> None:
    """Write a line of what happened."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
