"""What is measured on a matched and registered pair, and the figure that explains the limits."""
