"""The hunt for anything that betrays an arm: pages, headers, names, sizes, caches and times of what is served of a real study."""

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kruskal, mannwhitneyu

from onenex.reader.create import SEALED, create
from onenex.reader.records import Presentation
from onenex.reader.seal import unseal
from onenex.reader.store import Store
from onenex.web.passwords import hash_password
from tests.reader.served import HASH, PASSWORD, Reader, reader, serving
from tests.reader.sources import ARMS, EVERY_WAY, PASSPHRASE, write_protocol

READERS = ("anna", "bela")
SECRETS = (*ARMS, "kniefall", "Pseudonym", "IDENT", "Meier", "SECRET", "/patient", "dicom", PASSPHRASE, "1.2.826", "2.25.", ".bin", "sealed", "/tmp")
"""Arms, cases, patients, folders and descriptions of the study that is made, and what else would tell."""
PLAIN = (r"[0-9a-f]{64}", r"[0-9a-f]{32}", r"case \d+ of \d+", r"Session \d", r"Case \d+", "anna|bela")
"""What differs from page to page whatever the arm: tokens, keys, place in the session, who reads."""
N_FETCHES = 40


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hunted")
    create(write_protocol(folder, 4, EVERY_WAY.replace("wash_out_days = 14", "wash_out_days = 0")), folder / "STUDY", PASSPHRASE)
    store = Store(folder / "STUDY")
    for name in READERS:
        store.add_reader(name, HASH)
    store.close()
    assert hash_password(PASSWORD, cost=10) != HASH  # salted
    return folder / "STUDY"


@pytest.fixture(scope="module")
def plan(study: Path) -> tuple[Presentation, ...]:
    return tuple(unseal((study / SEALED).read_bytes(), PASSPHRASE).presentations)


@pytest.fixture
def address(study: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copytree(study, tmp_path / "copy")
    with serving(tmp_path / "copy") as address:
        yield address


def plain(text: str) -> str:
    for pattern in PLAIN:
        text = re.sub(pattern, "…", text)
    return text


def fetched(one: Reader, path: str) -> tuple[int, str, bytes]:
    """Return status, headers without date and key, and body of what is served."""
    answer = one.http.get(path)
    head = {name: value for name, value in answer.headers.items() if name != "date"}
    assert not {"etag", "last-modified", "age", "content-disposition", "set-cookie", "x-process-time"} & set(head)
    return answer.status_code, plain(repr(sorted(head.items()))), answer.content


def test_what_is_served_is_the_same_for_every_arm(plan: tuple[Presentation, ...], address: str) -> None:
    pages, images, everything = defaultdict(set), defaultdict(set), []
    arms = defaultdict(set)
    for user in READERS:
        with reader(address, user) as one:
            for _ in range(len(plan)):
                found = re.search(r"/read/([0-9a-f]{32})", one.http.get("/").text)
                if found is None:
                    break
                shown = next(each for each in plan if each.key == found[1])
                assert shown.reader == user
                group = (shown.reading, shown.case)
                arms[group].add(shown.arms)
                status, head, body = fetched(one, f"/read/{shown.key}")
                pages[group].add((status, re.sub("'content-length', '[0-9]+'", "", head), plain(body.decode())))
                everything += [head, body.decode()]
                for side in range(len(shown.arms)):
                    for part in ("0", "3", "all"):
                        status, head, raw = fetched(one, f"/image/{shown.key}/{side}/{part}")
                        assert status == 200
                        images[part].add((head, len(raw)))
                        everything.append(head)
                read(one, shown, body.decode())
    assert {len(found) for (name, _), found in arms.items() if name == "quality"} == {len(ARMS)}
    assert {group: len(found) for group, found in pages.items() if len(found) > 1} == {}
    assert {part: len(found) for part, found in images.items()} == {"0": 1, "3": 1, "all": 1}
    assert [word for word in SECRETS for text in everything if word.lower() in text.lower()] == []


def read(one: Reader, shown: Presentation, page: str) -> None:
    """Answer all that a page asks, and finish it."""
    values = {"overall_quality": 1, "preference": 0, "pfirrmann": 1}
    for item, where in re.findall(r'data-item="([^"]*)" data-where="([^"]*)"', page):
        assert one.save(shown.key, item=item, where=where, value=values[item]).status_code == 200
    assert one.finish(shown.key).status_code == 303


def test_files_that_everybody_gets_tell_nothing(address: str) -> None:
    static = Path(__file__).parents[2] / "src" / "onenex" / "reader" / "web" / "pages" / "static"
    with reader(address, "anna") as anna:
        for path in ("/", "/login", "/nothing", *(f"/static/{file.name}" for file in static.iterdir())):
            text = anna.http.get(path).text.lower()
            assert [word for word in (*ARMS, "kniefall", "pseudonym", "meier", "denois", "arm ", "unblind") if word in text] == [], path


def test_refusals_and_errors_tell_nothing(plan: tuple[Presentation, ...], address: str, tmp_path: Path) -> None:
    mine = min((one for one in plan if (one.reader, one.session) == ("anna", 1)), key=lambda one: one.position)
    with reader(address, "anna") as anna:
        texts = [anna.save(mine.key, item=item).text for item in ("overall_quality", "preference", "nothing")]
        texts += [anna.finish(mine.key).text]
        for path in (tmp_path / "copy" / "images").iterdir():
            path.unlink()
        texts += [anna.http.get(f"/image/{mine.key}/0/0").text]
        texts += [anna.http.get(f"/read/{one.key}").text for one in plan]
    assert [word for word in SECRETS for text in texts if word.lower() in text.lower()] == []


def test_times_do_not_tell(plan: tuple[Presentation, ...], address: str) -> None:
    mine = [one for one in plan if (one.reader, one.session, len(one.arms)) == ("anna", 1, 1)]
    times: dict[str, list[float]] = defaultdict(list)
    random = np.random.default_rng(1)
    with reader(address, "anna") as anna:
        for one in random.permutation(np.repeat(np.arange(len(mine)), N_FETCHES)):
            start = time.perf_counter()
            anna.http.get(f"/image/{mine[one].key}/0/all")
            times[mine[one].arms[0]].append(time.perf_counter() - start)
        theirs: list[float] = []
        nobodys: list[float] = []
        foreign = next(one.key for one in plan if one.reader == "bela")
        for number in range(4 * N_FETCHES):
            start = time.perf_counter()
            anna.http.get(f"/image/{foreign if number % 2 else 'f' * 32}/0/all")
            (theirs if number % 2 else nobodys).append(time.perf_counter() - start)
    assert len(times) == len(ARMS)
    assert kruskal(*times.values()).pvalue > 1e-4
    assert mannwhitneyu(theirs, nobodys).pvalue > 1e-4
