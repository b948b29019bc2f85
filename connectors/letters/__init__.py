"""Dead letters: found again by what one remembers of them, and published once more.

What is here is blocking: the command line calls it as it is, the board in a thread.
"""
