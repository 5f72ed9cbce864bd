"""The study folder's parts: tables, who may do what, where images lie."""
