"""Tables from elsewhere: published studies with their printed numbers, and anybody's runs.

=========================  =========================================================================
module                     content
=========================  =========================================================================
studies                    the studies by name
published                  a printed number, the recomputed one, and when they agree
raw_data                   the tables of Yarally et al., checked and brought to one spelling
runs_table                 anybody's table of runs: which columns are factors?
result_columns             which columns of such a table were measured
exported                   the same of what ``joulelab export`` writes
yarally2023_printed        what Yarally et al. print (CAIN 2023)
yarally2023_tuning         the same from their raw data: tables I and III
yarally2023_architecture   the same: tables II, IV and V
yarally2023                both together, for the files of a folder
xu2023...                  Xu et al. (HICSS 2023): architectures, regions, instruments
codecarbon_rows            CodeCarbon's emissions.csv, whose readings go on counting
codecarbon_rules           which of them do, row by row
delrey2023...              del Rey et al. (SEAA 2023): predictions on their power traces
=========================  =========================================================================
"""
