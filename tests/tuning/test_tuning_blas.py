"""BLAS has one thread while a strategy thinks, and before and after it as many as it had."""

import sys
from types import ModuleType

import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from joulelab.tuning import blas


def threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_blas_has_one_thread_and_then_its_own_again():
    with threadpool_limits(2, user_api="blas"):
        for _ in range(2):
            with blas.one_thread():
                assert threads() == {1}
            assert threads() == {2}


def test_libraries_are_looked_for_again_only_after_an_import(monkeypatch):
    looked = []

    def look():
        looked.append(1)
        return ThreadpoolController()

    blas._libraries.cache_clear()
    monkeypatch.setattr(blas, "ThreadpoolController", look)
    for _ in range(3):
        with blas.one_thread():
            pass
    assert len(looked) == 1
    monkeypatch.setitem(sys.modules, "imported_meanwhile", ModuleType("imported_meanwhile"))
    with blas.one_thread():
        pass
    assert len(looked) == 2
