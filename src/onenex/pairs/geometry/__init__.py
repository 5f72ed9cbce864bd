"""Grids, places and motions in patient coordinates."""
