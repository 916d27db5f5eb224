"""Protocols by name, and what they say."""

from joulelab.learning.engine import Hyperparameters
from joulelab.learning.protocol import Protocol, protocols


def test_all_protocols_are_registered_with_a_line():
    parts = {part.name: part.summary for part in protocols.parts()}
    assert list(parts) == ["default", "yarally2023", "xu2023"]
    assert all(parts.values())
    for name, summary in parts.items():
        protocol = protocols.get(name)
        assert (protocol.name, protocol.summary) == (name, summary)


def test_only_beta2_is_replaced_and_only_where_the_protocol_fixes_it():
    proposed = Hyperparameters(0.01, 0.5, 0.85, 1e-7, 0.1)
    assert protocols.get("default").given_to_adam(proposed) == proposed
    given = protocols.get("yarally2023").given_to_adam(proposed)
    assert given == Hyperparameters(0.01, 0.5, 0.999, 1e-7, 0.1)


def test_a_new_protocol_has_the_default_conventions():
    own = Protocol("own", "a test")
    assert own.reshuffle_each_epoch
    assert own.evaluation_mode == "eval"
