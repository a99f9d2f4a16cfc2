"""What a command line may say.

Owns the parser, types of numbers, options that several scripts have, TrainingArguments, and which precision a device
computes in. Takes words, gives settled options. It must not read data or load a model.
"""
