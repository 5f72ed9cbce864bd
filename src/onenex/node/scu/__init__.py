"""The sender's parts: C-STORE, STOW-RS, storage commitment."""
