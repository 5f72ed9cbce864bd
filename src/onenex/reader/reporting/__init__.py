"""The report's tables and figures."""
