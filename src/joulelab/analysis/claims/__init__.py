"""The findings of Yarally et al. (CAIN 2023), each with a test on new data.

A finding that is not significant is not refuted, and a test that finds no difference does not prove
"no difference". So every claim has three outcomes: it holds, it does not, or the data cannot
decide. Each claim has its decision rule, which always uses an interval, never a point.
"""
