"""The command `winback`: a file for the arguments, a file for the commands."""

from experiments.cli.command import main

__all__ = ["main"]
