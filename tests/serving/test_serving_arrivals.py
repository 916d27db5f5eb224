import math

import numpy as np
import pytest

from joulelab.errors import UnknownNameError, UsageError
from joulelab.serving.arrivals import Bursty, Poisson, UniformJitter, parse_arrivals

BUILT_IN = ["uniform-jitter(16, 0.2)", "poisson(16)", "bursty(16, on_s=0.5, off_s=2)"]


def generator(seed=7):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("text", BUILT_IN)
def test_times_ascend_and_follow_from_the_seed(text):
    process = parse_arrivals(text)
    times_s = process.times_s(1000, generator())
    assert times_s.shape == (1000,)
    assert times_s[0] > 0
    assert (np.diff(times_s) >= 0).all()
    assert (times_s == process.times_s(1000, generator())).all()
    assert (times_s != process.times_s(1000, generator(8))).any()
    assert process.times_s(0, generator()).shape == (0,)


@pytest.mark.parametrize("text", BUILT_IN)
@pytest.mark.parametrize("rate_per_s", [16.0, 400.0])
def test_the_mean_rate_is_the_one_that_was_asked_for(text, rate_per_s):
    process = parse_arrivals(text).at_rate(rate_per_s)
    assert process.rate_per_s == rate_per_s
    count, blocks = 200_000, 50
    times_s = process.times_s(count, generator())
    blocks_s = np.diff(times_s, prepend=0.0).reshape(blocks, -1).sum(axis=1)
    error_s = blocks_s.std(ddof=1) * blocks**0.5  # of the sum over all blocks
    assert times_s[-1] == pytest.approx(count / rate_per_s, abs=4 * error_s)
    assert error_s < 0.1 * times_s[-1]


def test_the_gaps_of_a_jittered_beat_keep_to_their_bounds():
    gaps_s = np.diff(UniformJitter(10, 0.2).times_s(100_000, generator()), prepend=0.0)
    assert gaps_s.min() == pytest.approx(0.08, abs=1e-4)
    assert gaps_s.max() == pytest.approx(0.12, abs=1e-4)
    assert UniformJitter(10, 0).times_s(5, generator()) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_poisson_gaps_are_exponential():
    from scipy.stats import kstest

    gaps_s = np.diff(Poisson(5).times_s(20_000, generator()), prepend=0.0)
    assert kstest(gaps_s, "expon", args=(0, 0.2)).pvalue > 0.001


def test_bursts_and_silences_have_their_mean_lengths():
    process = Bursty(1000, on_s=1, off_s=3)
    times_s = process.times_s(400_000, generator())
    gaps_s = np.diff(times_s)
    # At 4000 a second while on, a gap of 20 ms is a silence but for one in exp(80).
    silences_s = gaps_s[gaps_s > 0.02]
    assert len(silences_s) == pytest.approx(100, abs=40)
    assert silences_s.mean() == pytest.approx(3, abs=4 * 3 / len(silences_s) ** 0.5)
    assert np.median(gaps_s) == pytest.approx(math.log(2) / 4000, rel=0.02)


def test_a_burst_may_be_under_way_at_the_start_or_not():
    process = Bursty(100, on_s=10, off_s=10)
    firsts_s = np.array([process.times_s(1, generator(seed))[0] for seed in range(400)])
    assert 0.4 < (firsts_s < 0.05).mean() < 0.6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poisson(0)", "poisson(0): the rate must be above 0"),
        ("poisson(-2)", "poisson(-2): the rate must be above 0"),
        ("poisson(fast)", "poisson(fast): f must be a number, not 'fast'"),
        ("uniform-jitter(5, 1)", "uniform-jitter(5, 1): jitter must be at least 0 and below 1"),
        ("uniform-jitter(5, -0.1)", "uniform-jitter(5, -0.1): jitter must be at least 0 and below"),
        ("bursty(5, 0)", "bursty(5, on_s=0, off_s=1): on_s must be above 0 seconds"),
        ("bursty(5, 1, 0)", "bursty(5, on_s=1, off_s=0): off_s must be above 0 seconds"),
        ("bursty(5, of_s=1)", "bursty(5, of_s=1): has no parameter 'of_s'"),
        ("trace", "trace: missing a required argument: 'file'"),
        ("trace(none.csv)", "the trace none.csv cannot be read: No such file or directory"),
    ],
)
def test_an_impossible_process_is_refused_with_its_text(text, message):
    with pytest.raises(UsageError) as caught:
        parse_arrivals(text)
    assert caught.value.message.startswith(message)


