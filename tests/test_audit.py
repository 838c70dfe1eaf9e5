"""The audit of pinned packages, against a database of our own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"


@pytest.fixture
def database():
    """Answers as OSV does; the packages in `bad` have a vulnerability."""

    class Handler(BaseHTTPRequestHandler):
        bad: ClassVar[set[str]] = set()

        def do_POST(self):
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [query["package"]["name"] for query in queries]
            results = [{"vulns": [{"id": "GHSA-1"}]} if name in self.bad else {} for name in names]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"results": results}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def audit(address):
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--database", address], capture_output=True, text=True, check=False
    )


def test_known_vulnerabilities_are_named(database):
    handler, address = database
    clean = audit(address)
    assert clean.returncode == 0
    assert "0 of them" in clean.stdout
    handler.bad = {"torch"}
    found = audit(address)
    assert found.returncode == 1
    assert "torch==" in found.stdout
    assert "GHSA-1" in found.stdout


def test_a_database_out_of_reach_is_said_and_is_no_all_clear():
    result = audit("http://127.0.0.1:9")
    assert result.returncode == 2
    assert "nothing is known" in result.stderr
    assert result.stdout == ""
