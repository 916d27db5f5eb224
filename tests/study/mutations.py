"""Study files and results folders with a mistake in them, as chance makes it.

Each mutator is given a `random.Random`, and the same numbers give the same mistake: hypothesis
plays one of its own, and so can find the smallest case that fails.
"""

import json
import re
import shutil
import sqlite3
import tomllib
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import tomli_w

from joulelab.errors import JoulelabError

LONGEST = 1500
"""Of a message, in characters."""
TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z0-9_.+-]+|[\[\]{}=,]|\n')
ODD_TOML = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1e9",
    "1e300",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    "true",
    "false",
    "[]",
    "{}",
    "999999999",
    "9223372036854775807",
    "99999999999999999999999999",
    "0x7fffffffffffffff",
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    '""',
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\u001b[2J"',
    '"\\u2028"',
    '"../../.."',
    '"folder:"',
    '"folder:\\u0000"',
    '"fixed(0)"',
    '"fixed(99999999999)"',
    '"greedy(1e999)"',
    '"poisson(1e-300)"',
    '"trace(/)"',
    '"trace(\\u0000)"',
    '"uniform-jitter(1e308,',
    '2)"',
    '"digits?side=99999"',
    '"digits?side=0"',
    '"cuda:99999999999999999999"',
    '"auto"',
    '"all"',
    '"random"',
    '"grid"',
    '"module:function"',
    '":"',
    '"a:"',
    '"os:getcwd"',
    '"resnet18"',
    '"SimpleCNN"',
    '"nvml:?"',
    '"shelly:"',
    '"412"',
    '"NLD"',
    '"/dev/zero"',
    "[[]]",
    "[{}]",
    "[1]",
    '["x"]',
    "[true,1,1.0]",
    "{a={}}",
    '{kind="tuning"}',
    '{type="integer",low=0,high=9007199254740992}',
    '{type="categorical",choices=[]}',
    '{type="continuous",low=-1e308,high=1e308}',
    '{type="categorical",choices=[nan,1,true,"1"]}',
]
LONG = [
    '"' + "x" * 5000 + '"',
    "[" + ",".join(map(str, range(400))) + "]",
    "[" * 300 + "]" * 300,
    "{a=" * 300 + "1" + "}" * 300,
    "9" * 5000,
    "[" + ",".join(f'"{number}"' for number in range(300)) + "]",
    '"' + "\\u00e9\\n" * 900 + '"',
]
ODD_KEYS = [
    "a.b.c",
    '""',
    '"a b"',
    '"\\u0000"',
    "x" * 3000,
    '"naïve"',
    "0",
    '"."',
    "kind",
    "name",
    "experiment",
    "seed",
    "rounds",
    "vary.relu",
    '"[x]"',
    '"a/b"',
]
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**31,
    2**63 - 1,
    10**30,
    0.5,
    -1.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "1",
    "x" * 5000,
    "a\0b",
    "\ud800",
    "\x1b[2J",
    "🦊",
    "../x",
    [],
    {},
    [None],
    [[]],
    [{}],
    [1, 2],
    ["x"],
    {"x": None},
    {"": {}},
    {"a": {"b": [1]}},
    b"\xff\xfe",
]


def refusal(call) -> JoulelabError | None:
    """The error on purpose that a call ends in; ``None`` where it succeeds."""
    try:
        call()
    except JoulelabError as error:
        return error
    return None


def assert_in_words(error: JoulelabError | None) -> None:
    """Whoever reads the error can read all of it."""
    if error is not None:
        assert error.message
        assert len(str(error)) < LONGEST


def mutated_text(text: str, random: Random) -> bytes:
    """A study file with some tokens, lines or bytes changed."""
    for _ in range(random.randint(1, 3)):
        text = random.choice(
            [_other_token, _other_token, _other_value, _other_value, _other_line, _other_key]
        )(text, random)
    raw = text.encode("utf-8", "surrogatepass")
    return _other_bytes(raw, random) if random.random() < 0.1 else raw


