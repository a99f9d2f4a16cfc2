"""Vectors become groups.

Owns reduction, density clustering and its trees, quality, words, figures and the files of clusters. It must not load
a model.
"""
