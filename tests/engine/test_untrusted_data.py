"""Messages and recordings of an untrusted process: what has the agreed form passes, all else is refused in words."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from graders.engine.recordings import BadRecording, checked_recordings
from graders.engine.wire import Channel, Closed, Garbled, Late


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel that accepts 100 bytes, and the raw other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours, limit=100), theirs


def framed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def test_a_message_arrives_as_it_was_sent(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    Channel(other, limit=100).send({"op": "drive", "text": "é\ud800", "n": 1.5})
    assert channel.receive() == {"op": "drive", "text": "é\ud800", "n": 1.5}


def test_a_message_in_pieces_is_put_together(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    pieces = framed(json.dumps(list(range(20))).encode())
    sender = threading.Thread(target=lambda: [other.sendall(pieces[i : i + 1]) for i in range(len(pieces))])
    sender.start()
    assert channel.receive() == list(range(20))
    sender.join()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack("!I", 101), "101 bytes, where 100 are allowed"),
        (framed(b"{"), "no JSON"),
        (framed(b"\xff\xfe"), "no JSON"),
        (framed(b""), "no JSON"),
        (framed(b"[NaN]"), "no JSON"),
        (framed(b"[-Infinity]"), "no JSON"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, words: str, ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(data)
    with pytest.raises(Garbled, match=words):
        channel.receive()


def test_nesting_without_end_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(framed(b"[" * 50_000))
        with pytest.raises(Garbled):
            Channel(ours, limit=100_000).receive()


def test_memory_addresses_are_left_out(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    Channel(other, limit=100).send(["<A at 0x7f01>", "x\nat 0x10", "flat 0x10", 16])
    assert channel.receive() == ["<A at 0x…>", "x\nat 0x…", "flat 0x10", 16]


def test_an_end_in_the_middle_of_a_message_is_an_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(framed(b"[1, 2]")[:-2])
    other.close()
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(Closed):
        channel.send({})


def test_a_deadline_holds_for_the_whole_message(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(framed(b"[1, 2]")[:-2])
    with pytest.raises(Late):
        channel.receive(deadline=time.monotonic() + 0.01)
    with pytest.raises(Late):
        channel.receive(deadline=time.monotonic() - 1)


EVENT = {"t": 0.5, "who": "main", "what": "call", "kind": "note", "value": [1, {"a": None}]}
RECORDING = {"history": [EVENT], "schedule": {"12": "main"}, "trouble": None}


def nested(levels: int) -> Any:
    """A list in a list in a list, so many of them."""
    return [nested(levels - 1)] if levels else 0


TROUBLE = {"kind": "deadlock", "message": "a waits for b", "where": ["line 3: lock.acquire()"]}


def test_recordings_in_the_agreed_form_pass() -> None:
    stopped = {"history": [], "schedule": {}, "trouble": TROUBLE}
    assert checked_recordings([[RECORDING, stopped], [stopped]], 3) == [[RECORDING, stopped], [stopped]]
    deep = RECORDING | {"history": [EVENT | {"value": nested(12)}]}
    assert checked_recordings([[deep]], 1) == [[deep]]


def test_a_trouble_of_an_unknown_kind_is_an_error() -> None:
    strange = {"history": [], "schedule": {}, "trouble": TROUBLE | {"kind": "passed"}}
    assert checked_recordings([[strange]], 1)[0][0]["trouble"] == TROUBLE | {"kind": "error"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        "passed",
        [None],
        [{**RECORDING, "status": "passed"}],
        [{"history": [EVENT], "schedule": {}}],
        [RECORDING] * 3000,
        [RECORDING | {"history": []}],
        [RECORDING | {"history": [EVENT] * 20_001}],
        [RECORDING | {"history": {"0": EVENT}}],
        [RECORDING | {"history": ["event"]}],
        [RECORDING | {"schedule": {"-1": "main"}}],
        [RECORDING | {"schedule": {"9" * 50: "main"}}],
        [RECORDING | {"schedule": {"²": "main"}}],
        [RECORDING | {"schedule": {"1": 2}}],
        [RECORDING | {"trouble": "none"}],
        [RECORDING | {"trouble": TROUBLE | {"where": "here"}}],
        [RECORDING | {"trouble": TROUBLE | {"message": None}}],
        [RECORDING | {"trouble": TROUBLE | {"kind": []}}],
        *(
            [RECORDING | {"history": [EVENT | change]}]
            for change in (
                {"t": "0"},
                {"t": True},
                {"t": None},
                {"t": 10**400},
                {"until": "later"},
                {"who": 7},
                {"what": None},
                {"what": "x" * 10_001},
                {"kind": ["note"]},
                {"value": float("inf")},
                {"value": [{"a": float("nan")}]},
                {"value": ["x" * 10_001]},
                {"value": nested(13)},
            )
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(BadRecording, match=r"^not "):
        checked_recordings([value], 1)


@pytest.mark.parametrize("value", [None, [], {}, "passed", RECORDING, [[RECORDING]] * 4], ids=lambda v: str(v)[:20])
def test_as_many_lists_as_scenarios_at_most_and_never_none(value: Any) -> None:
    with pytest.raises(BadRecording, match=r"^not the recordings of each scenario$"):
        checked_recordings(value, 3)
