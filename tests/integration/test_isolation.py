"""Whatever a task does to its process or leaves behind, the next one of a real worker sees none."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil
import pytest

from tests.integration.task_worker import TaskWorker, task_worker

#: Both tasks of one slot: one looks at everything that a process has, the other spoils it.
STATE = """\
import builtins, decimal, gc, locale, logging, os, random, resource, signal, sys, threading, time
import warnings
from airflow.sdk import dag, task

COUNTER = [0]

@dag(schedule=None)
def state():
    @task
    def look():
        mask = os.umask(0)
        os.umask(mask)
        open_files = {}
        for fd in os.listdir("/proc/self/fd"):
            try:
                open_files[fd] = os.readlink(f"/proc/self/fd/{fd}").partition(":")[0]
            except OSError:
                pass
        root = logging.getLogger()
        return {
            "globals": [COUNTER, getattr(builtins, "SPOILED", None), "spoiled" in sys.modules],
            "environment": {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_CTX")},
            "directory": os.getcwd(),
            "mask": mask,
            "signals": {str(n): str(signal.getsignal(n)).split(" at ")[0] for n in range(1, 32)},
            "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
            "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 300,
            "locale": locale.setlocale(locale.LC_ALL),
            "time zone": time.tzname,
            "files": sorted(
                name for name in open_files.values() if name[:1] == "/" and name[-4:] != ".log"
            ),
            "number of files": len(open_files),
            "threads": threading.active_count(),
            "precision": decimal.getcontext().prec,
            "path": sys.path,
            "recursion": sys.getrecursionlimit(),
            "collector": [gc.isenabled(), gc.get_threshold()],
            "warnings": len(warnings.filters),
            "log": [root.level, len(root.handlers), logging.getLogger("airflow").level],
            "limits": [resource.getrlimit(kind) for kind in range(10)],
            "niceness": os.nice(0),
            "children": open(f"/proc/self/task/{os.getpid()}/children").read(),
            "open": builtins.open.__name__,
        }

    @task
    def spoil():
        COUNTER[0] += 1
        builtins.SPOILED = True
        sys.modules["spoiled"] = sys
        os.environ.update(SPOILED="1", PATH="/nowhere", TZ="Asia/Tokyo", HOME="/nowhere")
        time.tzset()
        os.chdir("/")
        os.umask(0o777)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        signal.setitimer(signal.ITIMER_REAL, 3000)
        locale.setlocale(locale.LC_ALL, "C")
        decimal.getcontext().prec = 3
        sys.path.insert(0, "/nowhere")
        sys.setrecursionlimit(5000)
        gc.disable()
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.CRITICAL)
        logging.getLogger("airflow").setLevel(logging.CRITICAL)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        os.nice(5)
        random.seed(1)
        for _ in range(20):
            os.open("/etc/passwd", os.O_RDONLY)
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()

    @task
    def chance():
        import numpy
        return [random.random(), float(numpy.random.random())]

    look(), spoil(), chance()

state()
"""

#: How the seconds begin for which what is left behind sleeps: those of this session alone.
MARK = f"86{os.getpid():07}"
#: What is left behind, each with a number of seconds to know it by.
CHILDREN = """\
import os, signal, subprocess, sys, time
from airflow.sdk import DAG, task

DOUBLE = '''
import subprocess
subprocess.Popen(["sleep", "MARK3"], start_new_session=True)
'''
STUBBORN = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
os.execvp("sleep", ["sleep", "MARK4"])
'''

with DAG("children"):
    @task
    def plain():
        subprocess.Popen(["sleep", "MARK1"])

    @task
    def detached():
        subprocess.Popen(["sleep", "MARK2"], start_new_session=True)
        subprocess.run([sys.executable, "-c", DOUBLE], check=True)

    @task
    def stubborn():
        child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
        child.stdout.readline()

    @task
    def holds_the_log():
        subprocess.Popen(["sleep", "MARK5"], stdout=sys.__stdout__, close_fds=False)

    @task
    def fails():
        subprocess.Popen(["sleep", "MARK6"], start_new_session=True)
        raise ValueError("no")

    @task
    def killed():
        subprocess.Popen(["sleep", "MARK7"], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def tidy():
        subprocess.run(["true"], check=True)

    plain(), detached(), stubborn(), holds_the_log(), fails(), killed(), tidy()
""".replace("MARK", MARK)


@pytest.fixture(scope="module")
def worker(tmp_path_factory, valkey_url):
    files = {"state.py": STATE, "children.py": CHILDREN}
    with task_worker(tmp_path_factory.mktemp("worker"), valkey_url, files) as found:
        yield found
    for process in left():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def look(worker: TaskWorker) -> dict[str, object]:
    task = worker.run("state.py", "look")
    assert task.state == "success", worker.log_of(task)
    return task.xcoms["return_value"]


def test_a_task_sees_nothing_that_another_did_to_its_process(worker: TaskWorker) -> None:
    look(worker)  # the first task of a process has it connect
    before = look(worker)
    assert worker.run("state.py", "spoil").state == "success"
    assert look(worker) == before


def test_tasks_draw_different_random_numbers(worker: TaskWorker) -> None:
    draws = [worker.run("state.py", "chance").xcoms["return_value"] for _ in range(2)]
    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


def left() -> list[psutil.Process]:
    """Return the processes that a task of this module left behind."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if words[:1] == ["sleep"] and words[1].startswith(MARK):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("task_id", "state"),
    [
        ("plain", "success"),
        ("detached", "success"),
        ("stubborn", "success"),
        ("holds_the_log", "success"),
        ("fails", "failed"),
        ("killed", "failed"),
    ],
)
def test_nothing_that_a_task_left_goes_on(worker: TaskWorker, task_id: str, state: str) -> None:
    task = worker.run("children.py", task_id)
    assert task.state == state
    # A task reports its end before its process is cleared up; the next one of the only slot
    # starts after that, and as before.
    assert worker.run("children.py", "tidy").state == "success"
    assert not left()
    lines = [line for line in worker.log_of(task) if "left behind" in str(line["event"])]
    assert len(lines) == 1
    assert "sleep" in lines[0]["names"]


def test_nothing_is_said_of_a_task_that_left_nothing(worker: TaskWorker) -> None:
    task = worker.run("children.py", "tidy")
    assert worker.run("children.py", "tidy").state == "success"
    assert not [line for line in worker.log_of(task) if "left behind" in str(line["event"])]
