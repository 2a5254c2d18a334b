"""The matrix of cells: every method on every strategy, proven by running it. To run them, from the checkout's root::

    PYTHONPATH=tests python -m cells.run --ranks 2                               # tiny model, CPU ranks
    PYTHONPATH=tests python -m cells.run --ranks 2 --device cuda --model 1b      # about a billion parameters, GPUs

A cell trains with a checkpoint half-way, audits and saves, resumes from the checkpoint, and has its result loaded by
plain PEFT or Transformers, whose loss must be the run's own. Many cells share one pair of ranks, since starting a rank
takes longer than a cell. ``--out`` is merged, so a run that was cut off goes on with the cells that are missing.

``cells``    what a cell is, and the list of all
``scale``    how large model, rows and batches are
``run``      the parent: chooses cells, starts ranks, judges what they measured
``watching`` a set of ranks from its start to its end
``ranks``    one rank: lives the cells of a job, one after another
``life``     one cell's life; ``reload`` is its result in plain PEFT
``verdict``  whether what was measured will do; ``results`` is the file it goes to
"""
