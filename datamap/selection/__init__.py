"""Owns arms of a training set, weights of its rows and receipts of what they did; takes frames, trains nothing."""
