"""The explorer works where learners use it: in a Jupyter kernel, whose own threads and loop go on undisturbed."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

SETUP = """
import asyncio, threading, time
from shared.simulation import explore, explore_async

kernel_threads = set(threading.enumerate())

class Hits:
    def __init__(self, lock=None):
        self.count, self.lock = 0, lock

    def hit(self):
        self.count += 1

class GuardedHits(Hits):
    def hit(self):
        with self.lock:
            super().hit()

def serve(hits):
    threads = [threading.Thread(target=hits.hit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits.count == 2, f"2 hits were made and {hits.count} counted"

async def connect_twice(lock):
    opened = []

    async def get():
        async with lock:
            if not opened:
                await asyncio.sleep(30)
                opened.append("connection")

    await asyncio.gather(get(), get())
    assert len(opened) == 1, f"{len(opened)} connections were opened"

class NoLock:
    async def __aenter__(self): pass
    async def __aexit__(self, *error): pass
"""
THREADS = """
report = explore(lambda: serve(Hits()), schedules=200, seed=1)
replayed = report.replay().failure.message == report.failure.message
print(report.failure.kind, "2 hits were made and 1 counted" in str(report), replayed)
print(explore(lambda: serve(GuardedHits(lock=threading.Lock())), schedules=40, seed=1).ok)
"""
COROUTINES = """
report = explore_async(lambda: connect_twice(NoLock()), schedules=200, seed=1)
print(report.failure.kind, "2 connections were opened" in str(report))
print(explore_async(lambda: connect_twice(asyncio.Lock()), schedules=40, seed=1).ok)
"""
AFTERWARDS = """
await asyncio.sleep(0)
print([thread.name for thread in set(threading.enumerate()) - kernel_threads], type(threading.Lock()).__module__)
"""


def printed(notebook: nbformat.NotebookNode, cell: int) -> list[str]:
    streams = [output for output in notebook.cells[cell].outputs if output.output_type == "stream"]
    assert all(stream.name == "stdout" for stream in streams), streams
    return "".join(stream.text for stream in streams).splitlines()


def test_a_bug_and_its_twin_are_told_apart_inside_a_jupyter_kernel() -> None:
    cells = [new_code_cell(source.strip()) for source in (SETUP, THREADS, COROUTINES, AFTERWARDS)]
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert printed(notebook, 1) == ["invariant True True", "True"]
    assert printed(notebook, 2) == ["invariant True", "True"]
    assert printed(notebook, 3) == ["[] _thread"]
