"""A worker class for dranspose that records every message its worker got, byte for byte.

Each message becomes a line of JSON in the file `$RECORDING/WORKER`: the scan and the event, the ingester's header, and the frames as
hexadecimal. Of a frame above 64 KiB, only the length and SHA-256 are recorded.
`created_at` in the header is the time of day, the only part of a message that differs between two runs; it is blanked.
"""

import hashlib
import json
import os
import re
from typing import Any

from dranspose.event import EventData
from dranspose.worker import Worker

build_event = Worker.build_event


class Recording:
    """A worker's socket to an ingester; records received messages."""

    def __init__(self, socket: Any, received: list[list[bytes]]) -> None:
        self.socket, self.received = socket, received

    async def recv_multipart(self, **options: Any) -> Any:
        parts = await self.socket.recv_multipart(**options)
        self.received.append([part.bytes for part in parts])
        return parts


def written(frame: bytes) -> str:
    return frame.hex() if len(frame) <= 65536 else f"{len(frame)} {hashlib.sha256(frame).hexdigest()}"


async def build_and_record_event(self: Worker, sockets: Any) -> EventData:
    received: list[list[bytes]] = []
    event = await build_event(self, {Recording(socket, received) for socket in sockets})
    with open(os.path.join(os.environ["RECORDING"], self.state.name), "a") as file:
        for header, *frames in received:
            header = re.sub(rb'"created_at":"[^"]*"', b'"created_at":""', header)
            line = {"scan": str(self.state.mapping_uuid), "event": event.event_number}
            file.write(json.dumps(line | {"header": header.decode(), "frames": [written(frame) for frame in frames]}) + "\n")
    return event


Worker.build_event = build_and_record_event  # type: ignore[method-assign]


class RecordingWorker:
    def __init__(self, **_: Any) -> None:
        pass

    def process_event(self, event: EventData, *_: Any) -> int:
        return event.event_number


class ReplayingWorker:
    """For `dranspose replay`: passes the frames of each event to the reducer."""

    def __init__(self, **_: Any) -> None:
        pass

    def process_event(self, event: EventData, *_: Any) -> dict[str, list[str]]:
        return {stream: [frame.hex() for frame in data.frames] for stream, data in event.streams.items()}


class PrintingReducer:
    """For `dranspose replay`: prints each event as a line of JSON."""

    def __init__(self, **_: Any) -> None:
        self.publish: dict[str, Any] = {}

    def process_result(self, result: Any, *_: Any) -> None:
        print(json.dumps({"event": result.event_number, "streams": result.payload}), flush=True)
