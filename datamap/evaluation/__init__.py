"""Logits become answers, answers become figures.

Owns span search, predictions and their probabilities, exact match, F1 and classification figures with their
intervals, and the files of an evaluation in a directory. It must not train.
"""
