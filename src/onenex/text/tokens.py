"""Phrases → tokens from the table inside the weights file; needs neither transformers nor peft."""

# shapes: B batch, T token, D token width (384)

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from onenex.errors import ModelError, OutOfDomain, WeightsMismatch
from onenex.text.phrases import UNKNOWNS, slot_index

WIDTH = 384
"""Numbers in a token (MiniLM-L6)."""
_LORA = "lora."

Encode = Callable[[Sequence[str]], Sequence[Tensor]]
"""Phrases → the token states (T, D) of each; a `PhraseEncoder` is one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """The tokens of one prompt."""

    tokens_TD: Tensor
    """float32, the phrases one after another."""
    slot_T: Tensor
    """int64, place in `SLOTS` of the slot that each token belongs to."""
    fallbacks: tuple[str, ...] = ()
    """A sentence for each phrase that had to be replaced: which, why, and by what."""


class TokenBatch(NamedTuple):
    """Prompts of different lengths, side by side."""

    tokens_BTD: Tensor
    """Padded with zeros."""
    mask_BT: Tensor
    """bool, True where the token is real."""
    slot_BT: Tensor
    """int64, 0 where padded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PhraseTable:
    """Phrases encoded once, and the LoRA branch that encoded them."""

    tokens: Mapping[str, Tensor]
    """Phrase → (T, D) float32, real tokens only."""
    lora: Mapping[str, Tensor] = field(default_factory=dict)
    """`PhraseEncoder.lora_state()` of the encoder that made the tokens; empty for MiniLM as it is."""

    def encode(self, phrases: Sequence[str], *, encoder: Encode | None = None) -> Encoded:
        """Return the tokens of a prompt.

        A phrase outside the table is encoded afresh, without gradients, when the text encoder is installed (or given);
        otherwise its slot's unknown phrase speaks for it, and `fallbacks` says so.

        Parameters
        ----------
        phrases
            At least one; see `onenex.text.prompt.phrases_of`.
        encoder
            For phrases outside the table; when None, MiniLM with this table's LoRA branch if it's installed.

        Raises
        ------
        OutOfDomain
            No phrases, or a text that is no phrase.
        WeightsMismatch
            The table lacks the unknown phrase that it has to fall back to.
        """
        if not phrases:
            raise OutOfDomain("a prompt without phrases has no tokens: give at least one, for example 'Organ: unknown'")
        slots = torch.tensor([slot_index(text) for text in phrases])
        strangers = [text for text in dict.fromkeys(phrases) if text not in self.tokens]
        found, fallbacks = self._tokens_of_strangers(strangers, encoder) if strangers else ({}, ())
        parts = [self.tokens[text] if text in self.tokens else found[text] for text in phrases]
        lengths = torch.tensor([len(part) for part in parts])
        slot_T = torch.repeat_interleave(slots, lengths).to(parts[0].device)
        return Encoded(tokens_TD=torch.cat(parts), slot_T=slot_T, fallbacks=fallbacks)

    def to(self, device: torch.device | str) -> PhraseTable:
        """Return the table with its tokens on a device."""
        return PhraseTable(tokens={text: value.to(device) for text, value in self.tokens.items()}, lora=self.lora)

    def to_tensors(self) -> tuple[dict[str, Tensor], str]:
        """Return the table as tensors for a safetensors file, and the JSON text that goes into its metadata."""
        packed = torch.cat([value.detach().float() for value in self.tokens.values()]).cpu().contiguous()
        lora = {_LORA + name: value.detach().float().cpu().contiguous() for name, value in self.lora.items()}
        lengths = [len(value) for value in self.tokens.values()]
        return {"tokens": packed, **lora}, json.dumps({"phrases": list(self.tokens), "lengths": lengths})

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: str) -> PhraseTable:
        """Return the table that `to_tensors` packed.

        Raises
        ------
        WeightsMismatch
            Tensors and metadata don't belong together.
        """
        try:
            described = json.loads(metadata)
            phrases, lengths, packed = described["phrases"], described["lengths"], tensors["tokens"]
            parts = torch.split(packed, lengths)
            table = dict(zip(phrases, parts, strict=True))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsMismatch(f"the phrase table cannot be read ({error}): the weights file is damaged or of another version") from error
        if packed.ndim != 2 or packed.shape[1] != WIDTH or len(table) != len(phrases):
            raise WeightsMismatch(f"the phrase table has shape {tuple(packed.shape)} for {len(phrases)} phrases: tokens of width {WIDTH} are needed")
        lora = {name.removeprefix(_LORA): value for name, value in tensors.items() if name.startswith(_LORA)}
        return cls(tokens=table, lora=lora)

    @cached_property
    def _own_encoder(self) -> Encode:
        """MiniLM with this table's LoRA branch; loaded at the first phrase outside the table."""
        from onenex.text.encoder import with_lora

        return with_lora(self.lora)

    def _tokens_of_strangers(self, phrases: Sequence[str], encoder: Encode | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """Return the tokens of phrases outside the table, and a sentence for each that another phrase speaks for."""
        try:
            chosen = encoder or self._own_encoder
        except ModelError as error:
            stand_ins = {text: UNKNOWNS[slot_index(text)] for text in phrases}
            found = {text: self._unknown(stand_in) for text, stand_in in stand_ins.items()}
            return found, tuple(
                f"'{text}' is not among the phrases that these weights know, so '{stand_in}' was used instead: {error}"
                for text, stand_in in stand_ins.items()
            )
        device = next((value.device for value in self.tokens.values()), torch.device("cpu"))
        with torch.no_grad():
            return {text: value.to(device) for text, value in zip(phrases, chosen(phrases), strict=True)}, ()

    def _unknown(self, stand_in: str) -> Tensor:
        if stand_in not in self.tokens:
            raise WeightsMismatch(f"the phrase table has no '{stand_in}': the weights file is damaged or of another version")
        return self.tokens[stand_in]


def batch(prompts: Sequence[Encoded]) -> TokenBatch:
    """Return the tokens of several prompts, padded to the longest.

    Raises
    ------
    OutOfDomain
        No prompts.
    """
    if not prompts:
        raise OutOfDomain("a batch of no prompts has no tokens: give at least one")
    tokens_BTD = pad_sequence([prompt.tokens_TD for prompt in prompts], batch_first=True)
    slot_BT = pad_sequence([prompt.slot_T for prompt in prompts], batch_first=True)
    lengths_B = torch.tensor([len(prompt.tokens_TD) for prompt in prompts], device=tokens_BTD.device)
    mask_BT = torch.arange(tokens_BTD.shape[1], device=tokens_BTD.device) < lengths_B[:, None]
    return TokenBatch(tokens_BTD, mask_BT, slot_BT)
