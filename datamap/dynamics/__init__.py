"""What is recorded while a model learns, and what follows from it.

Owns the fold of windows into examples, metrics over epochs, regions, the files of a recording, its figures and
samples. It must not load a model.
"""
