"""OneNEX: fast, noisy MRI scans in, reference-quality images out."""

__version__ = "0.1.0"
