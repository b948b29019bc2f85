"""Dead letters and the marks that people set: find, filter, replay, resolve.

The functions here block: the command line calls them directly, the board in a thread.
"""
