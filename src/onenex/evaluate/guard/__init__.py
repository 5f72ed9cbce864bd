"""`onenex benchmark guard`: planted faults, and what the guard makes of them and of honest results."""
