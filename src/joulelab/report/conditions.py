"""Under which conditions a study ran, and how its energy was read, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.present import Part, Remark, Table, Unavailable, shown, table, words
from joulelab.report.experiment import trained_by
from joulelab.report.kinds import general_remark
from joulelab.report.ledger import TONES, ReportedStudy
from joulelab.study.miniature import miniature_in_words
from joulelab.study.results import Results
from joulelab.study.store_reading import data_sets


def conditions(results: Results) -> list[tuple[str, str]]:
    """Pairs of a heading and what study file and manifest say; what is unknown is left out."""
    spec, manifest = results.spec, results.manifest
    device = manifest.get("device") or {}
    libraries = manifest.get("libraries") or {}
    pairs = [
        *(_data(data_sets(results.manifest)) or [("Data set", str(spec.get("dataset") or ""))]),
        ("Protocol", _protocol(spec)),
        *_training(results),
        ("Images", _images(manifest.get("images") or {})),
        ("SHA-256 of the images", (manifest.get("images") or {}).get("checksum")),
        ("Weights", _words(manifest.get("weights") or {})),
        ("Seed", f"{spec.get('seed')}; every run's own seed is derived from it"),
        ("Device", f"{device.get('name')}, {device.get('model')}" if device else ""),
        ("Processor", _processor(manifest)),
        ("System", manifest.get("system")),
        ("joulelab", " ".join(str(manifest[k]) for k in ("joulelab", "commit") if manifest.get(k))),
        ("Versions", _words({"python": manifest.get("python"), **libraries})),
        ("Plug-ins", _words(manifest.get("plugins") or {})),
        ("Sessions", _sessions(manifest)),
    ]
    return [(heading, str(value)) for heading, value in pairs if value]


@table("channels", "What was read")
def channels(study: ReportedStudy) -> Table:
    """How each domain was read, as the first session found it."""
    rows = [
        {
            "domain": str(channel.get("domain", "")),
            "status": str(channel.get("status", "")),
            "source": f"{channel.get('source')}, {_error(channel.get('relative_error'))}",
            "remark": str(channel.get("remark") or ""),
        }
        for channel in (study.results.manifest.get("energy") or {}).get("channels", [])
    ]
    if not rows:
        raise Unavailable("")
    status = words("status", tone=lambda row: TONES.get(row["status"], ""))
    return Table(rows, [words("domain"), status, words("source"), words("remark")])


@table("missing", "What could not be read")
def missing(study: ReportedStudy) -> Table:
    """What no meter could read, why, and what would help."""
    rows = [
        {key: str(one.get(key) or "") for key in ("domain", "reason", "remedy")}
        for one in (study.results.manifest.get("energy") or {}).get("missing", [])
    ]
    if not rows:
        raise Unavailable("")
    return Table(rows, [words("domain"), words("reason"), words("to enable it", "remedy")])


def reading(study: ReportedStudy) -> list[Part]:
    """How the energy of a study was read: what counts, each domain, and idle power."""
    idle = idle_power(study.results.manifest)
    counts = counted(study.runs)
    return [
        f"Energy of the whole study: {study.energy.words}.",
        f"The energy of a run adds up {'; '.join(counts)}."
        if counts
        else Remark("No run has a figure of energy.", "bad"),
        *shown([channels, missing], study),
        f"Idle power: {'; '.join(idle)}. Net energy is gross energy less idle power times duration."
        if idle
        else "Idle power is unknown, so there is no net energy.",
    ]


def remarks(study: ReportedStudy) -> tuple[str, ...]:
    """What to know first: runs to come, a miniature, kinds that are unknown here."""
    unfinished = progress(study.runs)
    general = [general_remark(one, plugins(study.results)) for one in study.experiments]
    return (
        *([unfinished] if unfinished else []),
        *thinning(study.results),
        *filter(None, general),
    )


def plugins(results: Results) -> list[Path]:
    """The plug-ins of a study, which may lie in its folder."""
    named = results.spec.get("plugins")
    files = named if isinstance(named, list) else []
    return [results.folder / file for file in files if isinstance(file, str)]


def idle_power(manifest: Mapping[str, Any]) -> list[str]:
    """Idle power by domain, before and after each session."""
    said = []
    for session in manifest.get("sessions", []):
        before, after = session.get("idle_before_w") or {}, session.get("idle_after_w") or {}
        for domain in dict.fromkeys([*before, *after]):
            words = [
                f"{formats.significant(power[domain])} W {when}"
                for power, when in ((before, "before"), (after, "after"))
                if formats.known(power.get(domain))
            ]
            if words:
                where = "" if len(manifest["sessions"]) == 1 else f" (session {session['session']})"
                said.append(f"{domain}: {formats.listing(words)} the runs{where}")
    return said


def counted(runs: pd.DataFrame) -> list[str]:
    """What the energy of a run adds up: domains, means, status, and how many runs."""
    done = (
        runs[runs["energy_gross_j"].notna() | runs["energy_net_j"].notna()] if len(runs) else runs
    )
    if not len(done):
        return []
    groups = done.groupby(
        ["energy_domains", "energy_source", "energy_status"], sort=False, dropna=False
    )
    return [
        f"{_counts(domains)}: {status}{f' (source: {source})' if isinstance(source, str) else ''}, "
        f"{formats.count(len(rows), 'run')}"
        for (domains, source, status), rows in groups
    ]


def _counts(domains: object) -> str:
    """The domains that an energy adds up, or the steps: a search has no reading of its own."""
    return formats.listing(domains.split("+")) if isinstance(domains, str) else "its steps"


def progress(runs: pd.DataFrame) -> str:
    """What is still to come; empty for a finished study."""
    if not len(runs):
        return "This study has not begun: nothing has been planned yet."
    ended = int(runs["state"].isin(["finished", "failed"]).sum())
    if ended == len(runs):
        return ""
    return (
        f"This study is not finished: {ended:,} of {formats.count(len(runs), 'run')} have ended. "
        "Everything below is preliminary; run the same command again to go on."
    )


def thinning(results: Results) -> tuple[str, ...]:
    """What a miniature has of the whole study, in a sentence; empty for a whole study."""
    data = data_sets(results.manifest)
    used, of = (
        sum(one.get(key) or 0 for one in data) for key in ("train_images", "train_images_of")
    )
    known = (used, of) if used and of else None
    said = miniature_in_words(results.spec, known)
    if not said:
        return ()
    return (f"This is {said}. A scaled-down study can miss effects that the full one would find.",)


def _error(relative: float | None) -> str:
    if relative is None:
        return "error unknown"
    return f"error up to ± {formats.percent(relative, 0)}"


def _data(data_sets: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each data set and its checksum."""
    pairs = []
    for one in data_sets:
        of = f" of {one.get('name')}" if len(data_sets) > 1 else " of the data"
        pairs += [("Data set", _data_set(one)), (f"SHA-256{of}", str(one.get("checksum") or ""))]
        pairs += [(f"Note{of}", str(note)) for note in one.get("notes") or ()]
    return pairs


