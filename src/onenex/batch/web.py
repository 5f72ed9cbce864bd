"""Series of a DICOMweb server: listed by QIDO-RS, fetched by WADO-RS.

Source: PS3.18 10.6 (Search), 10.4 (Retrieve). A query is asked of the studies, page by page, and each study's series are asked for:
servers differ in which attributes of a study they match in a search for series.
"""

from __future__ import annotations

import re
import sqlite3
import ssl
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from onenex.batch.unit import Access, Kind, Unit, fingerprint, series_hash, series_id
from onenex.errors import DataError

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient

_PREFIX = "dicomweb+"
_PAGE = 200
"""Studies asked for at a time."""
_TIMEOUT_S = (10.0, 120.0)
"""To connect, and between two packets."""
_TRIES, _PAUSE_MS = 4, 1000
"""A request that finds no server, or a busy one, is repeated; pauses double."""
_OF_SERIES = frozenset(
    {"Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "ProtocolName", "PerformedProcedureStepStartDate"}
)
"""Attributes matched among the series of a study; all others are matched among studies."""
_RESERVED = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_UID = re.compile(r"[0-9.]{1,64}")


def is_query(source: str) -> bool:
    """Whether a source is a DICOMweb query: dicomweb+http(s)://HOST/PATH?Attribute=value&…"""
    return source.startswith((f"{_PREFIX}http://", f"{_PREFIX}https://"))


def found(source: str, access: Access | None = None) -> Iterator[Unit]:
    """Yield a unit for each series that a query finds, as the server lists them, each once.

    Parameters
    ----------
    source
        `dicomweb+https://HOST/dicom-web?StudyDate=20260101-20261231&ModalitiesInStudy=MR`; attributes by keyword or by tag.

    Raises
    ------
    DataError
        The server cannot be asked, or refuses; or dicomweb-client is not installed.
    """
    base, of_studies, of_series = _parsed(source)
    with _complaints(base), _client(base, access) as client, _once() as is_new:
        for study in _studies(client, of_studies):
            uid = _uid(study, "0020000D")
            for one in client.search_for_series(uid, search_filters=of_series, fields=["00201209"]):
                if is_new(uid, _uid(one, "0020000E")):
                    yield _unit(base, uid, one)


def fetch(unit: Unit, folder: Path, access: Access | None = None) -> int:
    """Write the instances of a series into `folder`, as the server keeps them; return how many bytes they have.

    Raises
    ------
    DataError
        The server cannot be asked, refuses, or sends fewer images than it promised.
    """
    base, _, tail = unit.files[0].partition("/studies/")
    study, _, series = tail.partition("/series/")
    n_bytes = n_files = 0
    with _complaints(base), _client(base, access) as client:
        for dataset in client.iter_series(study, series, media_types=(("application/dicom", "*"),)):
            path = folder / f"{n_files:06d}.dcm"
            dataset.save_as(path)
            n_files, n_bytes = n_files + 1, n_bytes + path.stat().st_size
    if n_files == 0 or (unit.n_instances is not None and n_files < unit.n_instances):
        raise DataError(f"{base} sent {n_files} of {unit.n_instances or 'some'} images: try again, or look into the server's log")
    return n_bytes


def _parsed(source: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the server's address, what studies must match, and what their series must match."""
    parts = urlsplit(source.removeprefix(_PREFIX))
    if parts.username or parts.password:
        raise DataError("the address of the DICOMweb server holds a user or password, which the ledger would keep: give them as options")
    query = parse_qsl(parts.query)
    wrong = sorted({name for name, _ in query} & _RESERVED)
    if wrong:
        raise DataError(f"{', '.join(wrong)}: a query may name attributes only; --limit ends a run early")
    if len({name for name, _ in query}) < len(query):
        raise DataError("an attribute occurs twice in the DICOMweb query: give each once")
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return base, {name: value for name, value in query if name not in _OF_SERIES}, {name: value for name, value in query if name in _OF_SERIES}


def _studies(client: DICOMwebClient, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield studies page by page; a server that knows no pages sends everything, or the same page again."""
    offset, first = 0, ""
    while True:
        page = client.search_for_studies(limit=_PAGE, offset=offset, search_filters=filters)
        if not page or (offset and _uid(page[0], "0020000D") == first):
            return
        first = _uid(page[0], "0020000D") if offset == 0 else first
        yield from page
        if len(page) != _PAGE:
            return
        offset += _PAGE


def _unit(base: str, study: str, found: dict[str, Any]) -> Unit:
    series, modality, promised = _uid(found, "0020000E"), _value(found, "00080060"), _value(found, "00201209")
    n_instances = int(promised) if promised.isdigit() else None
    address = f"{base}/studies/{study}/series/{series}"
    return Unit(
        id=series_id(study, series),
        kind=Kind.DICOMWEB,
        source=address,
        series=series_hash(series),
        fingerprint=fingerprint([promised]),
        files=(address,),
        n_instances=n_instances,
        problem=f"its modality is {modality}, not MR" if modality not in ("", "MR") else "",
    )


def _value(found: dict[str, Any], tag: str) -> str:
    values = found.get(tag, {}).get("Value") or [""]
    return str(values[0]).strip()


def _uid(found: dict[str, Any], tag: str) -> str:
    value = _value(found, tag)
    if not _UID.fullmatch(value):
        raise ValueError(f"an answer without a valid UID in ({tag[:4]},{tag[4:]})")
    return value


@contextmanager
def _client(base: str, access: Access | None) -> Iterator[DICOMwebClient]:
    try:
        import requests
        from dicomweb_client.api import DICOMwebClient
    except ModuleNotFoundError:
        raise DataError("a DICOMweb server needs dicomweb-client: pip install 'onenex[cluster]'") from None
    with requests.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's and dicomweb-client's remarks on sloppy but readable answers
        session.trust_env = False  # a .netrc would replace the token
        session.verify = ssl.get_default_verify_paths().cafile or True
        if access is not None and access.token:
            session.headers["Authorization"] = f"Bearer {access.token}"
        elif access is not None and access.user:
            session.auth = (access.user, access.password or "")
        client = DICOMwebClient(base, session=session, timeout=_TIMEOUT_S)
        client.set_http_retry_params(max_attempts=_TRIES, wait_exponential_multiplier=_PAUSE_MS)
        yield client


@contextmanager
def _complaints(base: str) -> Iterator[None]:
    """Turn what requests, dicomweb-client and pydicom raise into a sentence; answers may name patients, so they stay out of it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        response = getattr(error, "response", None)
        said = f"HTTP {response.status_code}" if response is not None else type(error).__name__
        raise DataError(f"{base} cannot be asked ({said}): check the address, the query and who may ask") from error


@contextmanager
def _once() -> Iterator[Any]:
    """Yield a function that says whether (study, series) is met for the first time; what was met lies on disk."""
    with tempfile.NamedTemporaryFile(prefix="onenex-qido-", suffix=".sqlite") as file, closing(sqlite3.connect(file.name)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("CREATE TABLE met (study TEXT, series TEXT, PRIMARY KEY (study, series)) WITHOUT ROWID")
        yield lambda study, series: db.execute("INSERT OR IGNORE INTO met VALUES (?, ?)", (study, series)).rowcount == 1
