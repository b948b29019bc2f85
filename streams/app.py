"""The Faust app for `faust -A streams.app worker`, configured from the environment."""

from streams.settings import load
from streams.wiring import codecs
from streams.worker import build_app

settings = load()
app = build_app(settings, codecs(settings))
