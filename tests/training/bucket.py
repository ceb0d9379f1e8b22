"""A bucket on this machine: as much of Google's storage protocol (JSON API) as its clients use.

Both clients of a run speak to it over HTTP as they would to Google: gcsfs (files, through epath)
and tensorstore (the arrays of checkpoints). Objects have generations, without which neither would
write safely.
"""

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TIME = "2020-01-01T00:00:00.000Z"


class Bucket(ThreadingHTTPServer):
    """Serves {name: (generation, bytes)} on a free port; names with `denied` in them answer 403."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.denied = ""
        self.uploads: dict[str, tuple[str, str | None, bytearray]] = {}
        self.lock = threading.Lock()
        self.generations = itertools.count(1)
        self.url = f"http://localhost:{self.server_port}"
        self.environment = {
            "STORAGE_EMULATOR_HOST": self.url,  # gcsfs
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks another of Google's services
        }

    def store(self, name: str, content: bytes, expected: str | None) -> dict | None:
        """Writes an object, unless its generation is not the expected one (0: absent)."""
        with self.lock:
            if expected is not None and self.objects.get(name, (0,))[0] != int(expected):
                return None
            self.objects[name] = next(self.generations), content
        return self.describe(name)

    def describe(self, name: str) -> dict:
        """The metadata of an object, as the protocol says it."""
        generation, content = self.objects[name]
        return {
            "kind": "storage#object",
            "id": f"bucket/{name}/{generation}",
            "name": name,
            "bucket": "bucket",
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "size": str(len(content)),
            "etag": str(generation),
            "timeCreated": TIME,
            "updated": TIME,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that has read enough
            super().handle()

    def do_GET(self) -> None:
        path, query = self._split()
        if path.endswith("/o"):
            self._list(query)
        elif path.endswith("/b/bucket"):
            self._answer(200, {"kind": "storage#bucket", "name": "bucket", "location": "HERE"})
        elif "/o/" not in path:
            self._answer(404)
        else:
            self._read(unquote(path.partition("/o/")[2]), query)

    def do_POST(self) -> None:
        path, query = self._split()
        if path == "/upload":
            return self.do_PUT()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        copy = re.fullmatch(r".*?/o/([^/]+)/(rewriteTo/b/bucket|moveTo)/o/([^/]+)", path)
        if copy:
            source, how, target = (unquote(part) for part in copy.groups())
            if source not in self.server.objects:
                return self._answer(404)
            stored = self.server.store(target, self.server.objects[source][1], None)
            if how == "moveTo":
                del self.server.objects[source]
            return self._answer(200, {"done": True, "resource": stored} | stored)
        name = query.get("name")
        if query.get("uploadType") == "resumable":
            name = name or json.loads(body)["name"]
            upload = str(next(self.server.generations))
            self.server.uploads[upload] = name, query.get("ifGenerationMatch"), bytearray()
            return self._answer(200, {}, {"Location": f"{self.server.url}/upload?id={upload}"})
        if query.get("uploadType") == "multipart":
            mark = re.search(r"boundary=['\"]?([^'\";]+)", self.headers["Content-Type"])[1].encode()
            parts = (part.strip(b"\r\n") for part in body.split(b"--" + mark)[1:3])
            described, body = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts)
            name = json.loads(described)["name"]
        stored = self.server.store(name, body, query.get("ifGenerationMatch"))
        return self._answer(200, stored) if stored else self._answer(412)

    def do_PUT(self) -> None:
        name, expected, content = self.server.uploads[self._split()[1]["id"]]
        content += self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Range", "").endswith("/*"):  # more will follow
            return self._answer(308, b"", {"Range": f"bytes=0-{len(content) - 1}"})
        stored = self.server.store(name, bytes(content), expected)
        return self._answer(200, stored) if stored else self._answer(412)

    def do_DELETE(self) -> None:
        path, query = self._split()
        name = unquote(path.partition("/o/")[2])
        with self.server.lock:
            generation = self.server.objects.get(name, (0,))[0]
            if int(query.get("ifGenerationMatch", generation)) != generation:
                return self._answer(412)
            found = self.server.objects.pop(name, None)
        return self._answer(204 if found else 404)

    def _read(self, name: str, query: dict[str, str]) -> None:
        if self.server.denied and self.server.denied in name:
            return self._answer(403)
        if name not in self.server.objects:
            return self._answer(404)
        if query.get("alt") != "media":
            return self._answer(200, self.server.describe(name))
        generation, content = self.server.objects[name]
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304)
        status, headers, size = 200, {"x-goog-generation": str(generation)}, len(content)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted and size:
            first, last = wanted.groups()
            start = int(first) if first else max(size - int(last), 0)
            end = min(int(last) + 1, size) if first and last else size
            if start >= size:
                return self._answer(416)
            content, status = content[start:end], 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return self._answer(status, content, headers)

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        items, folders = [], set()
        for name in sorted(self.server.objects):
            rest = name.removeprefix(prefix)
            in_range = query.get("startOffset", "") <= name < query.get("endOffset", "\U0010ffff")
            if not name.startswith(prefix) or not in_range:
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.server.describe(name))
        answer = {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}
        self._answer(200, {name: value for name, value in answer.items() if value})

    def _split(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[-1] for name, values in parse_qs(parts.query).items()}

    def _answer(self, status: int, body: dict | bytes | None = None, headers=None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        content = b"" if status in (204, 304) else content
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serve() -> Iterator[Bucket]:
    """A bucket, gs://bucket, while its block runs."""
    with Bucket() as bucket:
        thread = threading.Thread(target=bucket.serve_forever, daemon=True)
        thread.start()
        yield bucket
        bucket.shutdown()
        thread.join()
