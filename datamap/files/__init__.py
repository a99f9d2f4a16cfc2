"""How a file is written and read.

Owns atomic writers and their readers, file names, manifests and hashes, checkpoints of a directory, the look of
figures. It must not know what the numbers mean.
"""
