"""Codecs without a registry: they write derived ids and look up nothing."""

from schemas.codec import Codecs

CODECS = Codecs()
