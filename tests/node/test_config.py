"""node.toml: every wrong value is named with its table and key, nobody may send by default, and every key says what it's for."""

import ast
import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel

from onenex.errors import NodeError
from onenex.node import config as whole
from onenex.node import tables
from onenex.node.config import NodeConfig, load_config

REPOSITORY = Path(__file__).resolve().parents[2]
NODE = '[node]\nfolder = "spool"\n'
PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "10.1.2.10"\nport = 104\n'
STOW = '[[destinations]]\nname = "web"\nkind = "stow"\nurl = "https://pacs/dicom-web"\n'
TLS = '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\nauthorities = "a.pem"\n'


def load(folder: Path, text: str) -> NodeConfig:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def models() -> list[type[BaseModel]]:
    found = [NodeConfig, *(one for one in vars(tables).values() if inspect.isclass(one) and issubclass(one, tables.Strict))]
    return [one for one in found if one is not tables.Strict]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "[node]", "missing"),
        (NODE, "[destinations]", "missing"),
        ("destinations = []\n" + NODE, "[destinations]", "at least 1"),
        ("[node]\n" + PACS, "[node] folder", "missing"),
        (NODE + "prot = 104\n" + PACS, "[node] prot", "no such key"),
        (NODE + PACS + "[nodes]\n", "[nodes]", "no such key"),
        (NODE + PACS + "[limits]\nobject_gb = 1\n", "[limits] object_gb", "no such key"),
        (NODE + "port = 65536\n" + PACS, "[node] port", "65535, not 65536"),
        (NODE + "port = -1\n" + PACS, "[node] port", "0, not -1"),
        (NODE + 'port = "dicom"\n' + PACS, "[node] port", "not 'dicom'"),
        (NODE + "workers = 0\n" + PACS, "[node] workers", "not 0"),
        (NODE + "lease_s = nan\n" + PACS, "[node] lease_s", "finite"),
        (NODE + 'device = "gpu"\n' + PACS, "[node] device", "not 'gpu'"),
        (NODE + 'ae_title = "SEVENTEEN LETTERS"\n' + PACS, "[node] ae_title", "16"),
        (NODE + 'ae_title = "A\\\\B"\n' + PACS, "[node] ae_title", "pattern"),
        (NODE + 'ae_title = "   "\n' + PACS, "[node] ae_title", "pattern"),
        (NODE + PACS + "[completion]\nquiet_s = inf\n", "[completion] quiet_s", "finite"),
        (NODE + PACS + "[completion]\nquiet_s = 0\n", "[completion] quiet_s", "not 0"),
        (NODE + PACS + "[sending]\ngive_up_days = -7\n", "[sending] give_up_days", "not -7"),
        (NODE + PACS + "[retention]\nhigh_water_gb = 0\n", "[retention] high_water_gb", "not 0"),
        (NODE + PACS + "[limits]\nassociations = 501\n", "[limits] associations", "not 501"),
        (NODE + PACS + '[tls]\ncertificate = "c.pem"\n', "[tls] key", "missing"),
        (NODE + PACS + '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n', "[tls] authorities", "missing"),
        (NODE + PACS + "tls = true\n", "the whole", "add a [tls] table"),
        (NODE + PACS + '[status]\nkey = "k.pem"\n', "[status]", "no certificate"),
        (NODE + PACS + '[[peers]]\nae_title = "MR"\n', "[[peers]] number 1 addresses", "missing"),
        (NODE + PACS + '[[peers]]\nae_title = "MR"\naddresses = []\n', "[[peers]] number 1 addresses", "at least 1"),
        (NODE + PACS + '[[peers]]\nae_title = "MR"\naddresses = ["10.1.2"]\n', "[[peers]] number 1 addresses", "10.1.2"),
        (NODE + PACS + PACS, "the whole", "two destinations have the same name"),
        (NODE + PACS + STOW.replace("url", "uri"), "[[destinations]] number 2 uri", "no such key"),
        (NODE + STOW.replace("https", "ftp"), "[[destinations]] number 1", "http(s)"),
        (NODE + STOW + 'user = "u"\n', "[[destinations]] number 1", "user and password_file together"),
        (NODE + STOW + 'user = "u"\npassword_file = "p"\ntoken_file = "t"\n', "[[destinations]] number 1", "not all of them"),
        (NODE + STOW + 'ae_title = "PACS"\n', "[[destinations]] number 1", "not for kind 'stow'"),
        (NODE + PACS + 'url = "https://pacs"\n', "[[destinations]] number 1", "not for kind 'dicom'"),
        (NODE + PACS.replace("104", "0"), "[[destinations]] number 1", "needs ae_title, host and port"),
        (NODE + PACS.replace('"pacs"', '"pa cs"'), "[[destinations]] number 1 name", "pattern"),
        (NODE + PACS + '[[rules]]\nname = "r"\ndestinations = ["pacs2"]\n', "the whole", "rule 'r' names destinations that there are not: pacs2"),
        (NODE + PACS + '[[rules]]\nname = "r"\naction = "drop"\n', "[[rules]] number 1 action", "not 'drop'"),
        (NODE + PACS + '[[rules]]\nname = "r"\nmode = "best"\n', "[[rules]] number 1 mode", "not 'best'"),
        (NODE + PACS + '[[rules]]\nname = "r"\nstrength = 1.5\n', "[[rules]] number 1 strength", "not 1.5"),
        (NODE + PACS + '[[rules]]\nname = "a"\n[[rules]]\nname = "a"\n', "the whole", "two rules have the same name"),
        (NODE + PACS + f'[[rules]]\nname = "r"\nsuffix = "{"s" * 33}"\n', "[[rules]] number 1 suffix", "32"),
        ("[node\n", "is no TOML", "line 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(NodeError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'node.toml'}")
    assert place in message
    assert words in message
    assert "\n" not in message
    assert "pydantic" not in message


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"\[node\] port: .*; \[completion\] quiet: .*no such key"):
        load(tmp_path, NODE + "port = 99999\n" + PACS + "[completion]\nquiet = 9\n")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="cannot be read"):
        load_config(tmp_path / "gone.toml")
    (tmp_path / "node.toml").write_bytes(b"\xff\xfe[\0")
    with pytest.raises(NodeError, match="cannot be read"):
        load_config(tmp_path / "node.toml")


def test_nobody_may_send_by_default_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "\ufeff" + NODE + 'weights = "/w.safetensors"\n' + PACS + STOW + 'token_file = "token"\n' + TLS)
    assert config.peers == ()
    assert config.node.folder == tmp_path / "spool"
    assert config.node.weights == Path("/w.safetensors")
    assert config.tls is not None
    assert config.tls.authorities == tmp_path / "a.pem"
    assert config.destination("web").token_file == tmp_path / "token"
    with pytest.raises(NodeError, match=r"'gone' is not in node\.toml any more"):
        config.destination("gone")


def test_nothing_changes_once_it_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, NODE + PACS)
    with pytest.raises(ValueError, match="frozen"):
        config.node.port = 1


def test_the_example_loads_and_holds_what_it_says() -> None:
    config = load_config(REPOSITORY / "deploy" / "node.toml")
    assert [one.ae_title for one in config.peers] == ["MR1"]
    assert [rule.action for rule in config.rules] == ["pass", "denoise"]
    assert config.status.password_file is None


def test_every_key_says_what_it_is_for() -> None:
    missing = []
    for module in (tables, whole):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.ClassDef) or not any(one.__name__ == node.name for one in models()):
                continue
            for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
                    if not said:
                        missing.append(f"{node.name}.{statement.target.id}")
    assert len(models()) == 11
    assert missing == []
