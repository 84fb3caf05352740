"""The result of dranspose's own ingester classes for messages: the reference of tests/tests/differential.

    PYTHON reference.py CASES > OUTCOMES

CASES is a sequence of CBOR items [class, [message, …]]. A message is the list of its parts. For the TCP class it is a list with a
piece of the byte stream, and the empty list is the end of the connection; for the HTTP class it is a post, [path, content-type, body].
The output is a line of JSON for each case:

    {"events": [[typ, [frame, …]], …], "answers": [status, …], "died": null | text}

A frame is written as "LENGTH SHA256", with the digest's first 16 characters. The class is created with settings, and its `run_source`
is iterated as its ingester does; only the socket is replaced, by one that holds the messages. HTTP is real: dranspose's application
in uvicorn, as `dranspose http_ingester` runs it, and a client that keeps its connection. Each case runs in a separate process,
because a class may crash the interpreter (numpy does, with a damaged pickle) or use up all memory.
"""

import asyncio
import hashlib
import http.client
import json
import os
import pathlib
import resource
import signal
import sys

import cbor2
import uvicorn
from dranspose.ingesters import http_sardana

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "plugins" / "zmq-source" / "fixtures"))
from peer import NothingLeft, events, ingester

ADDRESS_SPACE = 4 << 30
SECONDS = 20
MOST_EVENTS = 10_000


class Reader(asyncio.StreamReader):
    """A connection that stays open and sends nothing more."""

    async def _wait_for_data(self, function):
        raise NothingLeft


class Writer:
    def write(self, data):
        assert data == b"\n"


async def tell_events(made, tell):
    told = 0
    async for typ, frames in events(made):
        tell([typ, [f"{len(frame)} {hashlib.sha256(frame).hexdigest()[:16]}" for frame in frames]])
        told += 1
        if told > MOST_EVENTS:
            raise OverflowError("events without end")


async def over_sockets(name, messages, tell):
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
    await tell_events(ingester(name, messages), tell)


async def over_http(name, posts, tell):
    made = http_sardana.sardana_ingester = ingester(name, [])
    walk = asyncio.create_task(tell_events(made, tell))
    # The application's own lifespan would start the ingester's service.
    server = uvicorn.Server(uvicorn.Config(http_sardana.app, port=0, lifespan="off", log_level="critical"))
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):
        await asyncio.sleep(0)
    address = server.servers[0].sockets[0].getsockname()

    def client():
        connection = http.client.HTTPConnection(*address)
        for path, content_type, body in posts:
            connection.request("POST", path, body, {"content-type": content_type})
            answer = connection.getresponse()
            answer.read()
            tell(answer.status)
            if answer.status >= 500:
                # The server closes the connection after a failure.
                connection.close()

    await asyncio.to_thread(client)
    while made.in_queue.qsize() and not walk.done():
        await asyncio.sleep(0)
    # It has processed the last post, and yielded an event if there is one.
    if not walk.done():
        raise NothingLeft
    await walk


def in_a_child(name, messages, pipe):
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)

    def tell(item):
        os.write(pipe, json.dumps(item).encode() + b"\n")

    play = over_http if name == "HttpSardanaIngester" else over_sockets
    try:
        asyncio.run(play(name, messages, tell))
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
    died = items.pop()
    return {
        "events": [item for item in items if isinstance(item, list)],
        "answers": [item for item in items if isinstance(item, int)],
        "died": died,
    }


with open(sys.argv[1], "rb") as file:
    while True:
        try:
            name, messages = cbor2.load(file)
        except cbor2.CBORDecodeEOF:
            break
        print(json.dumps(outcome(name, messages)), flush=True)
