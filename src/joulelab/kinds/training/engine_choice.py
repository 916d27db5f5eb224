"""Choice of the engine of each configuration: the requested one, or the reference.

::

    engine.obstacle(configuration)    mix_engines = false         mix_engines = true
    none has one                      the requested engine        the requested engine
    some have one                     reference trains all        reference trains those
    all have one                      reference trains all        reference trains all

Energies of two engines, or of two precisions, must not be compared, so a study mixes them only on
request, and never in one that is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulelab.errors import SpecError, StoreMismatchError, UsageError, quoted
from joulelab.kinds.training.settings import span
from joulelab.kinds.training.spec import TrainingConfiguration
from joulelab.learning.engine import Precision
from joulelab.study.workload import Begun

REFERENCE = "reference"
MOST_NAMED = 3


@dataclass(frozen=True)
class EngineChoice:
    """The engine of every configuration.

    Attributes:
        asked: requested engine, or several in words.
        precision: likewise.
        by_configuration: registered name of the engine by experiment and configuration.
        remark: why it differs from the request; ``None`` if it does not.
    """

    asked: str
    precision: str
    by_configuration: Mapping[tuple[str, str], str]
    remark: str | None = None

    def of(self, configuration: TrainingConfiguration) -> str:
        """The engine that trains a configuration."""
        return self.by_configuration[configuration.experiment, configuration.name]

    @property
    def used(self) -> list[str]:
        """Each engine once, in the order of the study file."""
        return list(dict.fromkeys(self.by_configuration.values()))

    @property
    def words(self) -> str:
        """``fast engine, fp32``."""
        return _words(self.used, self.precision)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        configurations: dict[str, dict[str, str]] = {}
        for (experiment, name), engine in self.by_configuration.items():
            configurations.setdefault(experiment, {})[name] = engine
        return {
            "asked": self.asked,
            "used": self.used,
            "precision": self.precision,
            "remark": self.remark,
            "configurations": configurations,
        }


def choose_engines(
    configurations: Sequence[TrainingConfiguration],
    obstacle: Callable[[TrainingConfiguration], str | None],
    *,
    mix: bool,
) -> EngineChoice:
    """Choose the requested engine if possible, and the reference engine for the rest or everything.

    Args:
        configurations: of the whole study, each with its requested engine and precision; the
            reference engine trains in fp32 only.
        obstacle: why the engine cannot train a configuration; ``None`` if it can.
        mix: whether the others keep the requested engine.

    Raises:
        SpecError: the precision is impossible, or impossible for a configuration; or an engine
            that is a level of a factor cannot train a configuration.
    """
    hindered: dict[tuple[str, str], str] = {}
    for one in configurations:
        try:
            reason = obstacle(one)
        except UsageError as error:
            raise SpecError(_at("precision", one, error.message), error.hint) from error
        if reason is not None:
            hindered[one.experiment, one.name] = reason
    requested = {(one.experiment, one.name): one.settings.engine for one in configurations}
    asked, precision = (
        span(getattr(one.settings, name) for one in configurations)
        for name in ("engine", "precision")
    )
    if not hindered:
        return EngineChoice(asked, precision, requested)
    unable = span(engine for key, engine in requested.items() if key in hindered)
    cannot = f"the {unable} engine cannot train {_named(configurations, hindered)}"
    for one in configurations:
        if (one.experiment, one.name) in hindered and "engine" in one.levels:
            raise SpecError(_at("engine", one, cannot), "exclude these combinations of levels")
    left = [one for one in configurations if not mix or (one.experiment, one.name) in hindered]
    for one in left:
        if one.settings.precision != Precision.FP32:
            raise SpecError(
                _at(
                    "precision",
                    one,
                    f"{cannot}, and the {REFERENCE} engine trains in fp32 only",
                ),
                f'set precision = "{Precision.FP32}", or remove these configurations from the '
                "study",
            )
    if mix and len(hindered) < len(requested):
        chosen = {k: REFERENCE if k in hindered else engine for k, engine in requested.items()}
        remark = (
            f"{cannot}: the {REFERENCE} engine trains these; do not compare their energies with "
            "the others"
        )
    else:
        chosen = dict.fromkeys(requested, REFERENCE)
        remark = f"{cannot}: the whole study is trained by the {REFERENCE} engine"
        if len(hindered) < len(requested):
            remark += f"; with mix_engines = true the {unable} engine trains the others"
    return EngineChoice(asked, precision, chosen, remark)


def _at(key: str, one: TrainingConfiguration, message: str) -> str:
    """A message with the key that is the reason: of the study, or a level."""
    place = f"experiment.{one.experiment}.vary." if key in one.levels else ""
    return f"{place}{key} = {quoted(getattr(one.settings, key))}: {message}"


def check_same_engine(begun: Begun, choice: Mapping[str, Any]) -> None:
    """Refuse to continue with an engine or precision other than that of finished runs.

    Args:
        begun: what earlier sessions have done.
        choice: of a study that does not mix engines, as `EngineChoice.to_dict` gives it.

    Raises:
        StoreMismatchError: gives the old and the new engine.
    """
    finished, sessions = begun.engines, begun.manifest.get("sessions")
    if not finished:
        return
    # An engine may delegate to another one, so compare the choice before the stored value; a
    # manifest may be missing, or older than the choice.
    last = (sessions or [{}])[-1].get("conditions", {}).get("engines")
    now, precision_now = list(choice["used"]), choice["precision"]
    if not last and len(now) > 1 and set(finished) <= set(now):
        return  # several engines by choice, of which some have not trained yet
    used = last["used"] if last else list(finished)
    precision = last["precision"] if last else precision_now
    if (used, precision) != (now, precision_now):
        because = f" ({choice['remark']})" if choice["remark"] else ""
        raise StoreMismatchError(
            f"the finished runs in {begun.folder} were trained by the {_words(used, precision)}, "
            f"but the rest would be trained by the {_words(now, precision_now)}{because}",
            "continue with the same engine, or choose another folder with --out",
        )


def _words(engines: Sequence[str], precision: str) -> str:
    noun = "engine" if len(engines) == 1 else "engines"
    return f"{' and '.join(engines)} {noun}, {precision}"


def _named(
    configurations: Sequence[TrainingConfiguration], hindered: Mapping[tuple[str, str], str]
) -> str:
    """The untrainable configurations and the reason; only the network's name if that suffices."""
    parts: dict[tuple[str, str], list[TrainingConfiguration]] = {}
    for one in configurations:
        if (reason := hindered.get((one.experiment, one.name))) is not None:
            parts.setdefault((one.network, reason), []).append(one)
    said = []
    for (network, reason), those in parts.items():
        if len(those) == sum(one.network == network for one in configurations):
            said.append(f"{network} ({reason})")
            continue
        names = "; ".join(one.title for one in those[:MOST_NAMED])
        more = f" and {len(those) - MOST_NAMED} more" if len(those) > MOST_NAMED else ""
        said.append(f"{names}{more} ({reason})")
    return " and ".join(said)
