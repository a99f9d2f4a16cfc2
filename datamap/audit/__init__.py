"""Audit: what a score of a data set may owe to leakage, repeats, contradictions and shortcuts; takes checked examples,
gives tables, figures and a split by groups; trains no language model."""
