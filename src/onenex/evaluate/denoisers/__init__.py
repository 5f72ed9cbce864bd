"""`onenex benchmark denoisers` and `limits`: OneNEX and its classical rivals on every test file; what keeps it from more."""
