"""The QA page of a run."""
