"""Programs run in this process as the interpreter would run them."""

import gc
import os
import subprocess
import sys
import zipfile

import pytest

from joulelab.errors import CommandError
from joulelab.profiling.program import Program

TELLS = """
import os, sys
print(sys.argv, sys.path[0], __name__, __file__, sys.modules["__main__"].__dict__ is globals())
"""
RAISES = """
def inner():
    return {}["x"]

def outer():
    try:
        inner()
    except KeyError as error:
        raise ValueError("bad") from error

outer()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words, **options):
    return Program.parse(words, **options).run()


def as_python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_a_file_sees_what_it_sees_in_the_interpreter(folder, capsys):
    (folder / "tells.py").write_text(TELLS)
    assert run("tells.py", "--lr", "1") == 0
    assert capsys.readouterr().out == as_python("tells.py", "--lr", "1").stdout


def test_a_module_sees_what_it_sees_in_the_interpreter(folder, capsys):
    (folder / "package").mkdir()
    (folder / "package" / "tells.py").write_text(TELLS)
    for words in (("-m", "package.tells", "x"), ("python", "-m", "package.tells", "x")):
        assert run(*words) == 0
        assert capsys.readouterr().out == as_python("-m", "package.tells", "x").stdout
    assert run("package.tells", "x", module=True) == 0


def test_code_a_folder_and_an_archive_are_programs(folder, capsys):
    assert run("python", "-c", "import sys; print(sys.argv)", "x") == 0
    (folder / "folder").mkdir()
    (folder / "folder" / "__main__.py").write_text("import other")
    (folder / "folder" / "other.py").write_text("print('of the folder')")
    assert run("folder") == 0
    with zipfile.ZipFile(folder / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", "print('of the archive')")
    assert run("app.pyz") == 0
    assert capsys.readouterr().out == "['-c', 'x']\nof the folder\nof the archive\n"
    sys.modules.pop("other")


def test_this_process_is_as_before(folder):
    (folder / "changes.py").write_text("import sys; sys.argv.append(1); sys.path[:] = []")
    before = sys.argv[:], sys.path[:], sys.modules["__main__"]
    run("changes.py")
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit(-1)", 255, ""),
        ("import sys; sys.exit('a message')", 1, "a message\n"),
    ],
)
def test_the_exit_code_is_the_interpreters(folder, capsys, code, expected, said):
    (folder / "ends.py").write_text(code)
    assert run("ends.py") == expected
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("code", [RAISES, "print(1", "raise KeyboardInterrupt"])
def test_a_traceback_is_the_one_that_the_interpreter_prints(folder, capsys, code):
    (folder / "raises.py").write_text(code)
    code = run("raises.py")
    done = as_python("raises.py")
    assert capsys.readouterr().err == done.stderr
    assert code == (130 if "Interrupt" in done.stderr else done.returncode)


def test_a_missing_module_is_said_with_the_interpreter_that_misses_it(folder, capsys):
    (folder / "imports.py").write_text("import nowhere")
    assert run("imports.py") == 1
    *_, error, where = capsys.readouterr().err.splitlines()
    assert error == "ModuleNotFoundError: No module named 'nowhere'"
    assert sys.executable in where


def test_threads_that_keep_a_program_running_are_waited_for(folder, capsys):
    (folder / "threads.py").write_text(
        "import threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def late():\n"
        "    time.sleep(0.05)\n"
        "    print('late')\n"
        "threading.Thread(target=late).start()\n"
        "pool = ThreadPoolExecutor(1)\n"
        "pool.submit(print, 'pooled').result()\n"
    )
    assert run("threads.py") == 0
    assert capsys.readouterr().out == "pooled\nlate\n"
    gc.collect()  # the pool goes, and with it the thread that waits for its tasks


@pytest.mark.parametrize(
    ("words", "message", "hint", "code"),
    [
        ((), "no program is named", "joulelab profile -- train.py", 127),
        (("nowhere.py",), "nowhere.py does not exist", "-m module", 127),
        (("./a.out",), "./a.out is not a Python program", "joulelab measure -- ./a.out", 126),
        (("ls", "-l"), "ls is not a Python program", "joulelab measure -- ls", 126),
        (("-m", "nowhere"), "no module named nowhere", "check its name", 1),
        (("folder",), "folder has no __main__.py", "name the file", 1),
        (("python", "-O", "x.py"), "python -O is not possible", "python -O -m joulelab", 126),
        (("python3.99", "x.py"), "python3.99 does not exist", sys.executable, 127),
        (("./python", "x.py"), "not with ./python", "leave the interpreter out", 126),
    ],
)
def test_what_cannot_be_run_is_said_with_what_can_be_done(folder, words, message, hint, code):
    (folder / "folder").mkdir()
    for name in ("a.out", "python"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    with pytest.raises(CommandError) as refused:
        Program.parse(words)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.exit_code == code


def test_a_script_of_python_is_found_on_the_path(folder, monkeypatch, capsys):
    (folder / "tool").write_text(f"#!{sys.executable}\nprint('tool')\n")
    (folder / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert run("tool") == 0
    assert capsys.readouterr().out == "tool\n"
