"""What dranspose's own ingester classes make of messages: the reference of tests/tests/differential.

    PYTHON reference.py CASES > OUTCOMES

CASES is a sequence of CBOR items [class, [message, …]]; a message is the list of its parts, for the TCP class a piece of the
stream of bytes in a list, and the empty list is the end of the connection. For each case a line of JSON comes out:

    {"events": [[typ, [frame, …]], …], "died": null | text}

A frame is written as "LENGTH SHA256", the digest's first 16 characters. The class is made with settings and its `run_source` is
walked as its ingester would do it; only the socket is replaced, by one that holds the messages. Each case runs in a process of its
own, because a class may end the interpreter (numpy does, with a damaged pickle) or take all memory.
"""

import asyncio
import hashlib
import json
import logging
import os
import resource
import signal
import sys

import cbor2
import zmq
from dranspose import ingesters

logging.disable(logging.CRITICAL)

ADDRESS_SPACE = 4 << 30
SECONDS = 20
MOST_EVENTS = 10_000


class NothingLeft(Exception):
    """All messages were taken."""


class Socket:
    def __init__(self, messages):
        self.messages = iter(messages)

    def connect(self, url): ...
    def setsockopt(self, option, value): ...

    async def recv_multipart(self, copy):
        for message in self.messages:
            return [zmq.Frame(part) for part in message]
        raise NothingLeft


class Context:
    def __init__(self, messages):
        self.messages = messages

    def socket(self, kind):
        return Socket(self.messages)


class Reader(asyncio.StreamReader):
    """A connection that stays open and says nothing more."""

    async def _wait_for_data(self, function):
        raise NothingLeft


class Writer:
    def write(self, data):
        assert data == b"\n"


async def tell_events(name, messages, tell):
    ingester_class = getattr(ingesters, name)
    settings = getattr(ingesters, name.replace("Ingester", "Settings"))
    settings = settings(ingester_streams=["stream"], upstream_url="tcp://localhost:1")
    ingester = ingester_class(settings=settings)
    ingester.ctx = Context(messages)

    async def connected(host, port):
        reader = Reader()
        reader.feed_data(b"OK\n")
        for message in messages:
            if not message:
                reader.feed_eof()
                break
            reader.feed_data(b"".join(message))
        return reader, Writer()

    asyncio.open_connection = connected
    told = 0
    async for event in ingester.run_source("stream"):
        frames = [frame if isinstance(frame, bytes) else bytes(frame.buffer) for frame in event.frames]
        tell([event.typ, [f"{len(frame)} {hashlib.sha256(frame).hexdigest()[:16]}" for frame in frames]])
        told += 1
        if told > MOST_EVENTS:
            raise OverflowError("events without end")


def in_a_child(name, messages, pipe):
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)

    def tell(item):
        os.write(pipe, json.dumps(item).encode() + b"\n")

    try:
        asyncio.run(tell_events(name, messages, tell))
        tell("its source has ended")
    except NothingLeft:
        tell(None)
    except BaseException as died:
        tell(repr(died)[:500])


def outcome(name, messages):
    told, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        in_a_child(name, messages, pipe)
        os._exit(0)
    os.close(pipe)
    with os.fdopen(told) as lines:
        items = [json.loads(line) for line in lines if line.endswith("\n")]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        items.append(f"killed by signal {os.WTERMSIG(status)}")
    return {"events": items[:-1], "died": items[-1]}


with open(sys.argv[1], "rb") as file:
    while True:
        try:
            name, messages = cbor2.load(file)
        except cbor2.CBORDecodeEOF:
            break
        print(json.dumps(outcome(name, messages)), flush=True)
