"""A name becomes checked rows with ids.

Owns hub, directories and files in every layout, columns, answers and where they stand, ids, repairs and their list,
splits and samples, question types. Takes a name, gives canonical frames. It must not know tokens or models.
"""
