"""Hostile and broken answers to the counter exercise: by name, what each tries (the comment) and its source.

None of them defines a counter that works; `BARE` is put after those that define none, so that every check is driven.
SOLUTION, CLASSMATE and GRADEBOOK are paths of the class that is attacked, and something listens at PORT.
"""

# ruff: noqa: E501 - a line of an answer is a line

from __future__ import annotations

BARE = "\n\nclass Counter:\n    pass\n\n\ndef double(number):\n    pass\n"

_ONE_NOTE = (
    "forged = [{'history': [{'t': 0, 'who': 'main', 'what': 'passed', 'kind': 'note', 'value': 0}], "
    "'schedule': {}, 'trouble': None}]\n"
)
_SEND = "import os\ndef send(data):\n    os.write(3, len(data).to_bytes(4, 'big') + data)\n"
_IN_INIT = "class Counter:\n    def __init__(self):\n        "


def _raises(error: str) -> str:
    return f"class Counter:\n    @property\n    def value(self):\n        raise {error}\n    add = value\ndouble = Counter\n"


def _returns(value: str) -> str:
    return (
        f"class Counter:\n    @property\n    def value(self):\n        return {value}\n    def add(self):\n"
        f"        return {value}\n\ndef double(number):\n    return {value}\n"
    )


