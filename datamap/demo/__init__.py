"""The built-in data sets: clinical notes with questions, planted errors, sentence pairs.

Takes a name, gives rows that are the same on every machine. It must not read or write files.
"""