def mutated_override(random: Random) -> str:
    """What might be given to ``--set``."""
    keys = [
        "name",
        "seed",
        "threads",
        "device",
        "epochs",
        "rounds_together",
        "batch_size",
        "train_images",
        "dataset",
        "plugins",
        "energy.idle_s",
        "energy.meters",
        "energy",
        "energy.domains",
        "experiment",
        "experiment.tuning.rounds",
        "experiment.tuning.repetitions",
        "experiment.tuning",
        "experiment.x.kind",
        "miniature",
        "summary",
        "experiment.tuning.space.beta1.low",
        "experiment.architecture.vary.relu",
        "experiment.tuning.kind",
        "experiment.architecture.network_options.linear_layers",
        "experiment.tuning.exclude",
        "a..b",
        "=",
    ]
    key = random.choice([*keys, *ODD_KEYS])
    return f"{key}={_odd_toml(random)}" if random.random() < 0.95 else key


def _odd_toml(random: Random) -> str:
    return random.choice(LONG) if random.random() < 0.12 else random.choice(ODD_TOML)


def _other_token(text: str, random: Random) -> str:
    tokens = list(TOKEN.finditer(text))
    if not tokens:
        return text
    token = random.choice(tokens)
    other = random.choice([token.group(), "", random.choice(tokens).group(), _odd_toml(random)])
    if other == token.group() and other[:1].isdigit():
        other += "0" * random.randint(1, 9)
    return text[: token.start()] + other + text[token.end() :]


def _other_value(text: str, random: Random) -> str:
    lines = text.splitlines()
    places = [number for number, line in enumerate(lines) if "=" in line]
    if not places:
        return text
    place = random.choice(places)
    lines[place] = lines[place].split("=", 1)[0] + "= " + _odd_toml(random)
    return "\n".join(lines) + "\n"


def _other_line(text: str, random: Random) -> str:
    lines = text.splitlines() or [""]
    place, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, lines[place])
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            lines.insert(place, f"{random.choice(ODD_KEYS)} = {_odd_toml(random)}")
        case _:
            lines[place] = lines[place][: random.randint(0, len(lines[place]))]
    return "\n".join(lines) + "\n"


def _other_key(text: str, random: Random) -> str:
    keys = list(re.finditer(r"^\[?[\w.-]+", text, re.MULTILINE))
    if not keys:
        return text
    key = random.choice(keys)
    word = key.group()
    head = "[" if word.startswith("[") else ""
    other = random.choice([word[:-1], word + "s", head + random.choice(ODD_KEYS)])
    return text[: key.start()] + other + text[key.end() :]


