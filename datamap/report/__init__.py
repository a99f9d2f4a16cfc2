"""The page on which a person looks at the examples.

Owns report.html: its rows, sentences, maps, style and scripts. Takes joined frames. It must not load anything from a
network.
"""
