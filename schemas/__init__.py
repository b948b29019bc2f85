"""The contracts: Avro schemas, the typed records that mirror them, ids, money and framing.

Everything else imports from here and this package imports nothing of the project.
"""
