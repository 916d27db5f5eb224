"""What a comparison of networks over the years shows."""

from joulelab.report.report import Report, sentences
from joulelab.report.timeline.figures import accuracy_front, over_the_years
from joulelab.report.timeline.findings import timeline_findings
from joulelab.report.timeline.tables import correlations, distances, networks, trends

TIMELINE = Report(
    contents=(over_the_years, accuracy_front, networks, trends, distances, correlations),
    lead=(over_the_years, trends),
    findings=sentences(timeline_findings),
)
