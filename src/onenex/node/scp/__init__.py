"""The storage SCP's parts: who may send, how bytes are read, and how they are acknowledged."""
