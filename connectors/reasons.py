"""Why something failed, in words: without the classes, the codes and the internals of a library.

The libraries are known by name, because providers must not import one that does I/O.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_ERRNO = re.compile(r"^\[(Errno|SSL)[^]]*\] ")
_CLASS = re.compile(r"^\w+(: |$)")
# librdkafka names the side where an error arose, and how long it tried.
_LIBRDKAFKA = re.compile(r"\b(Local|Broker): | \(after \d.*$")
# The type of an error of pydantic -> words; the error has the limits.
_FIELDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a decimal number",
    "decimal_parsing": "must be a decimal number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "url_parsing": "must be a URL",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
# No rule of ours raises these.
_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)


def reason_of(error: Any) -> str:
    """Return why something failed. `error` is an exception, or a `KafkaError` of librdkafka."""
    of_library = _LIBRARIES.get(type(error).__module__.partition(".")[0], _of_python)
    return of_library(error)


def field_reason(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a field, from an error of pydantic: an entry of `errors()`."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        return f"is not one of {context['expected'].replace(' or ', ', ')}"
    if words := _FIELDS.get(error["type"]):
        return words.format_map(context)
    return str(error["msg"]).removeprefix("Value error, ")


def fields_reason(error: Any, whole: str = "") -> str:
    """Return what is wrong with each field, from a `ValidationError` of pydantic, without values.
    `whole` names what is wrong as a whole.
    """
    reasons = (
        (".".join(map(str, one["loc"])) or whole, field_reason(one))
        for one in error.errors(include_input=False, include_url=False)
    )
    return "; ".join(f"{name}: {reason}" if name else reason for name, reason in reasons)


def _of_python(error: BaseException) -> str:
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start} is not {error.encoding.upper()}"
        case OSError(strerror=str(text)) if text:
            # asyncio writes the address as a tuple, then the cause.
            text = text.rpartition("] ")[2]
            return f"{error.filename}: {text}" if error.filename else text
        case TimeoutError():
            return str(error) or "no answer in time"
        case KeyError():
            return f"a defect: {error.args[0] if error.args else 'a name'} is missing"
        case _ if isinstance(error, _DEFECTS):
            return f"a defect: {str(error) or _words(error)}"
    return str(error).strip() or _words(error)


def _words(error: BaseException) -> str:
    """Return the words of the error's class: "request timed out"."""
    name = type(error).__name__.removesuffix("Error")
    return " ".join(re.findall("[A-Z]+[a-z]*", name)).lower() or "an error without a message"


def _of_httpx(error: Any) -> str:
    name, text = type(error).__name__, _ERRNO.sub("", str(error))
    if name.endswith("Timeout"):
        what = "no connection" if name in ("ConnectTimeout", "PoolTimeout") else "no answer"
        seconds = _timeouts(error).get(name.removesuffix("Timeout").lower())
        return f"{what} in time" if seconds is None else f"{what} within {seconds:g} s"
    if name == "DecodingError":
        return "the answer cannot be decompressed"
    if text in ("", "All connection attempts failed"):
        return "no connection" if name == "ConnectError" else "the connection broke"
    return text


def _timeouts(error: Any) -> dict[str, float | None]:
    try:
        timeouts: dict[str, float | None] = error.request.extensions.get("timeout", {})
    except RuntimeError:  # the error belongs to no request
        return {}
    return timeouts


def _of_aiokafka(error: Any) -> str:
    name = type(error).__name__
    if name == "KafkaConnectionError":
        return "no connection to a Kafka broker"
    if name == "KafkaTimeoutError":
        return "no answer from Kafka in time"
    # Its text of a broker's refusal is the number and the class.
    return _words(error) if hasattr(error, "errno") else _CLASS.sub("", str(error)) or _words(error)


def _of_librdkafka(error: Any) -> str:
    cause = error if hasattr(error, "str") else error.args[0]
    return _LIBRDKAFKA.sub("", cause.str() if hasattr(cause, "str") else str(cause))


_LIBRARIES: dict[str, Callable[[Any], str]] = {
    "aiokafka": _of_aiokafka,
    "cimpl": _of_librdkafka,
    "confluent_kafka": _of_librdkafka,
    "httpx": _of_httpx,
}
