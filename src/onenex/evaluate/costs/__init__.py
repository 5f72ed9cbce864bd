"""`onenex benchmark archive` and `cohort`: what large archives and cohorts cost in time and memory."""
