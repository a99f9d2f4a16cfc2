"""What a score on a data set may owe to the data themselves: repeats, leakage, contradictions, templates, shortcuts.

Takes checked examples of one or two splits; gives the level at which every row meets another, pairs, groups that must
stay together, figures by level and a split that keeps to the groups. It trains no language model and changes no row.
"""
