"""Speed and memory, each figure beside a plain reference that runs in the same process: `make bench`.

Nothing here asserts a time; every benchmark asserts that the fast answer is the right one.
"""
