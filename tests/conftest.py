"""One thread for each test process: they run side by side, also those that tests start. And ctrl-C works in them: who starts
the tests in the background has it ignored, which processes inherit."""

import os
import signal

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
