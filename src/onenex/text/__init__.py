"""The text condition: an `Acquisition` becomes phrases, phrases become tokens that the networks attend to."""
