"""Damaged bytes for the fuzz tests: what they are made from, and how they are spoilt."""

import random
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pynetdicom import build_context, build_role, dimse_messages, dimse_primitives
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from tests.dicom.make import make_enhanced, make_series
from tests.node import raw

SYNTAXES = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless,
)  # fmt: skip
MPPS, COMMITMENT = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1"
CONTEXTS = [(raw.MR, raw.IMPLICIT), (raw.MR, raw.EXPLICIT), (raw.ECHO, raw.IMPLICIT), (MPPS, raw.IMPLICIT), (COMMITMENT, raw.IMPLICIT)]
_LENGTHS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF)


def spoil(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage bytes once, twice or four times."""
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(_WAYS)(chance, spoilt, chance.choice(others))
    return bytes(spoilt)


def _flip(chance: random.Random, data: bytearray, other: bytes) -> None:
    for _ in range(min(chance.randint(1, 8), len(data))):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _truncate(chance: random.Random, data: bytearray, other: bytes) -> None:
    del data[_place(chance, data) :]


def _length(chance: random.Random, data: bytearray, other: bytes) -> None:
    order, width = chance.choice("<>"), chance.choice("HI")
    value = struct.pack(order + width, chance.choice(_LENGTHS) & (0xFFFF if width == "H" else 0xFFFF_FFFF))
    at = _place(chance, data)
    data[at : at + len(value)] = value


def _cut(chance: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(chance, data)
    del data[at : at + chance.choice((1, 2, 4, 8, 64))]


def _repeat(chance: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(chance, data)
    data[at:at] = data[at : at + chance.choice((2, 8, 20, 200))] * chance.choice((1, 2, 50))


def _splice(chance: random.Random, data: bytearray, other: bytes) -> None:
    at, start = _place(chance, data), chance.randrange(len(other)) if other else 0
    data[at : at + chance.choice((0, 16, 256))] = other[start : start + chance.choice((8, 64, 1024))]


def _noise(chance: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(chance, data)
    data[at : at + chance.choice((0, 4))] = chance.randbytes(chance.choice((1, 4, 32)))


def _place(chance: random.Random, data: bytearray) -> int:
    """A place, often near the front, where the structure is."""
    if not data:
        return 0
    return chance.randrange(min(len(data), chance.choice((16, 128, 600, len(data)))))


_WAYS: tuple[Callable[[random.Random, bytearray, bytes], None], ...] = (_flip, _truncate, _length, _cut, _repeat, _splice, _noise)


def objects() -> dict[str, list[bytes]]:
    """Transfer syntax → encoded data sets."""
    found: dict[str, list[bytes]] = {}
    with TemporaryDirectory() as name:
        for number, syntax in enumerate(SYNTAXES):
            paths = make_series(Path(name) / str(number), 1, 64, 64, transfer_syntax=syntax)
            paths.append(make_enhanced(Path(name) / f"{number}.dcm", 2, 64, 64, transfer_syntax=syntax))
            contents = [path.read_bytes() for path in paths]
            found[str(syntax)] = [one[144 + int.from_bytes(one[140:144], "little") :] for one in contents]
            assert all(dcmread(BytesIO(one)).file_meta.TransferSyntaxUID == syntax for one in contents)
    return found


def requests() -> list[bytes]:
    """A-ASSOCIATE-RQs: a plain one, and one with everything that can be negotiated."""
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "SCANNER", "ONENEX"
    contexts = [build_context(abstract, [transfer]) for abstract, transfer in CONTEXTS]
    for number, one in enumerate(contexts):
        one.context_id = 2 * number + 1
    request.presentation_context_definition_list = contexts
    longest, implementation, version = MaximumLengthNotification(), ImplementationClassUIDNotification(), ImplementationVersionNameNotification()
    longest.maximum_length_received, implementation.implementation_class_uid = 16_384, "1.2.3"
    version.implementation_version_name = "FUZZ"
    window, extended, common, identity = (
        AsynchronousOperationsWindowNegotiation(), SOPClassExtendedNegotiation(), SOPClassCommonExtendedNegotiation(), UserIdentityNegotiation(),
    )  # fmt: skip
    window.maximum_number_operations_invoked = 5
    extended.sop_class_uid, extended.service_class_application_information = raw.MR, b"\2\0\3\0\1\0"
    common.sop_class_uid, common.service_class_uid, common.related_general_sop_class_identification = raw.MR, "1.2.840.10008.4.2", [raw.MR]
    identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"user", b"password"
    roles = [build_role(COMMITMENT, scu_role=True, scp_role=True), build_role(raw.MR, scu_role=True)]
    request.user_information = [longest, implementation, version, window, extended, common, identity, *roles]
    rich = A_ASSOCIATE_RQ()
    rich.from_primitive(request)
    return [raw.associate_rq(CONTEXTS), bytes(rich.encode())]


def messages(data_sets: Sequence[bytes]) -> list[list[bytes]]:
    """P-DATA-TFs of whole messages, each message a list; contexts are those of `CONTEXTS`."""
    step, report = dimse_primitives.N_CREATE(), dimse_primitives.N_EVENT_REPORT()
    step.MessageID, step.AffectedSOPClassUID, step.AffectedSOPInstanceUID = 1, MPPS, "1.2.3.9"
    step.AttributeList = _encoded(_performed("IN PROGRESS"))
    report.MessageID, report.AffectedSOPClassUID, report.AffectedSOPInstanceUID, report.EventTypeID = 1, COMMITMENT, "1.2.840.10008.1.20.1.1", 1
    report.EventInformation = _encoded(_promise())
    change = dimse_primitives.N_SET()
    change.MessageID, change.RequestedSOPClassUID, change.RequestedSOPInstanceUID = 1, MPPS, "1.2.3.9"
    change.ModificationList = _encoded(_performed("COMPLETED"))
    found = [_message(dimse_messages.N_CREATE_RQ(), step, 7), _message(dimse_messages.N_EVENT_REPORT_RQ(), report, 9)]
    found += [_message(dimse_messages.N_SET_RQ(), change, 7), [raw.fragment(raw.echo_rq(), command=True, context=5)]]
    for data in data_sets:
        half = len(data) // 2
        command = raw.fragment(raw.store_rq(raw.MR, "1.2.3.4"), command=True)
        found.append([command, raw.fragment(data[:half], command=False, last=False), raw.fragment(data[half:], command=False)])
    return found


def _message(kind: dimse_messages.DIMSEMessage, primitive: object, context: int) -> list[bytes]:
    kind.primitive_to_message(primitive)  # type: ignore[arg-type]
    fragments = []
    for piece in kind.encode_msg(context, 16_384):
        for _, data in piece.presentation_data_value_list:
            fragments.append(raw.fragment(data[1:], command=bool(data[0] & 1), last=bool(data[0] & 2), context=context))
    return fragments


def _encoded(dataset: Dataset) -> BytesIO:
    encoded = encode(dataset, True, True)
    assert encoded is not None
    return BytesIO(encoded)


def _performed(status: str) -> Dataset:
    dataset, series, image, scheduled = Dataset(), Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = raw.MR, "1.2.3.4"
    series.SeriesInstanceUID, series.ReferencedImageSequence = "1.2.3.1", [image]
    scheduled.StudyInstanceUID = "1.2.3"
    dataset.PerformedProcedureStepStatus = status
    dataset.ScheduledStepAttributesSequence, dataset.PerformedSeriesSequence = [scheduled], [series]
    return dataset


def _promise() -> Dataset:
    dataset, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = raw.MR, "1.2.3.4"
    dataset.TransactionUID, dataset.ReferencedSOPSequence = "1.2.3.99", [image]
    return dataset
