"""Defaults that help texts name and rooms use."""

DEMO_MODEL = "demo"
# Of models whose rows lie end to end, and of those whose rows are padded.
CPU_MICRO_BATCH_TOKENS, CPU_PADDED_TOKENS = 3072, 1024
MAX_LENGTH, DOC_STRIDE, N_BEST_SIZE, NULL_SCORE_THRESHOLD = 512, 128, 20, 0.0
REPORT_MAX_POINTS = 150_000
