"""Under random trouble for a while nothing leaks, and no answer is wrong. See `benchmarks.soak`."""

from __future__ import annotations

import asyncio
import logging

import pytest

from benchmarks.soak import soak

# Of a run as short as this; what there is of it in ten minutes is in the benchmark's figures.
MOST_GROWN_MB = 24.0


@pytest.fixture(scope="module")
def report(request):
    # What fails here fails on purpose, and pytest would keep all that is said of it.
    logging.disable(logging.ERROR)
    try:
        return asyncio.run(soak(request.config.getoption("--soak-seconds")))
    finally:
        logging.disable(logging.NOTSET)


def test_there_was_trouble(report):
    assert report.requests["answer"] > 20
    assert report.happened["faults"] > 5


def test_every_answer_was_right_or_a_well_formed_error(report):
    assert report.wrong == []


def test_all_models_answer_at_the_end(report):
    assert report.wrong_at_the_end == []


def test_no_task_socket_or_file_is_left(report):
    assert report.leaked_tasks == {}
    assert report.leaked_files == {}


def test_memory_stays_flat(report):
    assert report.grown_mb < MOST_GROWN_MB
