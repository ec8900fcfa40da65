"""Kernels for Jupyter that are forked from a preloaded process, where there is one.

Registered for every Jupyter as the kernel provisioner "winback-fork" (an entry point in pyproject.toml).
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from experiments.runner.fork_server import ONE_THREAD, current

NAME = "winback-fork"
LAUNCHER = "ipykernel_launcher"
ENDS = 0.005  # seconds between two looks whether a killed kernel has ended
_running: set["ForkedKernel"] = set()


def end_all() -> None:
    """Kill every kernel that runs, whatever thread waits for it."""
    for kernel in list(_running):
        with suppress(OSError):
            if kernel.pgid:
                os.killpg(kernel.pgid, signal.SIGKILL)
            elif kernel.process:
                kernel.process.kill()


class ForkedKernel(LocalProvisioner):
    """Forks the kernel while `fork_server.preloaded` is open; starts it as Jupyter does elsewhere."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:  # noqa: ANN401  # Jupyter's signature
        """Start the kernel of a command and return where it listens."""
        server, kwargs["env"] = current(), ONE_THREAD | kwargs["env"]
        _running.add(self)
        if server is not None and LAUNCHER in cmd:
            with suppress(ChildProcessError):  # it cannot: the kernel is started as elsewhere
                argv, cwd = cmd[cmd.index(LAUNCHER) :], str(kwargs.get("cwd") or Path.cwd())
                forked = server.fork(argv, env=kwargs["env"], cwd=cwd)
                self.process = forked  # type: ignore[assignment]  # as much of a Popen as a provisioner needs
                self.pid = self.pgid = forked.pid
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  # Jupyter's signature
        """End the kernel now; return when it has ended, for Jupyter would look again only after a tenth of a second."""
        await super().kill(restart)
        for _ in range(200):
            if await self.poll() is not None:
                break
            await asyncio.sleep(ENDS)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  # Jupyter's signature
        """Forget the kernel."""
        _running.discard(self)
        await super().cleanup(restart)


class ForkingManager(AsyncKernelManager):
    """Starts kernels by ForkedKernel, whatever the kernelspec says."""

    @property
    def kernel_spec(self) -> KernelSpec | None:
        """The kernelspec, with our provisioner."""
        spec = super().kernel_spec
        if spec is not None:
            spec.metadata = spec.metadata | {"kernel_provisioner": {"provisioner_name": NAME}}
        return spec
