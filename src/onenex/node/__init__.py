"""The DICOM node: what a scanner sends arrives at the PACS untouched, and denoised beside it.

scanner ──▶ receive ──▶ spool + queue ──▶ worker ──▶ send ──▶ PACS
                               └──▶ status page, metrics, audit
"""
