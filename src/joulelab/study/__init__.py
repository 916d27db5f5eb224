"""Designed experiments: study file, design, plan, runner, store.

::

    study file ─ spec ─ plan ─ runner ─ executor ─ store ─ results
                                 │                   │
                              strategy           (analysis, report)
"""
