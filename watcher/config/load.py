"""Load the settings from the command line, the environment, systemd credentials, a file and the defaults."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SecretsSettingsSource, SettingsError

from watcher.config.settings import PREFIX, Settings
from watcher.errors import ConfigError
from watcher.text import suggest

#: Environment variable with the path of the settings file.
CONFIG_VARIABLE = "SBTC_WATCHER_CONFIG"
#: Variables with the prefix that are not settings: the command line reads them, see
#: :mod:`watcher.cli.session`.
_COMMAND_LINE = frozenset({CONFIG_VARIABLE, "SBTC_WATCHER_SERVER", "SBTC_WATCHER_SERVER_KEY"})
DEFAULT_CONFIG = Path("/etc/sbtc-watcher/config.toml")


def load_settings(config: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Merge the command line (``overrides``; None is not given), environment, credentials, file, defaults.

    Each setting is taken whole from the first source that has it; tables are not merged.

    :raises ConfigError: with one line per problem.
    """
    problems = _unknown_variables()
    path = config_file(config)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    command_line = {name: value for name, value in (overrides or {}).items() if value is not None}
    for source, origin in (
        (command_line, "command line"),
        (EnvSettingsSource(Settings)(), ""),
        (_read_credentials(), "credentials directory"),
        (_read_file(path) if path is not None else {}, str(path)),
    ):
        for name, value in source.items():
            if name not in values:
                values[name] = value
                origins[name] = origin or PREFIX + name.upper()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += _explain(error, origins)
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def config_file(config: Path | None = None) -> Path | None:
    """Return the settings file to read: ``config``, or the environment's, or the system's if it exists."""
    if named := config or os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    try:
        DEFAULT_CONFIG.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None  # the system's file is optional
    except OSError:
        pass  # it exists; reading it reports what is wrong
    return DEFAULT_CONFIG


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{path}: cannot read the settings file: {reason}; check --config or {CONFIG_VARIABLE}"
        ) from None
    except ValueError as error:  # tomllib's, and UTF-8's
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _read_credentials() -> dict[str, Any]:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    try:
        if not Path(directory).is_dir():
            raise ConfigError(
                f"CREDENTIALS_DIRECTORY: {directory} is not a directory; systemd sets it by LoadCredential="
            )
        return SecretsSettingsSource(Settings, secrets_dir=directory, env_prefix="")()
    except (OSError, ValueError, SettingsError) as error:
        raise ConfigError(f"CREDENTIALS_DIRECTORY: cannot read a file in {directory}: {error}") from None


def _unknown_variables() -> list[str]:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _COMMAND_LINE
    # Compared without the prefix: with it, all names are similar.
    endings = {name.removeprefix(PREFIX): name for name in known}
    lines = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name.removeprefix(PREFIX), sorted(endings), n=1)
            lines.append(
                f"{name}: unknown setting" + (f"; did you mean {endings[close[0]]}?" if close else "")
            )
    return lines


#: Messages by pydantic's type of error; ``{…}`` are pydantic's context values.
_WORDS = {
    "bool_parsing": "must be true or false, not {input}",
    "bool_type": "must be true or false, not {input}",
    "enum": "must be {expected}, not {input}",
    "float_parsing": "must be a number, not {input}",
    "float_type": "must be a number, not {input}",
    "greater_than": "must be above {gt}, not {input}",
    "greater_than_equal": "must be {ge} or more, not {input}",
    "int_from_float": "must be a whole number, not {input}",
    "int_parsing": "must be a whole number, not {input}",
    "int_parsing_size": "must be a smaller whole number",
    "int_type": "must be a whole number, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "literal_error": "must be {expected}, not {input}",
    "string_type": "must be text, not {input}",
    "too_short": "is empty; give at least one value, or leave it out for the default",
    "tuple_type": "must be a list, not {input}",
    "frozen_set_type": "must be a list, not {input}",
    "value_error": "{error}",
}


def _explain(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    """Return one line per problem: the setting, the source of its value, what is wrong, what to write."""
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        kind = problem["type"]
        if kind == "default_factory_not_called":
            continue  # the default depends on another setting, which is reported itself
        if kind == "extra_forbidden":
            text = f"unknown setting{suggest(name, Settings.model_fields)}"
        else:
            secret = name in {"api_key", "api_keys", "admin_token", "database_url"}
            values = {"input": "that value" if secret else repr(problem["input"]), **problem.get("ctx", {})}
            text = _WORDS[kind].format(**values) if kind in _WORDS else problem["msg"]
        origin = f" ({origins[name]})" if name in origins else ""
        lines.append(f"{name}{origin}: {' '.join(text.split())}")
    return lines
