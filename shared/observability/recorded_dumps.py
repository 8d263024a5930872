"""The hung shop, dumped three times and written down: what faulthandler, py-spy and the course's handler printed.

Recorded from `hung_process` on Linux with Python 3.11; paths are shortened. A test compares them with real dumps.
"""

from __future__ import annotations

__all__ = ["FAULTHANDLER", "LOCKS", "PY_SPY"]

FAULTHANDLER = """\
Thread 0x00007fc8c1d306c0 (most recent call first):
  File "thread_dump.py", line 81 in acquire
  File "thread_dump.py", line 104 in __enter__
  File "hung_process.py", line 145 in get
  File "hung_process.py", line 165 in serve
  File "/usr/lib/python3.11/threading.py", line 982 in run
  File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007fc8c25356c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
  File "/usr/lib/python3.11/threading.py", line 629 in wait
  File "/usr/lib/python3.11/threading.py", line 982 in run
  File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007fc8c2d3a6c0 (most recent call first):
  File "thread_dump.py", line 81 in acquire
  File "thread_dump.py", line 104 in __enter__
  File "hung_process.py", line 152 in set
  File "hung_process.py", line 132 in update
  File "hung_process.py", line 168 in import_prices
  File "/usr/lib/python3.11/threading.py", line 982 in run
  File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007fc8c353f6c0 (most recent call first):
  File "thread_dump.py", line 81 in acquire
  File "thread_dump.py", line 104 in __enter__
  File "hung_process.py", line 124 in query
  File "hung_process.py", line 148 in get
  File "hung_process.py", line 165 in serve
  File "/usr/lib/python3.11/threading.py", line 982 in run
  File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Current thread 0x00007fc8c41bbb80 (most recent call first):
  File "hung_process.py", line 178 in _hang
  File "hung_process.py", line 194 in <module>
  File "<frozen runpy>", line 88 in _run_code
  File "<frozen runpy>", line 198 in _run_module_as_main
"""
PY_SPY = """\
Process 23174: python -m shared.observability.hung_process
Python v3.11.7 (/usr/bin/python3.11)

Thread 23174 (idle): "MainThread"
    _hang (hung_process.py:178)
    <module> (hung_process.py:194)
    _run_code (<frozen runpy>:88)
    _run_module_as_main (<frozen runpy>:198)
Thread 23175 (idle): "Thread-1 (serve)"
    NamedLock.acquire (thread_dump.py:81)
    NamedLock.__enter__ (thread_dump.py:104)
    DB.query (hung_process.py:124)
    Cache.get (hung_process.py:148)
    _hang.<locals>.serve (hung_process.py:165)
    Thread.run (threading.py:982)
    Thread._bootstrap_inner (threading.py:1045)
    Thread._bootstrap (threading.py:1002)
Thread 23176 (idle): "Thread-2 (import_prices)"
    NamedLock.acquire (thread_dump.py:81)
    NamedLock.__enter__ (thread_dump.py:104)
    Cache.set (hung_process.py:152)
    DB.update (hung_process.py:132)
    _hang.<locals>.import_prices (hung_process.py:168)
    Thread.run (threading.py:982)
    Thread._bootstrap_inner (threading.py:1045)
    Thread._bootstrap (threading.py:1002)
Thread 23177 (idle): "metrics (idle)"
    Condition.wait (threading.py:327)
    Event.wait (threading.py:629)
    Thread.run (threading.py:982)
    Thread._bootstrap_inner (threading.py:1045)
    Thread._bootstrap (threading.py:1002)
Thread 23178 (idle): "Thread-3 (serve)"
    NamedLock.acquire (thread_dump.py:81)
    NamedLock.__enter__ (thread_dump.py:104)
    Cache.get (hung_process.py:145)
    _hang.<locals>.serve (hung_process.py:165)
    Thread.run (threading.py:982)
    Thread._bootstrap_inner (threading.py:1045)
    Thread._bootstrap (threading.py:1002)
"""
LOCKS = """\
Process 23174: Python 3.11.7

Thread 0x00007FC8C41BBB80 (idle): "MainThread"
    _hang (hung_process.py:178)
    <module> (hung_process.py:194)
    _run_code (<frozen runpy>:88)
    _run_module_as_main (<frozen runpy>:198)
Thread 0x00007FC8C353F6C0 (idle): "Thread-1 (serve)"
    query (hung_process.py:124)
    - waiting to lock <0x7fc8c362a480> (DB.lock)
    - locked <0x7fc8c362a520> (Cache.lock)
    get (hung_process.py:148)
    serve (hung_process.py:165)
    run (threading.py:982)
    _bootstrap_inner (threading.py:1045)
    _bootstrap (threading.py:1002)
Thread 0x00007FC8C2D3A6C0 (idle): "Thread-2 (import_prices)"
    set (hung_process.py:152)
    - waiting to lock <0x7fc8c362a520> (Cache.lock)
    - locked <0x7fc8c362a480> (DB.lock)
    update (hung_process.py:132)
    import_prices (hung_process.py:168)
    run (threading.py:982)
    _bootstrap_inner (threading.py:1045)
    _bootstrap (threading.py:1002)
Thread 0x00007FC8C25356C0 (idle): "metrics (idle)"
    wait (threading.py:327)
    wait (threading.py:629)
    run (threading.py:982)
    _bootstrap_inner (threading.py:1045)
    _bootstrap (threading.py:1002)
Thread 0x00007FC8C1D306C0 (idle): "Thread-3 (serve)"
    get (hung_process.py:145)
    - waiting to lock <0x7fc8c362a520> (Cache.lock)
    serve (hung_process.py:165)
    run (threading.py:982)
    _bootstrap_inner (threading.py:1045)
    _bootstrap (threading.py:1002)
"""
