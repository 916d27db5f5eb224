"""Foreign tables: published studies with their printed numbers, and tables of runs.

=========================  =========================================================================
module                     content
=========================  =========================================================================
published                  the studies by name; printed and recomputed numbers, and their agreement
printed/                   printed numbers, one table per study
yarally2023                Yarally et al. (CAIN 2023): the files of a folder, both experiments
yarally2023_data           their tables, checked and normalised
yarally2023_tuning         tables I and III from them
yarally2023_architecture   tables II, IV and V
xu2023                     Xu et al. (HICSS 2023): architectures, regions, instruments
delrey2023                 del Rey et al. (SEAA 2023): predictions on their power traces
delrey2023_data            their traces and their table of runs
codecarbon_rows            CodeCarbon's emissions.csv with its cumulative readings
codecarbon_rules           which of them are cumulative, row by row
runs_table                 any table of runs: detection of factors and results
=========================  =========================================================================
"""
