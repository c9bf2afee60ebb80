"""Real servers on loopback that speak as S3 and as Google's storage, and what clients find in the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


@contextmanager
def bucket(name: str = "discern") -> Iterator[Mapping[str, str]]:
    """Serve an empty bucket; yield the variables that lead every S3 client to it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    s3fs = pytest.importorskip("s3fs", reason="the extra `remote` is not installed")
    server.start()
    try:
        host, port = server.get_host_and_port()
        environ = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with pytest.MonkeyPatch.context() as patch:
            for key, value in environ.items():
                patch.setenv(key, value)
            s3fs.S3FileSystem.clear_instance_cache()
            urlopen(Request(f"{environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()
            s3fs.S3FileSystem().mkdir(name)
            yield environ
            s3fs.S3FileSystem.clear_instance_cache()
    finally:
        server.stop()


@contextmanager
def google_bucket(name: str = "discern") -> Iterator[None]:
    """Serve an empty bucket of Google's storage, and lead its clients to it."""
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    gcsfs = pytest.importorskip("gcsfs", reason="the extra `remote` is not installed")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=name)
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
            patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            gcsfs.GCSFileSystem.clear_instance_cache()
            yield
            gcsfs.GCSFileSystem.clear_instance_cache()
    finally:
        server.stop()
