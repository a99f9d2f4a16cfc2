"""The rooms of the suite, each named by what it owns."""
