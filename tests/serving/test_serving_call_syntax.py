import math
from abc import ABC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.errors import PluginError, UnknownNameError, UsageError
from joulelab.registry import Registry
from joulelab.serving.call_syntax import BuiltFromCall, Call, build, call_text, parse_call


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("greedy", Call("greedy")),
        ("greedy()", Call("greedy")),
        (" fixed( 32 , wait_ms = 50 ) ", Call("fixed", (32,), {"wait_ms": 50})),
        ("uniform-jitter(16, 0.2)", Call("uniform-jitter", (16, 0.2))),
        ("poisson(1e3)", Call("poisson", (1000.0,))),
        ("trace(a b/c-1.csv)", Call("trace", ("a b/c-1.csv",))),
        ("trace(a (copy).csv)", Call("trace", ("a (copy).csv",))),
        ("trace('1,2.csv')", Call("trace", ("1,2.csv",))),
        ('trace("2024")', Call("trace", ("2024",))),
    ],
)
def test_a_call_is_taken_apart(text, call):
    assert parse_call(text, "part") == call


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a valid policy: ''"),
        ("fixed(3", "not a valid policy:"),
        ("3", "not a valid policy:"),
        ("fixed(3,)", "an argument is empty"),
        ("fixed(wait_ms=3, 2)", "is a positional argument after"),
        ("fixed(n=3, n=4)", "n is given twice"),
        ("trace('a.csv)", "a quote is not closed"),
        ("fixed(n=)", "is not a value"),
    ],
)
def test_what_is_no_call_is_refused_with_its_text(text, words):
    with pytest.raises(UsageError) as caught:
        parse_call(text, "policy")
    assert words in caught.value.message
    assert text in caught.value.message
    assert caught.value.hint


values = (
    st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(codec="utf-8", exclude_characters="\"'", exclude_categories=["C"]), min_size=1
    )
)


@given(st.lists(values, max_size=3), st.dictionaries(st.sampled_from("abc"), values))
def test_a_written_call_is_read_back(positional, keywords):
    call = parse_call(call_text("part", *positional, **keywords), "part")
    assert list(call.positional) == positional
    assert call.keywords == keywords


class Part(BuiltFromCall, ABC):
    def __init__(self, count: int, share: float = 0.5, label: str = "", *, on: bool = False):
        if count > 9:
            raise ValueError("count is too large")
        if count == 9:
            raise RuntimeError("out of order")
        self.values = count, share, label, on


def with_place(file: str, place: str | None = None) -> tuple[str, str | None]:
    return file, place


@pytest.fixture
def parts():
    registry = Registry("part", "joulelab.no-such-group", {})
    registry.register("part")(Part)
    registry.register("placed")(with_place)
    return registry


def test_arguments_go_to_the_parameters_as_their_types(parts):
    part = build(parts, "part(3, 1, on=true, label=x y)")
    assert part.values == (3, 1.0, "x y", True)
    assert type(part.values[1]) is float


def test_a_part_without_a_text_of_its_own_is_called_as_it_was_written(parts):
    assert str(build(parts, "part( 3,share = 1.0 )")) == "part(3, share=1)"


def test_what_the_program_knows_goes_to_those_who_ask_for_it_and_nobody_may_write_it(parts):
    assert build(parts, "placed(a.csv)", place="here") == ("a.csv", "here")
    assert build(parts, "part(1)", place="here").values[0] == 1
    with pytest.raises(UsageError, match="has no parameter 'place'"):
        build(parts, "placed(a.csv, place=there)", place="here")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("part", "part: missing a required argument: 'count'", "write part(count, share=0.5"),
        ("part(1.5)", "part(1.5): count must be a whole number, not 1.5", ""),
        ("part(many)", "part(many): count must be a whole number, not 'many'", ""),
        ("part(1, nan)", "part(1, nan): share must be a number, not 'nan'", ""),
        ("part(1, 1, 7)", "part(1, 1, 7): label must be text, not 7", "in quotes"),
        ("part(1, on=yes)", "on must be true or false", ""),
        ("part(1, shaer=1)", "part(1, shaer=1): has no parameter 'shaer'", "did you mean 'share'?"),
        ("part(1, count=2)", "multiple values for argument 'count'", "write part("),
        ("part(1, 2, a, true)", "too many positional arguments", "write part("),
        ("part(10)", "part(10): count is too large", "write part("),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(parts, text, message, hint):
    with pytest.raises(UsageError) as caught:
        build(parts, text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_name_and_a_broken_class_are_told_apart(parts):
    with pytest.raises(UnknownNameError, match="unknown part 'prat'"):
        build(parts, "prat(1)")
    with pytest.raises(PluginError, match="RuntimeError: out of order"):
        build(parts, "part(9)")


def test_numbers_that_are_none_can_still_be_shown():
    assert call_text("poisson", math.inf) == "poisson(inf)"
