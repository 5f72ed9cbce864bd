"""Rival denoisers behind one Protocol."""
