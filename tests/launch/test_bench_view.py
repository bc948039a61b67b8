"""The benchmark of the page runs, and reads the browser's trace."""

import json

import pytest

from launch.bench import view


@pytest.mark.browser
def test_it_opens_scrolls_and_measures(browser, tmp_path):
    (tmp_path / "page.html").write_text(view.html(2000), encoding="utf-8")
    opened = view.run(browser, tmp_path / "page.html")
    assert 0 < opened.ready < 60
    assert len(opened.frames) == view.FRAMES + 7 * 5 and min(opened.frames) >= 0
    assert 0 < opened.task < 10_000


def test_the_longest_task_of_the_main_thread_counts():
    def task(tid: int, tdur: int) -> dict:
        return {"name": "RunTask", "pid": 1, "tid": tid, "tdur": tdur}

    def thread(tid: int, name: str) -> dict:
        return {"name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}

    events = [thread(1, "CrRendererMain"), thread(2, "Compositor"), task(1, 900), task(1, 7000)]
    traced = json.dumps({"traceEvents": [*events, task(2, 99_000)]}).encode()
    assert view.longest_task(traced) == 7.0


def test_the_made_up_thought_is_sound():
    made = view.thought(500)
    made.validate()
    words = view.texts(range(1, 3000))
    assert len(set(words)) > 2900 and "\n" in words
    forks = (made.weights[:, 1] >= 0.25).mean()
    assert 0.05 < forks < 0.2
