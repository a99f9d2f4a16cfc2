"""Suspects: how suspicious the label of every row is, of what kind the suspicion is, and what could stand there.

Takes recordings, out of fold or from training, and the rows that they are of; gives a ranked table, its figure and its
files. It must not change a label.
"""
