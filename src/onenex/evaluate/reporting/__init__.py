"""What the measurements of a cohort say: groups, tests, conclusions, figures, and the page that holds them."""
