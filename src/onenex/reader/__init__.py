"""Blinded reader studies: design, reading in the browser, analysis.

protocol (study.toml) ─▶ design ─▶ plan ─▶ create: images and sealed table ─▶ app: readers read ─▶ unblind ─▶ analyse ─▶ report
"""
