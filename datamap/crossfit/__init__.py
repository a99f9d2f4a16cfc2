"""Out-of-fold recordings: every example is looked at by a model that trained on none of its context's examples.

Owns the folds, the passes over what a fold holds out, the state of an unfinished run and the files of a finished one.
Takes examples, a way to load the model and the settings of a run; gives a recording and its predictions. It must not
judge labels.
"""
