"""The Faust app for `faust -A streams.app worker`, configured from the environment."""

from streams.settings import load
from streams.work import build_app

app = build_app(load())
