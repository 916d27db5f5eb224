"""Statistics of energy and accuracy: pure functions from data frame to data frame.

This room knows nothing of studies, stores or meters. Every function takes a frame with a row a run
(or a row a round, where it says so) and the names of its columns, and leaves that frame as it is.

================= ==================================================================================
module            question
================= ==================================================================================
observations      which runs were measured together, and so count once?
rounds            how well did each round score, over its repetitions?
convergence       in which round was the optimum reached, and what had been spent by then?
optimum           how sure is that optimum, given how the repetitions scatter?
variation         how much does the energy of a configuration vary from run to run?
normality         are the energies normally distributed?
variances         do energies scatter alike in every configuration? (Brown and Forsythe)
kruskal           which factor moves energy over all runs, and how strongly?
stratified        does it, the other factors held fixed, and which of its levels differ?
order             does one factor move energy more than another?
interaction       do factors act together? (factorial ANOVA, aligned rank transform)
dominance         how often does a run of one level take more than a run of another? (Cliff's delta)
ranking           which treatment is best over many blocks, and is that more than chance?
friedman          do the blocks agree in how they rank the treatments?
paired            do two treatments differ over the same blocks? (Wilcoxon, exact)
hodges_lehmann    by how much do they differ, with the interval that goes with that test?
posthoc           which configurations differ in energy?
coupling          does time stand for energy?
inversion         which configurations are faster and yet take more energy?
factor_increase   by how much does a factor raise energy?
clusters          what do the low-energy and the high-energy runs reach?
pareto            which configurations are not beaten in both energy and accuracy?
batching          what does a request cost, and how long does it wait, under each policy?
policy_choice     which policy takes least, and still answers in time?
min_attainable_p  could so few runs show a difference at all?
trend             does a figure of networks change over the years, and who leaves the line?
growth            does energy grow faster over the years than accuracy?
accuracy_records  what did the most accurate network of its time take?
best_batch        what does the best batch size save?
rank_correlation  do two figures of networks rank them alike? (Spearman)
places            how large is the place against the configuration, in grams of CO2e?
negative_energy   which readings are zero, negative or infinite?
agreement         do two instruments agree, and by which factor is one off?
prediction        what will a training take in the end, from its power so far? (STEP)
claims            which findings of the paper do the data bear out?
rounding          does a sample vary at all, or is that its last digit?
resampling        how far would a statistic move if the sample were drawn again? (bootstrap)
================= ==================================================================================

Missing values: a run without the value that a statistic needs is left out of that statistic, and
the result says how many were (column or attribute ``dropped``). A statistic that is not defined is
NaN, and the column or attribute ``reason`` says why; it is empty otherwise.

Import from the modules, not from the room: some load statsmodels, which takes a second.
"""
