"""What a person or a program asked for and does not get."""

from http import HTTPStatus


class Refused(Exception):
    """An action is not done now. The message says why; `status` is the status of the answer."""

    status = HTTPStatus.CONFLICT


class BadInput(Refused):
    """A parameter or a form of a page is wrong; the message names it."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
