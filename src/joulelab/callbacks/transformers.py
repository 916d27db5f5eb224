"""Energy in Hugging Face's Trainer: ``trainer.add_callback(EnergyCallback(trainer))``.

Joules per token take the Trainer's own count, of all processes, which it keeps if it is asked to:
``TrainingArguments(include_num_input_tokens_seen=True)``, or ``"non_padding"``. A callback does not
see the batches, so without it the number of tokens is unknown.
"""

from __future__ import annotations

from typing import Any, Unpack

from joulelab.callbacks import Followed
from joulelab.energy.options import Options
from joulelab.optional import optional
from joulelab.sinks.named import Named

_transformers: Any = optional("transformers", "joulelab.callbacks.transformers")


NOT_ASKED = "the Trainer counts no tokens: TrainingArguments(include_num_input_tokens_seen=True)"
NONE_SEEN = "the Trainer has counted no tokens: the model names no input"


class EnergyCallback(Followed, _transformers.TrainerCallback):  # type: ignore[misc]  # no types
    """Logs energy, power and forecast after each epoch, and stops at a budget.

    Args:
        trainer: logs; None for ``state.log_history`` alone.
        budget: as for `joulelab.track`.
        label: what is measured.
        to: as for `joulelab.track`.
        options: see `joulelab.energy.options.Options`.
    """

    def __init__(
        self,
        trainer: Any = None,  # noqa: ANN401
        budget: str | None = None,
        label: str = "training",
        to: Named | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(budget, label, to, **options)
        self._trainer = trainer
        self._tokens_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Begin."""
        self.begin(state.num_train_epochs or None)
        self._tokens_before = state.num_input_tokens_seen

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Log, and stop where another epoch would overshoot."""
        self._count(args, state)
        if self.epoch_done(state.global_step):
            step = {"step": state.global_step}
            trainer, history = self._trainer, state.log_history
            self.tell(trainer.log if trainer else lambda values: history.append({**values, **step}))
        control.should_training_stop |= self.over_anywhere

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """End."""
        self._count(args, state)
        self.end()

    def _count(self, args: Any, state: Any) -> None:  # noqa: ANN401
        """Take over the Trainer's count of tokens; a resumed training had some before."""
        if self.follower is None:
            return
        if args.include_num_input_tokens_seen in (False, "no"):
            self.follower.why_no_tokens = NOT_ASKED
        elif (tokens := state.num_input_tokens_seen - self._tokens_before) > 0:
            self.follower.tokens, self.follower.why_no_tokens = int(tokens), ""
        else:
            self.follower.why_no_tokens = NONE_SEEN
