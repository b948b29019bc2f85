"""The contracts: Avro schemas, typed records, topics, codecs, ids and money.

All other packages import this one; it imports no other package of the project.
"""
