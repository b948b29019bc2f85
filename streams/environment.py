"""Environment variables and the `.env` file as the values of a settings class."""

import json
import os
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from connectors.reasons import field_reason

PREFIX = "LINKSTATUS_"
ENV_FILE = ".env"
# Kubernetes sets these for a service with the name `linkstatus` or `linkstatus-…`; the contract
# tests read the last one.
_NOT_OURS = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)|CONTRACT_\w+_LINK"
)
_SERVICE_PORT = re.compile(r"(tcp|udp|sctp)://")
_LIST = ' is not a list; separate the values with commas, or write a JSON list: ["…", "…"]'
_OBJECT = ' is not a JSON object; write it as {"name": "value"}'
_FORMS = {"tuple_type": _LIST, "model_type": _OBJECT, "dict_type": _OBJECT}


class BadSettings(Exception):
    """A setting is wrong or missing; the message names each setting by its variable."""


class Source(EnvSettingsSource):
    """Our variables. The environment wins over `defaults`, and both over the `.env` file. Raises
    ValueError if that file is not text, or an object in JSON has a name twice.
    """

    def __init__(self, settings: Any, defaults: Mapping[str, str]) -> None:
        super().__init__(settings, env_prefix=PREFIX.lower(), env_nested_delimiter="__")
        variables, known = _variables(defaults), list(names(settings))
        for name, text in variables.items():
            if text.lstrip().startswith("{"):
                _check_names(name, text)
        self._unknown = {
            name: text for name, text in variables.items() if not _is_known(name, known)
        }
        self.env_vars = {
            f"{PREFIX}{name}".lower(): text
            for name, text in variables.items()
            if name not in self._unknown
        }

    def __call__(self) -> dict[str, Any]:
        """Return the nested values. Unknown names stay as they are, for validation to refuse."""
        return super().__call__() | self._unknown

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return a list that is written with commas, or JSON; validation refuses other text."""
        if not value.lstrip().startswith(("[", "{")):
            return [part.strip() for part in value.split(",") if part.strip()]
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class _Repeated(Exception):
    """A JSON object has the name twice: one of its values would be lost."""


def _check_names(variable: str, text: str) -> None:
    """Raise ValueError if the text is JSON with a repeated name."""
    try:
        json.loads(text, object_pairs_hook=_without_repeats)
    except _Repeated as error:
        raise ValueError(f"{PREFIX}{variable} has the name {error} twice") from None
    except (ValueError, RecursionError):
        pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise _Repeated(repr(repeated[0]))
    return dict(pairs)


def _variables(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return our variables in upper case, without the prefix."""
    try:
        file = dotenv_values(ENV_FILE, encoding="utf-8") if Path(ENV_FILE).is_file() else {}
    except UnicodeDecodeError:
        raise ValueError(f"{ENV_FILE} is not UTF-8 text") from None
    texts = {name.upper(): text for name, text in file.items() if text is not None}
    for source in (defaults, os.environ):
        texts |= {name.upper(): text for name, text in source.items()}
    return {
        name.removeprefix(PREFIX): text
        for name, text in texts.items()
        if name.startswith(PREFIX) and not _is_not_ours(name.removeprefix(PREFIX), text)
    }


def _is_not_ours(name: str, text: str) -> bool:
    is_service = name.endswith("PORT") and _SERVICE_PORT.match(text)
    return bool(is_service or _NOT_OURS.fullmatch(name))


def names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the name of each variable; `*` stands for a name of the user's choice."""
    for field, info in model.model_fields.items():
        name, kind = prefix + field.upper(), info.annotation
        yield name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from names(kind, f"{name}__")
        elif typing.get_origin(kind) is dict:
            yield f"{name}__*"
            (_, value) = typing.get_args(kind)
            if isinstance(value, type) and issubclass(value, BaseModel):
                yield from names(value, f"{name}__*__")


def _is_known(name: str, known: Iterable[str]) -> bool:
    return any(fnmatchcase(name, one) for one in known)


def nearest(model: type[BaseModel], name: str) -> str:
    """Return advice that names the setting whose name is the most like an unknown one."""
    (match,) = get_close_matches(name, names(model), n=1, cutoff=0.0)
    return f"the nearest name is {PREFIX}{match}"


def refusal(error: ValidationError, advice: Callable[[str], str]) -> BadSettings:
    """Return the error that names each variable; `advice` is what to do about an unknown name."""
    details = error.errors(include_input=False, include_url=False)
    return BadSettings("\n".join(_line(one, advice) for one in details))


def _line(error: ErrorDetails, advice: Callable[[str], str]) -> str:
    """Name the variable; an entry of a list has none of its own."""
    name = "__".join(part.upper() for part in error["loc"] if isinstance(part, str))
    message = _FORMS.get(error["type"], f": {field_reason(error)}")
    if error["type"] == "extra_forbidden":
        message = f" is not a setting; {advice(name)}"
    return f"{PREFIX}{name}{message}"
