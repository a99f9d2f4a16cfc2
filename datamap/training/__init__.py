"""The Trainer, and how a device computes fast.

Owns row losses, micro-batches, memory, attention and dropout on a CPU, the features of a run, what a run refuses once
it knows its data. It must not define figures or write files of a recording.
"""