def test_an_impossible_new_rate_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1\n2\n")
    for text in [*BUILT_IN, "trace(a.csv)"]:
        with pytest.raises(UsageError, match="above 0"):
            parse_arrivals(text, tmp_path).at_rate(0.0)


def test_an_unknown_process_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'poisson'"):
        parse_arrivals("poison(3)")


@pytest.mark.parametrize("text", BUILT_IN)
def test_the_text_of_a_process_is_read_back(text):
    assert str(parse_arrivals(text)) == text
    assert parse_arrivals(text) == parse_arrivals(str(parse_arrivals(text)))


@pytest.mark.parametrize(
    "content",
    [
        "t_s\n0.5\n1\n1\n4.5\n",
        "0.5\n1\n1\n4.5\n",
        "id,t_s\na,0.5\nb,1\n\nc, 1\nd,4.5",
        "when\n.5\n1\n1\n4.5",
    ],
)
def test_a_trace_is_read_from_its_column(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    trace = parse_arrivals("trace(a.csv)", tmp_path)
    assert trace.times_s(4, generator()).tolist() == [0, 0.5, 0.5, 4]
    assert trace.most == 4
    assert trace.rate_per_s == 1.0
    assert trace.remarks == ()
    assert str(trace) == "trace(a.csv)"


START = 1772701200
LOG = """\
93.184.216.34 - - [05/Mar/2026:09:00:00 +0000] "GET / HTTP/1.1" 200 1270 "-" "curl/8.5.0"
93.184.216.34 - ann [05/Mar/2026:10:00:02 +0100] "GET /a[1] HTTP/1.1" 200 1270 "-" "x y"
::1 - - [05/Mar/2026:09:00:01 +0000] "\\x16\\x03" 400 166 "-" "-"
93.184.216.34 - - [05/Mar/2026:09:00:08 +0000] "POST / HTTP/2.0" 201 0
"""


@pytest.mark.parametrize(
    ("arguments", "content", "times_s"),
    [
        ("", "t_s\n5270414.0\n5270414.5\n5270418\n", (0, 0.5, 4)),
        ("", f"t_s\n{START}.25\n{START}.75\n{START + 4}\n", (0, 0.5, 3.75)),
        ("", f"timestamp\n{START}250\n{START}750\n{START + 4}000\n", (0, 0.5, 3.75)),
        ("", "timestamp_ms,x\n0.0,1\n500,1\n4000.0,1\n", (0, 0.5, 4)),
        ("", "2026-03-05T09:00:00.5Z\n2026-03-05T10:00:01+01:00\n2026-03-05T09:00:08Z\n",
         (0, 0.5, 7.5)),
        ("", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
             "2023-11-16 18:17:04.0319600,110,27\n", (0, 0.052)),
        ("", "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
             "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,API log\n", (0, 40)),
        ("", "app,func,end_timestamp,duration\na,f,1.1,0.1\na,f,1.45,0.05\nb,g,5,4.5\n",
         (0, 0.5, 0.9)),
        ("", "date,time,x\n2026-03-05,23:59:59,1\n2026-03-06,00:00:01,1\n2026-03-07,00:00:01,1\n",
         (0, 2, 86402)),
        (", column=begun", "t_s,begun\n7,1\n8,2.5\n", (0, 1.5)),
        (", column='begun at'", "t_s;begun at\n7;1,5\n8;2,25\n", (0, 0.75)),
        (", rate_per_s=90/min", "t_s\n5270410\n5270411.5\n5270414\n", (0, 0.75, 2)),
        (", 1", "t_s\n7\n", (0,)),
        ("", LOG, (0, 1, 2, 8)),
    ],
)  # fmt: skip
def test_a_trace_may_begin_at_any_time_and_be_anybodys(tmp_path, arguments, content, times_s):
    (tmp_path / "a.csv").write_text(content)
    trace = parse_arrivals(f"trace(a.csv{arguments})", tmp_path)
    assert trace.times_s(trace.most, generator()) == pytest.approx(times_s, abs=1e-6)
    lasts_s = times_s[-1]
    assert trace.rate_per_s == pytest.approx(len(times_s) / lasts_s if lasts_s else 1)
    again = parse_arrivals(str(trace), tmp_path)
    assert again.times_s(trace.most, generator()) == pytest.approx(times_s, abs=1e-6)


def test_arrivals_out_of_order_are_sorted_and_whole_seconds_spread_and_both_said(tmp_path):
    (tmp_path / "a.csv").write_text("t_s\n1\n2\n3\n2\n3\n4\n")
    trace = parse_arrivals("trace(a.csv)", tmp_path)
    assert np.diff(trace.times_s(6, generator())) == pytest.approx([0.5] * 5)
    assert trace.remarks == (
        "a.csv: 1 arrival out of order: sorted",
        "a.csv: times are cut to whole seconds: arrivals with the same time are spread over it",
    )


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("poisson(86400/day)", 1),
        ("poisson(50/min)", 50 / 60),
        ("poisson(50 / s)", 50),
        ("bursty(3 per hour)", 3 / 3600),
        ("uniform-jitter(f=6000 req/h, jitter=0.1)", 6000 / 3600),
    ],
)
def test_a_rate_may_have_its_unit(text, per_s):
    process = parse_arrivals(text)
    assert process.rate_per_s == pytest.approx(per_s)
    assert parse_arrivals(str(process)).rate_per_s == process.rate_per_s


