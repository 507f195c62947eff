"""Run by the Python of ``make llama-env``: times llama.cpp's passes of one token, as often as a line asks for it.

    python llama_passes.py MODEL.gguf THREADS CONTEXT

For each line on standard input, with a number of tokens, it prints the seconds that writing so many took.
"""

from __future__ import annotations

import sys
import time

from llama_cpp import Llama

path, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = Llama(path, n_ctx=2 * context, n_threads=threads, n_threads_batch=threads, verbose=False)
model.eval([7 + n % 1000 for n in range(context)])
for line in sys.stdin:
    model.n_tokens = context
    began = time.perf_counter()
    for n in range(int(line)):
        model.eval([7 + n])
    print(time.perf_counter() - began, flush=True)
