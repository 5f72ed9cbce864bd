"""Why fast scans are noisy: noise, k-space, degradation, noise estimation."""
