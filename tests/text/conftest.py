"""The encoder, loaded once a file and with the network out of reach."""

import socket
from collections.abc import Iterator

import pytest

from onenex.text.encoder import HOW_TO_INSTALL, PhraseEncoder, available


@pytest.fixture(scope="module")
def fresh_encoder() -> PhraseEncoder:
    """MiniLM as it is. Tests must not change it: see `encoder`."""
    if not available():
        pytest.skip(f"no text encoder: {HOW_TO_INSTALL}")

    def refuse(*_: object) -> None:
        raise AssertionError("loading the encoder reached for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        return PhraseEncoder()


@pytest.fixture
def encoder(fresh_encoder: PhraseEncoder) -> Iterator[PhraseEncoder]:
    """MiniLM as it is, whose LoRA branch a test may change."""
    before = fresh_encoder.lora_state()
    yield fresh_encoder
    fresh_encoder.load_lora(before)
    fresh_encoder.zero_grad()
    fresh_encoder.eval()
