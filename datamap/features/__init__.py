"""Texts become tokens, tokens become windows.

Owns tokens and their places, windows with labels, ablations, padding, batches by a token budget. Takes canonical
frames and a tokenizer. It must not know models, devices or figures.
"""
