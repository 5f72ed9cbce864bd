"""What a run is asked for: defaults, what is refused and how, and the user's word against the header's."""

from typing import Any

import pytest

from onenex.cli_options import Mode, Preset
from onenex.errors import DataError
from onenex.model.modes import MODES
from onenex.model.reddiff import PRESETS
from onenex.options import Options
from onenex.series import Acquisition, MapKind


def test_the_command_line_offers_what_the_model_has() -> None:
    assert {mode.value for mode in Mode} == set(MODES)
    assert {preset.value for preset in Preset} == set(PRESETS)


@pytest.mark.parametrize(
    ("asked", "samples"),
    [({}, 1), ({"mode": "full"}, 1), ({"mode": "full", "uncertainty": True}, 8), ({"mode": "full", "uncertainty": True, "n_samples": 3}, 3)],
)
def test_samples(asked: dict[str, Any], samples: int) -> None:
    assert Options(**asked).samples == samples


def test_maps() -> None:
    assert Options().maps == ()
    assert Options(guard_maps=True).maps == (MapKind.GUARD,)
    assert Options(mode="full", uncertainty=True, guard_maps=True).maps == (MapKind.UNCERTAINTY, MapKind.GUARD)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strength": 1.5}, "0 … 1"),
        ({"n_samples": 4}, "samples: mode fast is one pass"),
        ({"n_steps": 4, "preset": "paper"}, "preset, steps: mode fast"),
        ({"uncertainty": True}, "use mode full with 2 samples or more"),
        ({"mode": "full", "uncertainty": True, "n_samples": 1}, "there would be 1: use 2 or more"),
        ({"guard": False, "guard_maps": True}, "switch the guard on"),
        ({"organ": "  "}, "organ is empty"),
        ({"acceleration": 0.5}, "from 1"),
        ({"acceleration": float("nan")}, "from 1"),
        ({"suffix": "s" * 49}, "suffix: give up to 48"),
        ({"suffix": "two\nlines"}, "printable"),
    ],
)
def test_nonsense_is_refused_with_a_way_out(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Options(**asked)


def test_what_the_user_says_beats_the_header_and_is_its_own_evidence() -> None:
    header = Acquisition(vendor="GE", organ="head", nex=2.0, evidence={"vendor": "Manufacturer (0008,0070)", "organ": "BodyPartExamined (0018,0015)"})
    options = Options(organ=" left  ankle ", acceleration=2)
    known = options.corrected(header)
    assert (known.vendor, known.organ, known.acceleration, known.nex) == ("GE", "left ankle", 2.0, 2.0)
    assert known.evidence == {"vendor": "Manufacturer (0008,0070)", "organ": "command line", "acceleration": "command line"}
    assert options.told == {"organ": "left ankle", "acceleration": "2"}
    assert Options().corrected(header) == header
