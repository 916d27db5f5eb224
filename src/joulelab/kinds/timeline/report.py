"""The report of a comparison of networks over the years."""

from joulelab.kinds.timeline.figures import accuracy_front, over_the_years
from joulelab.kinds.timeline.findings import timeline_findings
from joulelab.kinds.timeline.tables import correlations, distances, networks, trends
from joulelab.report.report import Report, sentences

TIMELINE = Report(
    contents=(over_the_years, accuracy_front, networks, trends, distances, correlations),
    lead=(over_the_years, trends),
    findings=sentences(timeline_findings),
)
