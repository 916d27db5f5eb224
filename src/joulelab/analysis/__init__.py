"""Statistics of energy and accuracy: pure functions from data frame to data frame.

This package does not know about studies, stores or meters. Every function takes a frame with one
row per run (or per round, if stated) and the names of its columns, and does not modify the frame.

================= ==================================================================================
module            question
================= ==================================================================================
observations      which runs were measured together, so count once?
negative_energy   which readings are zero, negative or infinite, so cannot be energies?
convergence       score of each round, optimum round, and its uncertainty
variation         how much does the energy of a configuration vary from run to run?
assumptions       are the energies normally distributed, with equal variances?
kruskal           which factor moves energy over all runs, how strongly, and in what order?
stratified        the same with the other factors held fixed; which levels differ?
posthoc           which configurations differ in energy; are there enough runs to show it?
interaction       do factors act together? (factorial ANOVA, aligned rank transform)
two_samples       how often is one sample larger, and by how much? (Cliff, Wilcoxon, Hodges-Lehmann)
comparison        means, ratios and differences with their intervals (Student, Welch)
search_cost       what do searches spend for a score, and have at equal cost? (Kaplan-Meier)
ranking           which treatment is best over many blocks, and is that more than chance? (Friedman)
coupling          does time predict energy, and where does a faster one use more energy?
factor_increase   by how much does a factor raise energy?
front             which points does no other beat in both energy and accuracy?
trade_off         which configurations are not beaten in both energy and accuracy?
batching          what does a request cost and how long does it wait; which policy takes least?
trend             does a figure of networks change over the years; growth, and records of accuracy
correlation       do two figures go together? (Pearson, Lin, Spearman)
places            effect of the place compared with the configuration, in grams of CO2e
agreement         do two instruments agree; calibration factor
line              the straight line between two instruments (Deming, Passing-Bablok)
prediction        total energy of a training from its power so far (STEP)
claims            which findings of the paper do the data support?
resampling        uncertainty of a statistic by resampling (bootstrap)
rounding          does a sample vary beyond rounding?
frames            columns, missing values, groups, levels and frames of results
================= ==================================================================================

Missing values: a run without a value that a statistic needs is dropped, and the result has their
number (column or attribute ``dropped``). An undefined statistic is NaN, and the column or attribute
``reason`` says why; otherwise it is empty.

Import from the modules, not from the package: some load `scipy.stats`, which takes a second.
"""