def _data_set(data: Mapping[str, Any]) -> str:
    said = str(data.get("name", ""))
    if data.get("train_images"):
        said += (
            f", {data['train_images']:,} training and {data.get('test_images', 0):,} test images"
        )
    if data.get("shape"):
        said += f" of {' x '.join(map(str, data['shape']))} (channels x height x width)"
    return said + (f", from {data['source']}" if data.get("source") else "")


def _processor(manifest: Mapping[str, Any]) -> str:
    said = [
        str(manifest.get("processor") or ""),
        formats.count(manifest["cores"], "core") if manifest.get("cores") else "",
        f"torch on {formats.count(manifest['threads'], 'thread')}"
        if manifest.get("threads")
        else "",
        f"{manifest['memory_gb']} GB of memory" if manifest.get("memory_gb") else "",
    ]
    return ", ".join(word for word in said if word)


def _sessions(manifest: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{session.get('started_at', '')} to {session.get('ended_at', 'an interruption')}"
        for session in manifest.get("sessions", [])
    )


def _protocol(spec: Mapping[str, Any]) -> str:
    if not spec.get("protocol"):
        return ""
    augmentation = spec.get("augmentation", "protocol")
    own = f", augmentation {augmentation}" if augmentation != "protocol" else ""
    return f"{spec['protocol']}{own}{_varied(spec, 'protocol', 'augmentation')}"


def _engine(results: Results) -> str:
    """Who trained in which arithmetic, how many at a time, and why it is not what was asked for."""
    spec, runs = results.spec, results.to_frame()
    asked = f"{spec.get('engine')}, {spec.get('precision', 'fp32')}"
    said = trained_by(runs[runs["state"] == "finished"]) if len(runs) else []
    remark = (results.manifest.get("engines") or {}).get("remark")
    return "; ".join([*(said or [asked]), *([str(remark)] if remark else [])])


def _training(results: Results) -> list[tuple[str, str]]:
    """What holds for all trainings; nothing for a study that trains nothing."""
    spec = results.spec
    if "epochs" not in spec:
        return []
    return [
        ("Engine", _engine(results)),
        (
            "Training",
            f"{spec['epochs']} epochs, batches of {spec.get('batch_size')}"
            f"{_varied(spec, 'epochs', 'batch_size')}",
        ),
        *_optimiser(spec),
        ("Score of a round", f"{spec.get('score', 'mean')} of its repetitions"),
    ]


def _optimiser(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "optimiser" not in spec:  # written by an older joulelab
        return []
    said = f"{spec['optimiser']}, learning rate {spec.get('schedule')}"
    return [("Optimiser", f"{said}{_varied(spec, 'optimiser', 'schedule')}")]


def _varied(spec: Mapping[str, Any], *keys: str) -> str:
    """Which of these keys an experiment varies, in parentheses."""
    vary = [one.get("vary") for one in spec["experiment"].values()]
    names = {name for table in vary if isinstance(table, dict) for name in table}
    found = [key for key in keys if key in names]
    return f"; varied: {formats.listing(found)}" if found else ""


def _images(images: Mapping[str, Any]) -> str:
    if not images:
        return ""
    return f"{', '.join(images['names'])} ({formats.count(images['files'], 'file')})"


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)
