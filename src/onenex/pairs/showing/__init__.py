"""The contact sheet: a page that shows every pair, accepted or rejected, and why."""
