"""Storage URLs: `scheme:path?parameter=value`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from llmgate.errors import ConfigError, UnknownName

Options = TypeVar("Options", bound=msgspec.Struct)


class Url(msgspec.Struct, frozen=True):
    """A storage URL, taken apart: `location` is all between the scheme and the parameters."""

    scheme: str
    location: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises `ConfigError` for what is no URL."""
        scheme, colon, rest = text.partition(":")
        if not colon or not scheme.isascii() or not scheme.replace("+", "").isalnum():
            raise ConfigError(
                f"{text!r} is not a storage URL.", hint="Write for example sqlite:llmgate.db."
            )
        if len(scheme) == 1:
            raise ConfigError(
                f"{text!r} looks like a path of Windows, not like a storage URL.",
                hint=f"Write for example sqlite:{text}",
            )
        location, _, query = rest.partition("?")
        parameters = parse_qsl(query, keep_blank_values=True)
        seen = [name for name, _ in parameters]
        for name in seen:
            if seen.count(name) > 1:
                raise ConfigError(f"{text}: the parameter {name!r} is there twice.")
        return cls(scheme.lower(), location, tuple(parameters))

    def path(self) -> Path:
        """The location as a path. Raises `ConfigError` for a host, or for nothing at all."""
        location = self.location
        if location.startswith("//"):
            host, slash, rest = location[2:].partition("/")
            if host not in ("", "localhost"):
                raise ConfigError(
                    f"{self.scheme}:{location} names the host {host!r}, not a file.",
                    hint=f"Write {self.scheme}:{host}{slash}{rest} for a relative path, "
                    f"{self.scheme}:///{host}{slash}{rest} for an absolute one.",
                )
            location = slash + rest
        location = unquote(location)
        if not location or "\0" in location:
            raise ConfigError(
                f"{self.scheme}: needs a path.", hint=f"Write for example {self.scheme}:store."
            )
        return Path(location).expanduser()

    def options(self, struct: type[Options]) -> Options:
        """The parameters as the engine's options. Raises `ConfigError` that names the bad one."""
        known = struct.__struct_fields__
        for name, value in self.parameters:
            if name not in known:
                raise UnknownName("parameter", name, known, where=f" for {self.scheme}: storage")
            try:
                msgspec.convert({name: value}, struct, strict=False)
            except msgspec.ValidationError as error:
                problem = str(error).partition(" - at `$")[0].replace("`", "")
                raise ConfigError(
                    f"the parameter {name!r} of {self.scheme}: storage is {value!r}: {problem}."
                ) from error
        return msgspec.convert(dict(self.parameters), struct, strict=False)
