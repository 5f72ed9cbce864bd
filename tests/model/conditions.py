"""Conditions for tests of conditioned networks: random tokens, no text encoder."""

import torch

from onenex.nets.attention import TOKEN_WIDTH, Condition


def random_condition(n: int = 1, n_tokens: int = 9, seed: int = 0) -> Condition:
    tokens = torch.randn(1, n_tokens, TOKEN_WIDTH, generator=torch.Generator().manual_seed(seed))
    return Condition(tokens, torch.ones(1, n_tokens, dtype=torch.bool)).repeated(n)
