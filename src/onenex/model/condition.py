"""From prompts to what the networks are told: tokens of the phrase table, padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence

from onenex.nets.attention import Condition
from onenex.text.tokens import PhraseTable, batch


def tell(table: PhraseTable, prompts: Sequence[Sequence[str]]) -> tuple[Condition, tuple[str, ...]]:
    """Return the condition of a batch of prompts, and a sentence for each phrase that another one had to speak for.

    Parameters
    ----------
    table
        Tokens of the phrases; with gradients when its tokens have them.
    prompts
        One a image, phrases as `onenex.text.prompt.phrases_of` returns them.
    """
    encoded = [table.encode(prompt) for prompt in prompts]
    tokens = batch(encoded)
    return Condition(tokens.tokens_BTD, tokens.mask_BT), tuple(dict.fromkeys(line for one in encoded for line in one.fallbacks))
