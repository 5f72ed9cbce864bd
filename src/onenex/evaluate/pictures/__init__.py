"""`onenex benchmark pictures`: what the model does to scans, to be looked at."""
