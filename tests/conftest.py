"""One thread for each test process: they run side by side, also those that tests start."""

import os

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
