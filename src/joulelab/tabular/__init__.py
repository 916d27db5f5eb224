"""Tables that others have written: one reader for logs, series, traces and tables of runs.

A folder of three steps, each usable by itself::

    joulelab.tabular.reader    bytes of a file  -> Table: named columns of text, lines, remarks
    joulelab.tabular.table     texts of a column -> numbers, with units and decimal commas
    joulelab.tabular.moments   texts of a column -> seconds, and when they were (local_time: zones)

What a column *means* is for those who ask: a power trace, a carbon series, arrivals, runs.
"""