HOSTILE: dict[str, str] = {
    # --- a verdict that nobody gave ---------------------------------------------------------------------------------
    # the runner's own names
    "runner's play replaced": (
        f"{_ONE_NOTE}import graders.engine.runner as r\nr.play_each = lambda c, a, s, p: [forged] * len(s)"
    ),
    "kit's play replaced": f"{_ONE_NOTE}import sys\nsys.modules['graders.kit.play'].play_each = lambda *a: [forged]",
    "play's code replaced": (
        f"import graders.kit.play as p\n{_ONE_NOTE}p.forged = forged\n"
        "p.play_each.__code__ = (lambda *a, **k: [forged]).__code__"
    ),
    "no recordings": "import graders.engine.runner as r\nr._driven = lambda *a: {'recordings': []}",
    "a reply that says passed": (
        "import graders.engine.runner as r\n"
        "r._reply = lambda *a: {'status': 'passed', 'passed': True, 'points': 99, 'score': 99, 'recordings': []}"
    ),
    "the channel replaced": (
        "import graders.engine.wire as w\nsend = w.Channel.send\n"
        "w.Channel.send = lambda self, message, **k: send(self, {'recordings': [], 'status': 'passed'})"
    ),
    "every check is another": (
        "import graders.engine.runner as r\nfrom unittest.mock import MagicMock\nr.checks_in = lambda m: MagicMock()"
    ),
    # what judges and worlds are made of
    "judges that are content": (
        "import graders.kit as k\nk.Check.judge = lambda *a: None\n"
        "k.Check.__init_subclass__ = classmethod(lambda c, **kw: setattr(c, 'judge', lambda *a: None))"
    ),
    "mismatches that cannot be raised": "import graders.kit as k\nk.Mismatch = k.check.Mismatch = type('M', (), {})",
    "a world that returns": (
        "import graders.kit.world as w\n"
        "w.World.call = lambda self, what, fn, *a, **k: self.record(what, value=True, outcome='returned')"
    ),
    "a world that records twice": (
        "import graders.kit.world as w\nrecord = w.World.record\n"
        "w.World.record = lambda self, *a, **k: [record(self, *a, **k) for _ in range(2)][0]"
    ),
    "an empty simulation": (
        "import shared.simulation as s, types\n"
        "s.run = lambda *a, **k: types.SimpleNamespace(schedule={}, failure=None, value=None, leaked=())"
    ),
    # libraries that grading uses
    "json replaced": "import json\njson.dumps = lambda *a, **k: '{\"recordings\": []}'",
    "json's encoder replaced": "import json.encoder\njson.encoder.JSONEncoder.encode = lambda *a: '{\"recordings\": []}'",
    "hypothesis replaced": (
        "import hypothesis\nhypothesis.given = lambda *a, **k: lambda f: lambda: None\n"
        "hypothesis.strategies.integers = lambda *a, **k: hypothesis.strategies.just(0)"
    ),
    "threads replaced": (
        "import threading\nclass Thread:\n    def __init__(self, *a, **k): pass\n    start = join = __init__\n"
        "threading.Thread = Thread\nthreading.Lock = Thread"
    ),
    "time replaced": "import time\ntime.monotonic = time.perf_counter = lambda: 0.0\ntime.sleep = lambda s: None",
    "built-in functions replaced": (
        "import builtins\nbuiltins.len = lambda x: 1\nbuiltins.all = builtins.any = builtins.isinstance = lambda *a: True"
    ),
    "built-in functions removed": "import builtins\nfor name in list(vars(builtins)):\n    delattr(builtins, name)",
    "__import__ replaced": (
        "import builtins\nold = builtins.__import__\nclass Yes:\n    def __getattr__(self, name): return self\n"
        "    def __call__(self, *a, **k): return self\n"
        "builtins.__import__ = lambda name, *a: Yes() if name.startswith('graders') else old(name, *a)"
    ),
    "an import hook": (
        "import sys\nfrom importlib.machinery import ModuleSpec\nclass Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return ModuleSpec(name, self) if name.startswith(('graders', 'shared')) else None\n"
        "    def create_module(self, spec): return None\n    def exec_module(self, module): module.Counter = int\n"
        "sys.meta_path.insert(0, Hook())\n[sys.modules.pop(n) for n in list(sys.modules) if n.startswith('graders')]\n"
        "from shared.reference_counter import Counter"
    ),
    "every module forgotten": "import sys\nsys.modules.clear()",
    "an own module of checks": (
        "import sys, types\nmodule = types.ModuleType('graders.kit')\nmodule.Check = module.Mismatch = object\n"
        "sys.modules['graders.kit'] = module"
    ),
    # the connection
    "a verdict on the socket": f"{_SEND}import json\nsend(json.dumps({{'score': 99, 'checks': []}}).encode())",
    "replies ahead of questions": (
        f"{_SEND}{_ONE_NOTE}import json\nfor _ in range(200):\n    send(json.dumps({{'recordings': [forged]}}).encode())"
    ),
    "garbage on the socket": "import os\nos.write(3, os.urandom(1 << 12))",
    "a message without an end": "import os\nos.write(3, b'\\0\\x3f\\xff\\xff' + b'[' * 5000)\nos._exit(0)",
    "a reply nested to the limit": (
        f"{_SEND}send(b'{{\"recordings\": ' + b'[' * 980 + b']' * 980 + b'}}')\n{_SEND}"
        'send(b\'{"troubles": {}, "recordings": [{"history": [{"t": 0, "who": "", "what": "", "kind": "",'
        " \"value\": ' + b'[' * 900 + b']' * 900 + b'}], \"schedule\": {}, \"trouble\": null}]}' )"
    ),
    "infinities in a recording": (
        f"{_SEND}send(b'{{\"troubles\": {{}}}}')\n"
        'for _ in range(9):\n    send(b\'{"recordings": [{"history": [{"t": 0, "who": "", "what": "", "kind": "",'
        ' "value": 1e999, "outcome": "returned"}], "schedule": {}, "trouble": null}]}\' )'
    ),
    "troubles that are no troubles": (
        f'{_SEND}send(b\'{{"troubles": {{"counter": {{"kind": "", "message": "", "line": [[]], "text": 7}}}}}}\')'
    ),
    "another socket in its place": "import os, socket\na, b = socket.socketpair()\nos.dup2(a.fileno(), 3)",
    "every descriptor closed": "import os\nos.closerange(0, 4096)",
    "its streams closed": "import sys\nsys.stdout.close()\nsys.stderr.close()\nsys.stdin.close()",
    # objects that lie
    "always equal": _returns("type('Any', (), {'__eq__': lambda *a: True, '__hash__': lambda s: 0})()"),
    "a number that is any number": _returns(
        "type('N', (int,), {'__eq__': lambda *a: True, '__hash__': int.__hash__})(0)"
    ),
    "a text that compares": _returns("type('S', (str,), {'__eq__': lambda *a: True, '__hash__': str.__hash__})('')"),
    "a class without a name": _returns(
        "type('M', (type,), {'__name__': property(lambda c: 1 / 0), '__class__': property(lambda c: int)})('X', (), {})()"
    ),
    "code in __reduce__": _returns("type('R', (), {'__reduce__': lambda s: (exec, ('import os; os._exit(0)',))})()"),
    "a generator without an end": _returns("(n for n in iter(int, 1))"),
    "no number": _returns("float('nan')"),
    "an infinity": _returns("float('inf')"),
    "a number of 5,000 digits": _returns("10 ** 5000"),
    "half characters": _returns("'\\ud800\\udfff' * 99"),
    "a list that holds itself": _returns("(lambda l: l.append(l) or l)([])"),
    # other functions' variables
    "the stack walked": (
        "import sys\nclass Counter:\n    def __init__(self):\n        frame = sys._getframe()\n        while frame:\n"
        "            for value in list(frame.f_locals.values()):\n"
        "                if hasattr(value, 'history'):\n                    value.history[:] = []\n"
        "                if isinstance(value, dict) and 'calls' in value:\n                    value['calls'] = 0\n"
        "            frame = frame.f_back"
    ),
    "the heap walked": (
        "import gc\nclass Counter:\n    def __init__(self):\n        for thing in gc.get_objects():\n"
        "            if type(thing).__name__ in ('World', 'Channel') or type(thing).__name__.endswith('Zero'):\n"
        "                thing.__dict__.clear()"
    ),
    "memory overwritten": f"import ctypes\n{_IN_INIT}ctypes.memset(id(0), 255, 4096)",
    "every call traced": (
        "import sys, threading\ndef trace(frame, event, value):\n    frame.f_locals.clear()\n    return trace\n"
        "sys.settrace(trace)\nthreading.settrace(trace)"
    ),
    "every call profiled": (
        "import sys, threading\ndef profile(frame, event, value):\n    if frame.f_code.co_name == 'drive':\n"
        "        raise SystemExit\nsys.setprofile(profile)\nthreading.setprofile(profile)"
    ),
    "an audit hook that refuses": "import sys\nsys.addaudithook(lambda *a: 1 / 0)",
    "its module emptied": "import sys\nsys.modules['__main__'].__dict__.clear()",
    # --- odd ends ---------------------------------------------------------------------------------------------------
    "ends itself while it starts": "import os\nos._exit(0)",
    "ends itself in a check": f"import os\n{_IN_INIT}os._exit(0)",
    "ends itself by itself": "import atexit, os, sys\natexit.register(os._exit, 0)\nsys.exit(0)",
    "SystemExit in a check": _raises("SystemExit"),
    "KeyboardInterrupt in a check": _raises("KeyboardInterrupt"),
    "GeneratorExit in a check": _raises("GeneratorExit"),
    "an exception that has no text": _raises("type('E', (Exception,), {'__str__': lambda s: 1 / 0, '__repr__': 7})"),
    "an exception that never tells": _raises(
        "type('E', (Exception,), {'__str__': lambda s: next(iter(int, 1) and [])})"
    ),
    "an interrupt for the main thread": f"import _thread\n{_IN_INIT}_thread.interrupt_main()",
    "recursion without an end": f"import sys\nsys.setrecursionlimit(10 ** 9)\n{_IN_INIT}Counter()",
    "recursion in C": "text = '[' * 99999\nimport json, sys\nsys.setrecursionlimit(10 ** 9)\njson.loads(text)",
    "a loop without an end": f"{_IN_INIT}while True: pass",
    "a wait without an end": f"import select\n{_IN_INIT}select.select([], [], [])",
    "a lock for ever": f"import threading\n{_IN_INIT}lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "an event loop for ever": "import asyncio\nawait asyncio.Event().wait()",
    "a hundred thousand lines of error": "raise ValueError('x\\n' * 100_000)",
    "no Python": "class Counter\n    pass",
    "a null in the source": "x = '\0'",
    "too many brackets": "x = " + "(" * 3000 + ")" * 3000,
    # --- signals ----------------------------------------------------------------------------------------------------
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "cannot be ended politely": (
        "import signal\nfor number in range(1, 32):\n    try: signal.signal(number, signal.SIG_IGN)\n"
        f"    except OSError: pass\n{_IN_INIT}while True: pass"
    ),
    "kills everybody": (
        "import os, signal\nfor pid in (os.getppid() or 1, -1, 0, *range(1, 64)):\n"
        "    try: pid != os.getpid() and os.kill(pid, signal.SIGKILL)\n    except OSError: pass"
    ),
    "a storm of alarms": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)",
    # --- too much ---------------------------------------------------------------------------------------------------
    "a flood of processes": (
        "import os, time\nfor _ in range(200):\n    try:\n        if os.fork() == 0:\n            time.sleep(60)\n"
        "            os._exit(0)\n    except OSError: break\n"
        f"{_IN_INIT}while True: pass"
    ),
    "a flood of threads": (
        "import threading\nhold = threading.Event()\ntry:\n    for _ in range(2000):\n"
        "        threading.Thread(target=hold.wait).start()\nexcept RuntimeError: pass"
    ),
    "memory at once": "kept = bytearray(4 << 30)",
    "memory in bits": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))",
    "memory in children": (
        "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        kept = b'x' * (90 << 20)\n        while True: pass\n"
        f"{_IN_INIT}while True: pass"
    ),
    "files without an end": (
        "import itertools\ntry:\n    for n in itertools.count():\n        open(f'/tmp/{n}', 'wb').write(b'x' * 65536)\n"
        "except OSError: pass\ntry:\n    open('/dev/shm/x', 'wb').write(b'x' * (99 << 20))\nexcept OSError: pass"
    ),
    "names without an end": (
        "try:\n    for n in range(9999):\n        open(f'/tmp/name{n}', 'w').close()\nexcept OSError: pass"
    ),
    "printing without an end": f"{_IN_INIT}\n        while True:\n            print('x' * 65536)",
    "limits raised": (
        "import resource\nfor name in (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):\n"
        "    resource.setrlimit(name, (-1, -1))"
    ),
    # --- what outlives, and what is not its own -----------------------------------------------------------------------
    "a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.closerange(0, 99)\n"
        "        time.sleep(600)\n    os._exit(0)"
    ),
    "a child that holds the socket": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\nos._exit(0)",
    "the solution read": "exec(open(SOLUTION).read())",
    "a classmate's answer read": (
        "import json\nfor cell in json.load(open(CLASSMATE))['cells']:\n    exec(cell['source'])"
    ),
    "the solution through /proc": (
        "import glob\nfor root in glob.glob('/proc/[0-9]*/root') + glob.glob('/proc/[0-9]*/cwd'):\n"
        "    try: exec(open(root + SOLUTION).read())\n    except OSError: pass"
    ),
    "links out of its folder": (
        "import os\nos.symlink(SOLUTION, 'link.py')\nos.symlink('/', 'root')\nexec(open('link.py').read())"
    ),
    "the gradebook written": (
        "import sqlite3\nbook = sqlite3.connect(GRADEBOOK)\nbook.execute('update scores set points = 99')\nbook.commit()"
    ),
    "the reference imported": (
        "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != 'Withheld']\n"
        "from shared.reference_counter import Counter, double"
    ),
    "a call home": (
        "import socket\nfor host in ('127.0.0.1', 'localhost', '10.0.2.2'):\n"
        "    try: socket.create_connection((host, PORT), timeout=0.2)\n    except OSError: pass"
    ),
    "a namespace of its own": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nfor kinds in (0x10000000, 0x10020000, 0x30000000):\n"
        "    libc.unshare(kinds)\nlibc.mount(b'none', b'/', None, 16384 | (1 << 18), None)\n"
        "libc.umount2(b'/tmp', 2)\nlibc.chroot(b'/proc/1/root')\nos.chdir('/')\nexec(open(SOLUTION).read())"
    ),
    "a debugger on its parent": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nfor pid in range(1, 99):\n    libc.ptrace(16, pid, 0, 0)"
    ),
    "root again": "import os\nfor become in (os.setuid, os.seteuid, os.setgid):\n    become(0)",
}
