"""A recording and clusters together.

Owns the join by id, tests of more than chance, findings and their figures. It must not compute again what a script
before it wrote.
"""
