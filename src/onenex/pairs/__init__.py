"""From a hospital's folders to training pairs: archive → find → match → register → quality → manifest, run by build."""
