"""The fast engine: trains the members of a group together, with the reference engine's results.

::

    network (nn.Module)  ─ stacking ─►  StackedNetwork: the layers of n members as one program
                                             │ layers, normalisation, pooling, products
    TrainingTask ─ schedule: how many members a stack, workers, threads ─►  stack_training
                                             │
                                        TrainingResult for each member

A `Population` holds trainings in memory between calls and continues whichever are asked for.

Shapes: N members of a stack, B images of a batch, C, H, W of an image, F features, K classes.
"""
