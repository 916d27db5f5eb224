"""What a child process carries out in tests: quick to start, since nothing here imports torch."""

import os
import signal
import sys
import time

from joulelab.serving.tasks import Loaded


class Target:
    """Its methods are the requests.

    Args:
        descriptors: of open files that were handed over.
    """

    def __init__(self, *descriptors):
        self.descriptors = descriptors

    def send_bytes(self, content):
        os.write(self.descriptors[0], content)

    def leave(self, status):
        sys.exit(status)

    def be_interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"

    def print_a_line(self):
        print("a line that is not data")

    def sleep(self):
        time.sleep(600)


class IdleServer(Target):
    """Stands in for the server of a session, and answers none of the requests that are sent."""

    def use(self, device, threads):
        pass

    def load(self, task, geometry):
        return Loaded(kept=False, load_s=0.0, warm_up_s=0.0, parameters=0)

    def serve(self):
        self.sleep()
