"""A host without a container engine: what it is made of, and what runs on it.

`service`, `probe` and `relay` run on the host itself and need the serving set only.
"""
