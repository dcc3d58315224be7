"""gunicorn's settings: four workers of four threads each, on loopback."""

import pathlib

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 4
threads = 4


def child_exit(server, worker):
    """Take away what a worker that was killed has left: a probe that asks every socket would ask nobody there."""
    pathlib.Path(f"/tmp/livez-{worker.pid}.sock").unlink(missing_ok=True)
