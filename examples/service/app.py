"""A small shop. Each function in it is fine when it is read alone; under load, and when a delivery comes, it stops. See README.md."""

from __future__ import annotations

import os
from typing import Any

import flask

import inventory
import orders

app = flask.Flask(__name__)


@app.after_request
def say_who(response: flask.Response) -> flask.Response:
    """Say which worker has answered."""
    response.headers["X-Worker"] = str(os.getpid())
    return response


@app.post("/orders/<item>")
def order(item: str) -> dict[str, Any]:
    """Buy one."""
    return {"order": orders.place(item, 1)}


@app.post("/deliveries/<item>")
def deliver(item: str) -> dict[str, Any]:
    """A delivery of ten has arrived; the supplier calls this."""
    return {"stock": inventory.restock(item, 10)}


@app.get("/stock/<item>")
def stock(item: str) -> dict[str, Any]:
    """What is on the shelf; the load balancer's check asks for it, and while one of the workers has a free thread all is well."""
    return {"stock": inventory.on_shelf(item)}