def test_a_unit_is_for_rates_alone():
    with pytest.raises(UsageError, match="on_s must be a number, not '1/min'"):
        parse_arrivals("bursty(3, on_s=1/min)")
    with pytest.raises(UsageError, match="f must be a number, not '3/parsec'"):
        parse_arrivals("poisson(3/parsec)")


def test_a_trace_at_another_rate_scales_its_times(tmp_path):
    (tmp_path / "a.csv").write_text("0.5\n1\n1\n4.5\n")
    trace = parse_arrivals("trace(a.csv)", tmp_path).at_rate(2)
    assert trace.rate_per_s == 2
    assert trace.times_s(3, generator()) == pytest.approx([0, 0.25, 0.25])
    again = parse_arrivals(str(trace), tmp_path)
    assert again.times_s(4, generator()).tolist() == trace.times_s(4, generator()).tolist()


def test_a_trace_has_only_so_many_arrivals(tmp_path):
    (tmp_path / "a.csv").write_text("1\n2\n")
    with pytest.raises(UsageError, match=r"trace\(a.csv\): 3 arrivals .* the file has 2"):
        parse_arrivals("trace(a.csv)", tmp_path).times_s(3, generator())
    assert Poisson(1).most is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("t_s\n1\nsoon\n", "line 3, column t_s: 'soon' is not a time"),
        ("t_s\n1\nnan\n", "line 3, column t_s: 'nan' is not a time"),
        ("t_s,a\n1,x\n,y\n", "line 3, column t_s: '' is not a time"),
        ("a,t_s\nx,1\ny\n", "line 3: 1 value for 2 columns"),
        ("a,b\n1,2\n", "2 columns, none called t_s"),
        ("t_s\n", "a header but no rows"),
        ("", "is empty"),
        ("0\n0\n", "has 2 arrivals at a single time"),
        ("5\n", "has 1 arrival at a single time"),
    ],
)
def test_a_bad_trace_is_refused_with_file_and_line(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        parse_arrivals("trace(bad.csv)", tmp_path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_trace_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "bad.csv").write_bytes(b"\x89PNG\x00\x01")
    with pytest.raises(UsageError, match="neither Parquet nor text"):
        parse_arrivals("trace(bad.csv)", tmp_path)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        parse_arrivals("trace(.)", tmp_path)
