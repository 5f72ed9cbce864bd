"""What the driver hands out: a few units at a time, each until it comes back, and none forgotten when the cluster forgets it."""

import types
from collections.abc import Iterator
from typing import Any

import pytest

from onenex.batch import Kind, Unit
from onenex.cluster import Workers, stream
from onenex.cluster.actors import unit_of
from onenex.errors import DataError


def _units(n_units: int) -> list[Unit]:
    return [Unit(id=f"{number:032x}", kind=Kind.DICOM, source="/a", series="s", fingerprint="f") for number in range(n_units)]


class _Forgetful:
    """Stands for Ray and its pipeline: forgets every n-th unit the first time, or always, without a word."""

    def __init__(self, *, every: int, for_good: bool = False) -> None:
        self.every, self.for_good = every, for_good
        self.laid: list[str] = []
        self.most_under_way = 0
        self._forgotten: set[str] = set()
        self.exceptions = types.SimpleNamespace(RayError=RuntimeError)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def get(self, answer: Any) -> Any:
        return answer

    def get_runtime_context(self) -> Any:
        return types.SimpleNamespace(get_node_id=lambda: "here")

    def remote(self, _actor: type) -> Any:
        self.laid = []
        desk = types.SimpleNamespace(put=types.SimpleNamespace(remote=self.laid.extend))
        return types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=lambda: desk))

    def iter_rows(self) -> Iterator[dict[str, str]]:
        self.most_under_way = max(self.most_under_way, len(self.laid))
        while (text := self.laid.pop(0)) != "":
            unit = unit_of(text).id
            if int(unit, 16) % self.every == 0 and (self.for_good or unit not in self._forgotten):
                self._forgotten.add(unit)
                continue
            times = '"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:01+00:00"'
            row = f'{{"unit": "{unit}", "source": "/a", "series": "s", "fingerprint": "f", "status": "denoised", {times}}}'
            yield {"kind": "row", "text": row}


def _rows(ray: _Forgetful, n_units: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(stream, "_pipeline", lambda *_: ray)
    told: Any = None
    return [row.unit for row in stream.stream(ray, told, iter(_units(n_units)), Workers())]


def test_each_unit_comes_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = _Forgetful(every=50)
    rows = _rows(ray, 500, monkeypatch)
    assert sorted(rows) == [unit.id for unit in _units(500)]
    assert ray.most_under_way <= 65


def test_what_never_comes_back_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="4 units did not come back"):
        _rows(_Forgetful(every=50, for_good=True), 200, monkeypatch)


def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _rows(_Forgetful(every=1), 0, monkeypatch) == []
