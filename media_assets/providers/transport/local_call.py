"""Running a local model: in a thread, with a stop that really stops it.

A thread cannot be cancelled, so cancelling the coroutine sets the work's stop flag and waits until the thread has
noticed: when this returns or raises, nothing of the call runs any more.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from media_assets.errors import StorageError
from media_assets.media.work import Work
from media_assets.providers.base import LocalArguments, LocalCall, LocalReply
from media_assets.threads import wait_for_end


async def run_local_call(
    call: LocalCall,
    threads: Executor,
    *,
    inputs: Mapping[str, Path],
    scratch: Path,
    deadline_s: float,
    tell: Callable[[float], None],
) -> LocalReply:
    """Run ``call`` to its end in a thread.

    Raises:
        MediaError: What the model raised.
        asyncio.CancelledError: After the thread has stopped.
    """
    work = Work(scratch=scratch, stop=threading.Event(), tell=tell)
    arguments = LocalArguments(
        params=call.params, inputs=inputs, target=scratch / "output", deadline_s=deadline_s, work=work
    )
    running = asyncio.get_running_loop().run_in_executor(threads, _run, call, arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        work.stop.set()
        await wait_for_end(running)
        raise


def _run(call: LocalCall, arguments: LocalArguments) -> LocalReply:
    try:
        return call.function(arguments)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        told = "the disk is full. Make room" if full else f"{error.strerror or type(error).__name__}. Mend that"
        message = f"a local model could not read or write a file: {told} and run again: nothing is lost."
        raise StorageError(message) from error
