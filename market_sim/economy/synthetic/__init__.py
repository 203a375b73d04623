"""SYNTHETIC raw evaluation runs: made-up samples of models nobody ran, in the published format.

Real runs are gigabytes that cannot be shipped.  These stand in for them in tests and benchmarks: as long, as
varied, read by the same reader, and better in one respect: whoever made them knows the truth.  Every file,
record and model name says that it is synthetic.  Nothing may be concluded about a model from them.

    law.py     what a model does on a question: the law that samples are drawn from
    truth.py   the curves that infinitely many questions of a law would give, exactly
    runs.py    drawing samples and writing files
    fit.py     the parameters of data/synthetic_laws.csv, fitted to the bundled curves

    python -m market_sim.economy.synthetic.runs --help     write files
    python -m market_sim.economy.synthetic.fit             fit again
"""
