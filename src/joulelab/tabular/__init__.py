"""Foreign tables: one reader for logs, series, traces and tables of runs.

Three steps, each usable separately::

    joulelab.tabular.reader    bytes of a file  -> Table: named columns of text, lines, remarks
    joulelab.tabular.table     texts of a column -> numbers, with units and decimal commas
    joulelab.tabular.moments   texts of a column -> seconds, and when they were (local_time: zones)

The caller interprets the columns: a power trace, a carbon series, arrivals, runs.
"""
