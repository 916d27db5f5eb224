"""The chapter of a comparison of networks over the years."""

from __future__ import annotations

from joulelab.report.chapter import Chapter, Shown
from joulelab.report.experiment import Experiment
from joulelab.report.timeline.findings import timeline_findings
from joulelab.report.timeline.pictures import timeline_front_picture, timeline_picture
from joulelab.report.timeline.tables import timeline_tables


def timeline_contents(experiment: Experiment) -> list[Shown]:
    """Tables and figures in the order of the page."""
    networks, *rest = timeline_tables(experiment)
    return [
        timeline_picture(experiment),
        timeline_front_picture(experiment),
        networks,
        *rest,
    ]


TIMELINE = Chapter(
    timeline_tables,
    timeline_contents,
    timeline_findings,
    ("timeline-networks", "timeline-trends", "timeline-distances"),
)
