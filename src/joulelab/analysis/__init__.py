"""Statistics of energy and accuracy: pure functions from data frame to data frame.

This room knows nothing of studies, stores or meters. Every function takes a frame with a row a run
(or a row a round, where it says so) and the names of its columns, and leaves that frame as it is.

================= ==================================================================================
module            question
================= ==================================================================================
observations      which runs were measured together, and so count once?
negative_energy   which readings are zero, negative or infinite, and so cannot be energies?
convergence       how did each round score, when was the optimum reached, and how sure is it?
variation         how much does the energy of a configuration vary from run to run?
assumptions       are the energies normally distributed, and do they scatter alike?
kruskal           which factor moves energy over all runs, how strongly, and in what order?
stratified        does it, the other factors held fixed, and which of its levels differ?
posthoc           which configurations differ in energy, and could so few runs show it at all?
interaction       do factors act together? (factorial ANOVA, aligned rank transform)
two_samples       how often is one sample larger, and by how much? (Cliff, Wilcoxon, Hodges-Lehmann)
comparison        means, ratios and differences with their intervals (Student, Welch)
ranking           which treatment is best over many blocks, and is that more than chance? (Friedman)
coupling          does time stand for energy, and where is the faster one not the frugal one?
factor_increase   by how much does a factor raise energy?
trade_off         which configurations are not beaten in both energy and accuracy?
batching          what does a request cost and how long does it wait; which policy takes least?
trend             does a figure of networks change over the years; growth, and records of accuracy
correlation       do two figures go together? (Pearson, Lin, Spearman)
places            how large is the place against the configuration, in grams of CO2e?
agreement         do two instruments agree, and by which factor is one off?
line              the straight line between two instruments (Deming, Passing-Bablok)
prediction        what will a training take in the end, from its power so far? (STEP)
claims            which findings of the paper do the data bear out?
resampling        how far would a statistic move if the sample were drawn again? (bootstrap)
rounding          does a sample vary at all, or is that its last digit?
frames            columns, missing values, groups, levels and frames of results
================= ==================================================================================

Missing values: a run without the value that a statistic needs is left out of that statistic, and
the result says how many were (column or attribute ``dropped``). A statistic that is not defined is
NaN, and the column or attribute ``reason`` says why; it is empty otherwise.

Import from the modules, not from the package: some load `scipy.stats`, which takes a second.
"""
