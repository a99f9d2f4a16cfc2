"""What is trained on instead of everything, and whether it helped: arms, weights, receipts.

Takes a recording's metrics and finished evaluations; gives arms of equal size, weights of rows, and the differences
between arms with what they are worth. It trains nothing and changes no row.
"""
