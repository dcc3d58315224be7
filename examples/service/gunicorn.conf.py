"""gunicorn's settings: four workers of four threads each, on loopback."""

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 4
threads = 4
