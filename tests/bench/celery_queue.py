"""Jobs that do nothing, by Celery 5 on Redis: the peer of `tidemark bench queue`.

    python3 tests/bench/celery_queue.py redis://127.0.0.1:6379/1 [--jobs 5000] [--processes 2]

Pushes and runs at the same time, with a prefork pool and late acknowledgement, and prints `both N jobs/s` as its last line.
The database must be empty: it is used for the queue and for the counter.
"""

import argparse
import os
import subprocess
import sys
import time

import redis
from celery import Celery

COUNTER = "bench:done"
PAYLOAD = "7" * 32

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=64, task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="nothing")
def nothing(payload):
    """Counts in the process, and tells Redis once for a hundred jobs: the counter must not be what is measured."""
    nothing.done = getattr(nothing, "done", 0) + 1
    if nothing.done == 100:
        nothing.done = 0
        redis.Redis.from_url(os.environ["BENCH_BROKER"]).incrby(COUNTER, 100)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker")
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    server = redis.Redis.from_url(arguments.broker)
    if server.dbsize() > 0:
        sys.exit("the database is not empty: name another one, such as redis://127.0.0.1:6379/1")
    environment = dict(os.environ, BENCH_BROKER=arguments.broker)
    command = [sys.executable, "-m", "celery", "-A", "celery_queue", "worker", "--loglevel", "ERROR", "--pool", "prefork"]
    command += ["--concurrency", str(arguments.processes), "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(command, env=environment, cwd=os.path.dirname(os.path.abspath(__file__)))
    try:
        app.conf.broker_url = arguments.broker
        # A worker takes seconds to start, which is not what is measured. Each process keeps up to 99 jobs to itself.
        for _ in range(100 * arguments.processes):
            nothing.delay(PAYLOAD)
        wait_for(server, 1)
        time.sleep(1)
        before = int(server.get(COUNTER) or 0)
        started = time.monotonic()
        for _ in range(arguments.jobs):
            nothing.delay(PAYLOAD)
        enqueued = time.monotonic()
        wait_for(server, before + arguments.jobs - 100 * arguments.processes)
        ended = time.monotonic()
    finally:
        worker.terminate()
        try:
            worker.wait(5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        server.flushdb()
    print(f"enqueue {arguments.jobs / (enqueued - started):.0f} jobs/s")
    print(f"both {arguments.jobs / (ended - started):.0f} jobs/s")


def wait_for(server, jobs):
    until = time.monotonic() + 300
    while int(server.get(COUNTER) or 0) < jobs:
        if time.monotonic() > until:
            sys.exit("the jobs are not done after five minutes")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
