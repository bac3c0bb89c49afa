"""What the peers in Python share: the lines and options of `swarm connect`."""

import argparse
import asyncio
import json
import sys


def options(description, extend=lambda parser: None):
    parser = argparse.ArgumentParser(description=description)
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--offer", action="store_true")
    role.add_argument("--answer", action="store_true")
    parser.add_argument(
        "--ice-server", action="append", default=[], metavar="URL[,USER,CREDENTIAL]", dest="ice_servers")
    parser.add_argument("--policy", choices=["all", "relay"], default="all")
    parser.add_argument("--echo", action="store_true", help="send every message back as it came")
    extend(parser)
    return parser.parse_args()


def servers(texts):
    """URL, username and credential of each `--ice-server`."""
    for text in texts:
        url, *credentials = text.split(",", 2)
        yield url, *(credentials + [None, None])[:2]


def write(**values):
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def read():
    """The objects of standard input, until it ends."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)
