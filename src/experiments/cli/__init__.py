"""The command `winback`: `commands` is the way in, every other module a group of commands with their arguments."""

from experiments.cli.commands import main

__all__ = ["main"]
