"""One-shot runs, on every engine that works here: a program in, its output and exit status out, and nothing left."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import raw_calls
from calls import wait_until
from host_view import leftovers, sandboxes
from server import BINARY, Warren
from test_engines import ENGINES

# How long a host may take to forget a sandbox whose client has its answer already.
GONE_S = 30
RUNS = [20, pytest.param(100, marks=pytest.mark.long)]
TYPE = "application/vnd.warren.run"
MB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own: other tests' instances are none of its leftovers."""
    server = Warren(tmp_path_factory.mktemp("run") / "data")
    server.start()
    yield server
    server.stop()
    assert leftovers(server) == {}


def engines():
    """All of them, or the one that this run is about."""
    wanted = os.environ.get("WARREN_DEFAULT_ENGINE")
    return [wanted] if wanted else ENGINES


@pytest.fixture(scope="module", params=engines())
def run(request, server, tmp_path_factory):
    return Runner(server, request.param, tmp_path_factory.mktemp("scripts"))


class Runner:
    """`warren run` on one engine, as another process."""

    def __init__(self, server, engine, folder):
        self.server = server
        self.engine = engine
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "WARREN_SERVER": server.url,
            "WARREN_DATA_DIR": str(server.folder),
        }

    def command(self, *arguments):
        return [BINARY, "run", "--engine", self.engine, *map(str, arguments)]

    def file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def __call__(self, *arguments, input=b"", status=0, **environment):
        done = subprocess.run(
            self.command(*arguments),
            input=input,
            env={**self.environment, **environment},
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == status, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def python(self, source, *arguments, **options):
        return self("--runtime", "python3.13", "-c", source, *arguments, **options)

    def begin(self, *arguments, **options):
        # Whoever starts the tests in the background of a script has them ignore Ctrl-C, and their children with them.
        heeds = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        options = {"stdin": subprocess.DEVNULL, "preexec_fn": heeds, **options}
        return subprocess.Popen(
            self.command(*arguments), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def gone(self):
        """Waits until nothing of any run is there."""
        wait_until(lambda: leftovers(self.server) == {}, GONE_S, "nothing left of any run")


def request(server, body, content_type="application/json", accept=None):
    """A plain request; gives status and body."""
    connection = http.client.HTTPConnection(*server.control, timeout=60)
    try:
        headers = {"Authorization": "Bearer %s:%s" % server.keys(), "Content-Type": content_type}
        if accept:
            headers["Accept"] = accept
        connection.request("POST", "/api/v1/run", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def document(server, **members):
    status, body = request(server, json.dumps(members))
    return status, json.loads(body)


def frames(body):
    """Kinds and payloads of a streamed answer."""
    found = []
    while body:
        kind, length = body[0], int.from_bytes(body[1:5])
        found.append((kind, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


@pytest.mark.parametrize(
    "name, text",
    [
        ("hello.py", "import sys\nprint('hello', sys.stdin.read().upper(), *sys.argv[1:])\n"),
        (
            "hello.js",
            "const text = require('fs').readFileSync('/dev/stdin', 'utf8');\n"
            "console.log('hello', text.toUpperCase(), ...process.argv.slice(2));\n",
        ),
        (
            "hello.mjs",
            "import { readFileSync } from 'node:fs';\n"
            "console.log('hello', readFileSync(0, 'utf8').toUpperCase(), ...process.argv.slice(2));\n",
        ),
        ("hello.sh", 'read text < /dev/stdin\necho hello "${text^^}" "$@"\n'),
    ],
)
def test_a_script_is_an_ordinary_program_of_its_language(run, name, text):
    if run.engine == "gvisor":
        # Its pipes can't be opened again by name (docs/engines.md); the descriptor works.
        text = text.replace("'/dev/stdin'", "0").replace(" < /dev/stdin", "")
    done = run(run.file(name, text), "--", "a", "--b", input=b"world\n" if name.endswith("sh") else b"world")
    assert done.stdout == b"hello WORLD a --b\n"
    assert done.stderr == b""


def test_status_errors_and_variables_are_the_program_s(run):
    source = "import os, sys\nprint(os.environ['GREETING'], file=sys.stderr)\nsys.exit(int(sys.argv[1]))"
    done = run.python(source, "--env", "GREETING=hé", "--", 7, status=7)
    assert (done.stdout, done.stderr.decode()) == (b"", "hé\n")
    # What raises is told by the program itself, what a signal ends by Warren.
    assert b"ZeroDivisionError" in run.python("1/0", status=1).stderr
    done = run.python("import os; os.kill(os.getpid(), 11)", status=139)
    assert b"signal 11" in done.stderr
    missing = run("--runtime", "provided.al2023", "-c", "no-such-program", status=127)
    assert b"no-such-program" in missing.stderr


def test_a_folder_is_run_by_its_entry(run):
    folder = run.file("many/main.py", "import part, sys; print(part.NAME, open('data.txt').read())").parent
    run.file("many/part.py", "NAME = 'part'")
    run.file("many/data.txt", "data")
    assert run(folder, "--entry", "main.py").stdout == b"part data\n"
    assert b"--entry" in run(folder, status=125).stderr
    assert b"no file 'other.py'" in run(folder, "--entry", "other.py", status=125).stderr


def test_six_megabytes_pass_both_ways(run):
    data = os.urandom(6 * MB)
    done = run.python("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", "--timeout", 60, input=data)
    assert done.stdout == data
    # Piece by piece as well: what is written is there before the input's end.
    process = run.begin("--runtime", "python3.13", "--timeout", 60, "-c", "for line in __import__('sys').stdin: print(line.upper(), end='')", stdin=subprocess.PIPE)
    for word in (b"one", b"two"):
        process.stdin.write(word + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == word.upper() + b"\n"
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    process.stderr.close()


def test_input_that_is_not_read_holds_up_nobody(run):
    assert run.python("print('done')", "--timeout", 60, input=bytes(8 * MB)).stdout == b"done\n"


def test_it_runs_on_the_engine_that_was_asked_for(run):
    process = run.begin("--runtime", "python3.13", "--timeout", 60, "-c", "import sys; print('begun', flush=True); sys.stdin.read()", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    (sandbox,) = sandboxes(run.server)
    assert ("Id" in sandbox) == (run.engine == "docker")
    process.communicate(timeout=60)
    assert process.returncode == 0
    run.gone()


def test_without_a_network_there_is_none(run):
    source = """
import os, socket
print(sorted(os.listdir('/sys/class/net')) if os.path.isdir('/sys/class/net') else ['lo'])
for target in [('1.1.1.1', 53), ('10.0.0.1', 80), ('169.254.169.254', 80)]:
    with socket.socket() as one:
        one.settimeout(1)
        try:
            one.connect(target)
            print('reached', target)
        except OSError:
            pass
"""
    done = run.python(source, "--network", "none", "--timeout", 30)
    assert done.stdout == b"['lo']\n"


def test_the_code_can_t_be_written_and_tmp_can(run):
    source = """
open('/tmp/a', 'w').write('x')
import os
assert os.environ['HOME'] == '/tmp' and os.getcwd() == '/var/task' and os.getuid() != 0
try:
    open('b', 'w')
except OSError as error:
    print(error.strerror)
"""
    # gVisor asks first whether the user may.
    refused = "Permission denied" if run.engine == "gvisor" else "Read-only file system"
    assert run.python(source).stdout.decode() == refused + "\n"


def test_time_is_a_limit(run):
    begun = time.monotonic()
    done = run.python("import time; print('begun'); time.sleep(600)", "--timeout", 1, status=124)
    assert time.monotonic() - begun < 15
    assert done.stdout == b"begun\n"
    assert b"after 1 s, its time limit" in done.stderr and b"--timeout" in done.stderr
    run.gone()


def test_a_slow_reader_gets_what_was_written_before_the_time_limit(run):
    # It writes until nobody takes any more, and tells how much that was; a small window keeps most of it on the server's side.
    source = """
import os, sys, time
os.set_blocking(1, False)
written, moved = 0, time.monotonic()
while time.monotonic() - moved < 1:
    try:
        written += os.write(1, b'x' * 65536)
        moved = time.monotonic()
    except BlockingIOError:
        time.sleep(0.01)
print(written, file=sys.stderr, flush=True)
time.sleep(600)
"""
    body = json.dumps({"runtime": "python3.13", "engine": run.engine, "timeout_s": 8, "code": {"source": source}}).encode()
    key = "Bearer %s:%s" % run.server.keys()
    head = f"POST /api/v1/run HTTP/1.0\r\nAuthorization: {key}\r\nContent-Type: application/json\r\nAccept: {TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(run.server.control)
        client.sendall(head.encode() + body)
        # Until some seconds after its end.
        time.sleep(14)
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.0 200 "), answer[:200]
    found = frames(answer.split(b"\r\n\r\n", 1)[1])
    stdout, stderr = (b"".join(payload for kind, payload in found if kind == wanted) for wanted in (1, 2))
    end = json.loads(found[-1][1])
    assert (end["outcome"], end["exit_status"]) == ("timed_out", 124)
    assert "missing" not in end["message"], end
    assert len(stdout) == int(stderr) > 0
    run.gone()


def test_output_is_limited(run):
    source = "import sys\nwhile True: sys.%s.write('x' * 65536)"
    for stream in ("stdout", "stderr"):
        done = run.python(source % stream, "--max-output", 3 * MB, "--timeout", 60, status=125)
        assert len(getattr(done, stream).split(b"warren:")[0]) == 3 * MB
        assert b"more than 3145728 bytes" in done.stderr and b"--max-output" in done.stderr
    run.gone()


def test_memory_is_a_limit(run):
    done = run.python("a = bytearray(400 << 20); print('there')", "--timeout", 60, status=137)
    assert done.stdout == b""
    assert b"128 MB of memory" in done.stderr and b"--memory" in done.stderr
    assert run.python("a = bytearray(400 << 20); print('there')", "--memory", 600, "--timeout", 60).stdout == b"there\n"
    run.gone()


def test_the_disk_is_a_limit(run):
    source = """
import errno
try:
    with open('/tmp/fill', 'wb') as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert run.python(source, "--timeout", 60, "--memory", 512).stdout == b"ENOSPC\n"
    run.gone()


def test_a_fork_bomb_ends_within_its_limits(run):
    # One that goes on for ever ends by time, one in a shell may end by itself; neither is left.
    source = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    process = run.begin("--runtime", "python3.13", "--timeout", 3, "-c", source)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode in (124, 137), stderr
    assert b"--timeout" in stderr or b"--memory" in stderr
    process = run.begin("--runtime", "provided.al2023", "--timeout", 3, "-c", ":(){ :|:& };:; sleep 600")
    _, stderr = process.communicate(timeout=100)
    assert process.returncode in (124, 137), stderr
    run.gone()
    assert run.python("print('well')").stdout == b"well\n"


def test_what_a_program_leaves_behind_ends_with_it(run):
    source = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); print('done')"
    begun = time.monotonic()
    assert run.python(source, "--timeout", 60).stdout == b"done\n"
    assert time.monotonic() - begun < 20
    run.gone()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_client_that_goes_away_ends_its_run(run, signal_number):
    process = run.begin("--runtime", "python3.13", "--timeout", 600, "-c", "import time; print('begun', flush=True); time.sleep(600)")
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(signal_number)
    assert process.wait(10) == -signal_number
    process.stdout.close()
    process.stderr.close()
    run.gone()


@pytest.mark.parametrize("count", RUNS)
def test_many_runs_leave_nothing_behind(run, count):
    for number in range(count):
        assert run.python(f"print({number})").stdout == b"%d\n" % number
    run.gone()
    assert not list((run.server.folder / "blobs").glob("sha256/*/*"))
    assert [path.name for path in (run.server.folder / "code").glob("[!.]*")] == []
    assert [path.name for path in (run.server.folder / "logs").glob("*run*")] == []


def test_a_server_that_is_killed_leaves_nothing_after_its_next_start(run):
    processes = [run.begin("--runtime", "python3.13", "--timeout", 600, "-c", "import time; print('begun', flush=True); time.sleep(600)") for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == b"begun\n"
    run.server.process.kill()
    run.server.process.wait()
    for process in processes:
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 125 and b"warren:" in stderr, stderr
    run.server.start()
    run.gone()
    assert run.python("print('well')").stdout == b"well\n"


def test_one_document_has_it_all(run):
    server = run.server
    status, result = document(
        server,
        runtime="python3.13",
        engine=run.engine,
        code={"source": "import sys\nprint(sys.stdin.read())\nprint('no', file=sys.stderr)\nsys.exit(3)"},
        input="héllo",
    )
    assert status == 200
    assert (result["stdout"], result["stderr"]) == ("héllo\n", "no\n")
    assert (result["outcome"], result["exit_status"], result["engine"]) == ("exited", 3, run.engine)
    assert result["duration_ms"] > 0 and result["start_ms"] > 0 and "stdout_base64" not in result
    # The command has the same.
    printed = json.loads(run.python("import sys; print(1); sys.exit(4)", "--json", status=4).stdout)
    assert (printed["stdout"], printed["outcome"], printed["engine"]) == ("1\n", "exited", run.engine)
    # The ending tells the runtime; what is no text comes in base64; spaces come before the document of a silent program.
    files = {"a.py": "import sys, time, b\ntime.sleep(2.5)\nsys.stdout.buffer.write(sys.stdin.buffer.read() + b.B)", "b.py": "B = b'\\xff'"}
    status, body = request(server, json.dumps({"entry": "a.py", "code": {"files": files}, "input_base64": base64.b64encode(b"\0").decode(), "timeout_s": 10}))
    assert status == 200 and body.startswith(b" ")
    result = json.loads(body)
    assert base64.b64decode(result["stdout_base64"]) == b"\0\xff", result
    assert result["runtime"] == "python3.13"


def test_an_answer_streams_in_frames(run):
    line = json.dumps({"runtime": "python3.13", "engine": run.engine, "code": {"source": "import sys; sys.stdout.write(sys.stdin.read()[::-1])"}})
    status, body = request(run.server, line.encode() + b"\nabc\n", TYPE, TYPE)
    assert status == 200
    found = frames(body)
    assert b"".join(payload for kind, payload in found if kind == 1) == b"\ncba"
    kind, end = found[-1]
    assert kind == 4 and json.loads(end)["outcome"] == "exited"


@pytest.mark.parametrize(
    "members, field",
    [
        ({}, "code"),
        ({"code": {"source": "1"}}, "runtime"),
        ({"code": {"source": "1"}, "entry": "a.xyz"}, "runtime"),
        ({"code": {"source": "1"}, "runtime": "cobol1"}, "runtime"),
        ({"code": {"source": "1"}, "entry": "../a.py"}, "entry"),
        ({"code": {"source": "1"}, "entry": "a" * 1025 + ".py"}, "entry"),
        ({"code": {"files": {"a.py": "", "b.py": ""}}}, "entry"),
        ({"code": {"files": {"a.py": ""}}, "entry": "b.py"}, "entry"),
        ({"code": {"zip": "!"}, "entry": "b.py"}, "code"),
        ({"code": {"zip": "AAAA"}, "entry": "b.py"}, "code"),
        ({"code": {"source": "1"}, "entry": "a.py", "memory_mb": 1}, "memory_mb"),
        ({"code": {"source": "1"}, "entry": "a.py", "timeout_s": 901}, "timeout_s"),
        ({"code": {"source": "1"}, "entry": "a.py", "engine": "rocket"}, "engine"),
        ({"code": {"source": "1"}, "entry": "a.py", "network": "lan"}, "network"),
        ({"code": {"source": "1"}, "entry": "a.py", "max_output_bytes": 7 << 20}, "max_output_bytes"),
        ({"code": {"source": "1"}, "entry": "a.py", "environment": {"A-B": ""}}, "environment"),
        ({"code": {"source": "1"}, "entry": "a.py", "input": "a", "input_base64": "YQ=="}, "input"),
        ({"code": {"source": "1"}, "entry": "a.py", "args": ["x" * 300_000]}, "args"),
    ],
)
def test_what_is_not_in_order_is_refused_by_its_member(server, members, field):
    status, problem = document(server, **members)
    assert (status, problem.get("field")) == (400, field), problem


def test_runs_count_as_calls_do(tmp_path):
    # Two on every engine: on gvisor each counts as 24 MB more than its program's memory.
    server = Warren(tmp_path / "data", "--memory-mb", "304", "--queue-wait-s", "1")
    server.start()
    try:
        run = Runner(server, engines()[-1], tmp_path)
        hold = ["--runtime", "python3.13", "--timeout", 60, "-c", "import sys; print('begun', flush=True); sys.stdin.read()"]
        held = [run.begin(*hold, stdin=subprocess.PIPE) for _ in range(2)]
        for process in held:
            assert process.stdout.readline() == b"begun\n"
        refused = run.python("print(1)", status=125)
        assert b"no room" in refused.stderr
        assert b"--memory" in run.python("print(1)", "--memory", 512, status=125).stderr
        for process in held:
            process.communicate(timeout=60)
            assert process.returncode == 0
        assert run.python("print(1)").stdout == b"1\n"
        run.gone()
    finally:
        server.stop()


def test_a_client_that_leaves_while_its_run_waits_gives_up_its_turn(tmp_path):
    # One on every engine, as above.
    server = Warren(tmp_path / "data", "--memory-mb", "152", "--queue-wait-s", "60")
    server.start()
    try:
        run = Runner(server, engines()[-1], tmp_path)
        hold = ["--runtime", "python3.13", "--timeout", 60, "-c", "import sys; print('begun', flush=True); sys.stdin.read()"]
        held = run.begin(*hold, stdin=subprocess.PIPE)
        assert held.stdout.readline() == b"begun\n"

        def waiting():
            return raw_calls.metrics(server)["warren_calls_waiting"]

        left = run.begin(*hold, stdin=subprocess.PIPE)
        wait_until(lambda: waiting() == 1, 30, "it waits for room")
        left.kill()
        wait_until(lambda: waiting() == 0, 10, "nobody waits any more")
        left.communicate(timeout=10)
        held.communicate(timeout=60)
        assert held.returncode == 0
        run.gone()
    finally:
        server.stop()
