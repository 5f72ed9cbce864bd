"""Which files of an archive are new or changed, and what is kept of each between two runs."""
