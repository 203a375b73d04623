"""Processes that work for another one."""

import multiprocessing
import os
import threading


def end_with_master() -> None:
    """In a worker: end when the process that started it does, however that ends."""
    master = multiprocessing.parent_process()
    if master is not None:

        def mourn() -> None:
            master.join()
            os._exit(1)

        threading.Thread(target=mourn, daemon=True).start()