def _other_bytes(raw: bytes, random: Random) -> bytes:
    changed = bytearray(raw)
    match random.randrange(6):
        case 0:
            return bytes(changed[: random.randint(0, len(changed))])
        case 1:
            start = random.randint(0, len(changed))
            del changed[start : start + random.randint(1, 4096)]
        case 2:
            at = random.randint(0, len(changed))
            changed[at:at] = random.choice([b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80"])
        case 3:
            start = random.randint(0, len(changed))
            end = min(len(changed), start + random.randint(1, 512))
            changed[start:end] = bytes(random.randrange(256) for _ in range(end - start))
        case _:
            for _ in range(random.choice([1, 1, 4, 30])):
                if changed:
                    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def mutate_folder(folder: Path, random: Random) -> str:
    """Change something in a results folder; says what."""
    mutator = random.choice(
        [
            _file_bytes,
            _manifest_value,
            _manifest_value,
            _study_value,
            _study_value,
            _cell,
            _cell,
            _cell,
            _cell,
            _schema,
            _renamed,
        ]
    )
    return f"{mutator.__name__}: {mutator(folder, random)}"


def _file_bytes(folder: Path, random: Random) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    files = [path for path in files if "report" not in path.parts]
    path = random.choice([*files, folder / "study.toml", folder / "manifest.json"])
    if random.random() < 0.06:
        path.unlink(missing_ok=True)
        if random.random() < 0.5:
            path.mkdir()
        return f"{path.name} gone"
    path.write_bytes(_other_bytes(path.read_bytes(), random))
    return f"bytes of {path.name}"


def _manifest_value(folder: Path, random: Random) -> str:
    path = folder / "manifest.json"
    data = json.loads(path.read_text("utf-8"))
    said = _other_node(data, random)
    path.write_text(json.dumps(said[1], default=repr), "utf-8")
    return said[0]


def _study_value(folder: Path, random: Random) -> str:
    path = folder / "study.toml"
    if random.random() < 0.4:
        path.write_bytes(mutated_text(path.read_text("utf-8"), random))
        return "text of study.toml"
    where, data = _other_node(tomllib.loads(path.read_text("utf-8")), random)
    with suppress(TypeError, ValueError, AttributeError):
        path.write_text(tomli_w.dumps(data), "utf-8")
    return where


def _other_node(data, random: Random):
    """Plain data with one node changed, and where."""
    nodes = list(_nodes(data))
    parent, key = random.choice(nodes)
    match random.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[random.choice(["x", "", f"{key}s", "kind"])] = parent.pop(key)
        case 2:
            other, name = random.choice(nodes)
            with suppress(KeyError, IndexError):
                parent[key] = json.loads(json.dumps(other[name]))
        case _:
            odd = random.choice(ODD)
            parent[key] = odd if not isinstance(odd, bytes) else odd.decode("latin-1")
    return f"{key} in plain data", data


def _nodes(data):
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(entries):
        yield data, key
        if isinstance(value, dict | list):
            yield from _nodes(value)


def loosened(connection: sqlite3.Connection, table: str) -> None:
    """Take the types and the constraints from a table, as a damaged one has none."""
    connection.execute(f"CREATE TABLE loose AS SELECT * FROM {table}")
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE loose RENAME TO {table}")


def _cell(folder: Path, random: Random) -> str:
    """Another value in one row, or in all rows, of a column; of JSON in a part of it."""
    table = random.choice(["runs", "runs", "runs", "rounds", "ledger"])
    with closing(sqlite3.connect(folder / "runs.sqlite", isolation_level=None)) as connection:
        loosened(connection, table)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}")]
        column, row = random.choice(columns), random.choice(rows)
        before = connection.execute(
            f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)
        ).fetchone()[0]
        value = random.choice(ODD)
        if isinstance(before, str) and before[:1] in ("{", "[") and random.random() < 0.7:
            parts = json.loads(before)
            if parts:
                value = json.dumps(_other_node(parts, random)[1], default=repr)
        if isinstance(value, list | dict):
            value = json.dumps(value)
        if isinstance(value, int) and abs(value) >= 2**63:
            value = str(value)
        where = "TRUE" if random.random() < 0.2 else f"rowid = {row}"
        if isinstance(value, str) and "\ud800" in value:
            value = value.encode("utf-8", "surrogatepass")
        given = "CAST(? AS TEXT)" if isinstance(value, bytes) and random.random() < 0.7 else "?"
        connection.execute(f"UPDATE {table} SET {column} = {given} WHERE {where}", (value,))
    return f"{table}.{column} where {where}: {value!r}"[:300]


def _schema(folder: Path, random: Random) -> str:
    table = random.choice(["runs", "rounds", "ledger"])
    with closing(sqlite3.connect(folder / "runs.sqlite", isolation_level=None)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        change = random.choice(
            [
                f"DELETE FROM {table}",
                f"DELETE FROM {table} WHERE rowid % 2",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} RENAME TO other",
                f"ALTER TABLE {table} RENAME COLUMN {random.choice(columns)} TO other",
                f"ALTER TABLE {table} ADD COLUMN other TEXT",
                f"PRAGMA user_version = {random.choice([0, 1, 2, 4, -1, 2**31 - 1])}",
                f"INSERT INTO {table} SELECT * FROM {table}",
            ]
        )
        if change.startswith("INSERT"):
            loosened(connection, table)
        with suppress(sqlite3.Error):
            connection.execute(change)
    return change


def _renamed(folder: Path, random: Random) -> str:
    """An experiment, a configuration or a factor has another name in one place than in another."""
    word = random.choice(["tuning", "architecture", "strategy", "network", "relu", "grid"])
    other = random.choice(["x", "", "Ω", "experiment", "run_id", "state", word.upper()])
    match random.randrange(3):
        case 0:
            path = folder / "study.toml"
            path.write_text(path.read_text("utf-8").replace(word, other), "utf-8")
        case 1:
            path = folder / "manifest.json"
            path.write_text(path.read_text("utf-8").replace(f'"{word}"', f'"{other}"'), "utf-8")
        case _:
            column = random.choice(["experiment", "configuration", "factors", "kind", "run_id"])
            with closing(sqlite3.connect(folder / "runs.sqlite", isolation_level=None)) as sql:
                sql.execute(
                    f"UPDATE OR IGNORE runs SET {column} = replace({column}, ?, ?)", (word, other)
                )
    return f"{word} is {other!r}"


def copied(folder: Path, to: Path) -> Path:
    """A copy of a results folder that may be changed."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("report", ".lock")))
