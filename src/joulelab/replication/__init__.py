"""Tables from elsewhere: published studies with their printed numbers, and anybody's runs.

=========================  =========================================================================
module                     content
=========================  =========================================================================
published                  the studies by name; a printed number, the recomputed one, do they agree?
printed/                   what each study prints, a table a study
yarally2023                Yarally et al. (CAIN 2023): the files of a folder, both experiments
yarally2023_data           their tables, checked and brought to one spelling
yarally2023_tuning         tables I and III from them
yarally2023_architecture   tables II, IV and V
xu2023                     Xu et al. (HICSS 2023): architectures, regions, instruments
delrey2023                 del Rey et al. (SEAA 2023): predictions on their power traces
delrey2023_data            their traces and their table of runs
codecarbon_rows            CodeCarbon's emissions.csv, whose readings go on counting
codecarbon_rules           which of them do, row by row
runs_table                 anybody's table of runs: which columns are factors, which results?
=========================  =========================================================================
"""
