"""One file per claim about the market: a function that computes it, with intervals.

The scripts in analysis/ print and draw what these return.  Intervals are of two kinds: over draws of the
measured curves where the market is solved exactly (docs/theory.md 8), over seeds where it is played or
generated.
"""
