"""Rows become vectors.

Owns which tokens of which window are embedded, shards, and the files of vectors with their ids. It must not cluster.
"""
