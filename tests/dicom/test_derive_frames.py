"""Headers derived from multi-frame images: every frame says what became of it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from onenex.dicom.derive import derive
from onenex.dicom.identity import derived_uid
from tests.dicom.derived import PROVENANCE, WHEN, read
from tests.dicom.make import make_enhanced


def enhanced(tmp_path: Path, **attrs: object) -> Dataset:
    return read(make_enhanced(tmp_path / "in.dcm", 3, 8, 8, **attrs))  # type: ignore[arg-type]


def test_every_frame_names_its_own_source_frame(tmp_path: Path) -> None:
    source = enhanced(tmp_path)
    derived = derive(source, PROVENANCE, when=WHEN)
    for number, groups in enumerate(derived.PerFrameFunctionalGroupsSequence, start=1):
        (derivation,) = groups.DerivationImageSequence
        (image,) = derivation.SourceImageSequence
        assert (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber) == (source.SOPInstanceUID, number)
        assert list(groups.MRImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "M", "NONE"]
    (study,) = derived.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == source.StudyInstanceUID
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_some_frames_derived_makes_a_mixed_image(tmp_path: Path) -> None:
    source = enhanced(tmp_path)
    shared_type = source.PerFrameFunctionalGroupsSequence[0].MRImageFrameTypeSequence
    for groups in source.PerFrameFunctionalGroupsSequence:
        del groups.MRImageFrameTypeSequence
    source.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence = shared_type
    derived = derive(source, PROVENANCE, when=WHEN, frames={1})
    kinds = [groups.MRImageFrameTypeSequence[0].FrameType[0] for groups in derived.PerFrameFunctionalGroupsSequence]
    assert kinds == ["ORIGINAL", "DERIVED", "ORIGINAL"]
    assert "MRImageFrameTypeSequence" not in derived.SharedFunctionalGroupsSequence[0]
    assert ["DerivationImageSequence" in groups for groups in derived.PerFrameFunctionalGroupsSequence] == [False, True, False]
    assert list(derived.ImageType) == ["MIXED", "PRIMARY", "M", "NONE"]


def test_the_pulse_sequence_leaves_only_what_turns_derived(tmp_path: Path) -> None:
    source = enhanced(tmp_path)
    assert "EchoPulseSequence" in source
    assert "EchoPulseSequence" not in derive(source, PROVENANCE, when=WHEN)
    assert "EchoPulseSequence" in derive(source, PROVENANCE, when=WHEN, frames={1})
    source.ImageType = ["DERIVED", *source.ImageType[1:]]
    assert "EchoPulseSequence" in derive(source, PROVENANCE, when=WHEN)


def test_shared_frame_type_stays_shared(tmp_path: Path) -> None:
    source = enhanced(tmp_path)
    shared_type = source.PerFrameFunctionalGroupsSequence[0].MRImageFrameTypeSequence
    for groups in source.PerFrameFunctionalGroupsSequence:
        del groups.MRImageFrameTypeSequence
    source.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence = shared_type
    derived = derive(source, PROVENANCE, when=WHEN)
    assert derived.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    assert "MRImageFrameTypeSequence" not in derived.PerFrameFunctionalGroupsSequence[0]


def test_an_earlier_shared_derivation_comes_first_in_every_frame(tmp_path: Path) -> None:
    source = enhanced(tmp_path)
    earlier = Dataset()
    earlier.DerivationDescription = "before"
    source.SharedFunctionalGroupsSequence[0].DerivationImageSequence = Sequence([earlier])
    derived = derive(source, PROVENANCE, when=WHEN)
    assert "DerivationImageSequence" not in derived.SharedFunctionalGroupsSequence[0]
    for groups in derived.PerFrameFunctionalGroupsSequence:
        first, second = groups.DerivationImageSequence
        assert first.DerivationDescription == "before"
        assert second.DerivationDescription.startswith("Denoised by OneNEX")


def test_concatenations_get_new_uids(tmp_path: Path) -> None:
    source = enhanced(tmp_path, ConcatenationUID="1.2.3", SOPInstanceUIDOfConcatenationSource="1.2.4")
    derived = derive(source, PROVENANCE, when=datetime.now(timezone(timedelta())))
    assert derived.ConcatenationUID == derived_uid("1.2.3", PROVENANCE)
    assert derived.SOPInstanceUIDOfConcatenationSource == derived_uid("1.2.4", PROVENANCE)


def test_a_frame_says_what_happened_to_it(tmp_path: Path) -> None:
    derived = derive(enhanced(tmp_path), PROVENANCE, when=WHEN, notes={1: "Guard: 12 % is back."})
    said = ["Guard: 12 % is back." in group.DerivationImageSequence[0].DerivationDescription for group in derived.PerFrameFunctionalGroupsSequence]
    assert said == [False, True, False]
    assert "Guard" not in derived.ContributingEquipmentSequence[0].ContributionDescription
