"""Nothing acknowledged is lost and nothing half arrives, whatever dies: `make test-faults` for 200 kills, a short run in the suite.

Scanners send without a pause, again and again until they are told yes; a hand kills parts of the node, and the whole node, at random instants.
One PACS vanishes, refuses, and drops associations; the other is down from the beginning to the end. At the end every image that was acknowledged
is in both, byte for byte, and there is one derived series, whole, for each result that the node made: none is missing, none came twice.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.dicom.orthanc import free_ports
from tests.node.harm import Fate, clock_environment, set_clock, small_disk
from tests.node.hospital import SOURCE, NodeProcess, Pacs, node, pacs, settled, until, write_config
from tests.node.scanner import N_IMAGES

KILLS = int(os.environ.get("ONENEX_KILLS", "12"))
SEED = int(os.environ.get("ONENEX_SEED", "0"))
N_SCANNERS, N_SERIES = 3, 3 + KILLS // 4
SETTLE_S = 60 + KILLS


@dataclass(kw_only=True)
class Scene:
    """The node, the two PACS, and what scanners were told."""

    running: NodeProcess
    archive: Pacs
    mirror: Pacs
    fate: Fate
    told: list[dict[str, Any]] = field(default_factory=list)

    def of(self, key: str) -> list[dict[str, Any]]:
        """Return the lines of one kind."""
        return [line for line in self.told if key in line]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    ports, disk, clock = free_ports(4), tmp_path / "disk", tmp_path / "clock"
    set_clock(clock, 0)
    peers = [{"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": port} for name, port in (("archive", ports[2]), ("mirror", ports[3]))]
    with ExitStack() as stack:
        is_small = stack.enter_context(small_disk(disk, 400))
        config = write_config(
            tmp_path, port=ports[0], http_port=ports[1], destinations=peers,
            node={"folder": str(disk / "node"), "lease_s": 6, "attempts": 1000},
            completion={"quiet_s": 6, "expected_quiet_s": 6}, limits={"reserve_mb": 5, "idle_s": 10},
        )  # fmt: skip
        archive = stack.enter_context(pacs(ports[2]))
        mirror = Pacs(ports[3])
        running = stack.enter_context(node(config, port=ports[0], http_port=ports[1], **clock_environment(clock)))
        if not is_small:
            print("a full disk was not tried: no file system may be mounted here")
        fate = Fate(running=running, archive=archive, chance=random.Random(SEED), disk=disk if is_small else None, clock=clock)
        yield Scene(running=running, archive=archive, mirror=mirror, fate=fate)
        mirror.down()


def test_nothing_is_lost_when_anything_dies(scene: Scene, tmp_path: Path) -> None:
    running, fate = scene.running, scene.fate
    scanners = [_scanner(running.port, tmp_path, seed) for seed in range(1, N_SCANNERS + 1)]
    while fate.n_kills < KILLS:
        fate.strike()
    fate.end()
    scene.mirror.up()
    for scanner in scanners:
        try:
            out, err = scanner.communicate(timeout=SETTLE_S)
        finally:
            scanner.kill()
        assert scanner.returncode == 0, err[-3000:]
        scene.told += [json.loads(line) for line in out.splitlines()]
    until(running.idle, SETTLE_S, lambda: f"series do not come to their end: {_ends(running)}\n{_log(running)}")
    print(f"\nseed {SEED}: {dict(fate.seen)}; {len(scene.of('series'))} series, {len(scene.of('acknowledged'))} images acknowledged")
    _nothing_is_lost(scene)
    _nothing_is_half(scene)
    _nobody_is_named(scene)


def _scanner(port: int, folder: Path, seed: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.node.scanner", str(port), str(folder / "scans"), str(SEED * 100 + seed), str(N_SERIES)]
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _nothing_is_lost(scene: Scene) -> None:
    acknowledged = {line["acknowledged"]: line["digest"] for line in scene.of("acknowledged")}
    assert set(acknowledged) == {uid for line in scene.of("series") for uid in line["images"]}
    assert scene.of("refused") == []
    assert {line["again"] for line in scene.of("again")} <= {"0x111"}, "other pixels under a known UID were taken"
    assert "0x0" not in {line["garbage"] for line in scene.of("garbage")}
    for one in (scene.archive, scene.mirror):
        lost = [uid for uid in acknowledged if uid not in one.digests]
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged images are lost"
        assert [uid for uid in acknowledged if one.digests[uid] != acknowledged[uid]] == []
        assert one.changed == [], "an image came twice with different bytes"


def _nothing_is_half(scene: Scene) -> None:
    originals = {line["series"]: line for line in scene.of("series")}
    views = scene.running.views()
    assert sorted(view.series_uid for view in views) == sorted(originals), "each series has one row"
    wrong = [view for view in views if view.state != ("failed" if originals[view.series_uid]["broken"] else "verified")]
    assert wrong == []
    for one, name in ((scene.archive, "archive"), (scene.mirror, "mirror")):
        derived = {uid: images for uid, images in one.series.items() if uid not in originals}
        made = {view.series_uid: [d.n_items for d in view.deliveries if (d.kind, d.destination) == ("derived", name)] for view in views}
        assert Counter(len(images) for images in derived.values()) == Counter(n for sizes in made.values() for n in sizes)
        half = [uid for uid, sizes in made.items() if (max(sizes, default=0) != N_IMAGES) != originals[uid]["broken"]]
        assert half == [], "the last pass denoises all images of a series"
    same = scene.archive.series == scene.mirror.series
    assert same, "the two PACS differ"


def _nobody_is_named(scene: Scene) -> None:
    audit = (scene.running.folder / "audit.jsonl").read_text()
    for text in (_log(scene.running, None), audit):
        assert "Secret" not in text
        assert not [line["series"] for line in scene.of("series") if line["series"] in text]


def _ends(running: NodeProcess) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    left = [view for view in running.views() if not settled(view)]
    return [(view.state, view.reason, [(one.destination, one.state, one.error) for one in view.deliveries]) for view in left[:5]]


def _log(running: NodeProcess, last: int | None = 4000) -> str:
    text = running.log.read_text()
    return text if last is None else text[-last:]
