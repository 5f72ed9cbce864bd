"""Which scans belong together: same examination, organ, sequence and places; which of two is the faster; which are repeats."""
