"""The findings of Yarally et al. (CAIN 2023), each with the test that decides it on new data.

A finding that is not significant is not refuted, and "no difference" is not shown by a test that
finds none. So every claim has three outcomes: it holds, it does not, or the data cannot tell. The
rule that decides is written into each claim, and always looks at an interval, never at a point.
"""
