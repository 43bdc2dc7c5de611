//! The agent with a runtime on the `stream` interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sandbox;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandbox::{Sandbox, UID, eventually, is_running};
use warren_protocol::{
    AGENT_SOCKET, ControlEvent, Deadline, Exited, FrameKind, Interface, START_FILE, Secret,
    StreamKind, encode_claim, encode_deadline, encode_empty,
};

/// A sandbox, or the end of the test where there can be none.
macro_rules! start {
    () => {
        match Sandbox::start() {
            Some(sandbox) => sandbox,
            None => return,
        }
    };
}

#[test]
fn streams_open_by_proof_only() {
    let Some(sandbox) = Sandbox::start_unconnected() else {
        return;
    };
    let mode = fs::metadata(sandbox.folder.path().join(AGENT_SOCKET))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!sandbox.folder.path().join(START_FILE).exists());

    for kind in [StreamKind::Control, StreamKind::Call] {
        let mut other_secret =
            warren_protocol::Hello::new(&Secret::new([8; 32]), kind, "i-test", "00ff");
        assert!(sandbox.greet(&other_secret).is_none());
        other_secret.proof = "oops".to_owned();
        assert!(sandbox.greet(&other_secret).is_none());
        let mut other_version = sandbox.hello(kind);
        other_version.version = 2;
        assert!(sandbox.greet(&other_version).is_none());
        let mut other_instance = sandbox.hello(kind);
        other_instance.instance = "i-other".to_owned();
        assert!(sandbox.greet(&other_instance).is_none());
    }
    let mut ping = Vec::new();
    encode_empty(&mut ping, FrameKind::Ping);
    let mut huge = ping.clone();
    huge[4] = FrameKind::Hello as u8;
    huge[1] = 255;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &ping, &huge] {
        let mut socket = sandbox.open_socket();
        socket.write_all(garbage).unwrap();
        // Closed, with a reset if bytes were left unread.
        assert!(
            matches!(socket.read(&mut [0; 16]), Ok(0) | Err(_)),
            "{garbage:?}"
        );
    }
    // After all that, a good hello is still welcome; a second control stream is closed.
    let _control = sandbox.connect(StreamKind::Control);
    assert!(sandbox.connect(StreamKind::Control).next_frame().is_none());
}

#[test]
fn calls_pass_the_agent_by() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    assert_eq!(calls.call("=hi").text(), "=hi");
    let big = [b"=".as_slice(), &vec![b'x'; 6 * 1024 * 1024]].concat();
    let answer = calls.call(&big);
    assert!(answer.body == big && !answer.is_error);
    assert_eq!(answer.mark, 0);
    assert_eq!(
        calls.call("answer = meta['id'], meta['client']").json()[0],
        "r-1"
    );
    sandbox.command_empty(FrameKind::Ping);
    assert_eq!(sandbox.next_event(), Some(ControlEvent::Pong));
}

#[test]
fn output_arrives_with_marks() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    let answer = calls.call("write('to stdout\\n'); write('to stderr\\n', 2)");
    assert_eq!(answer.mark, 20);
    let logs = sandbox.logs(20);
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("to stdout\n", "to stderr\n")
    );

    // More than a pipe holds, so that reading and writing have to overlap.
    calls.begin("r-2", b"write('0123456789' * 50000)");
    assert_eq!(sandbox.logs(500_020).stdout.len(), 500_000);
    assert_eq!(calls.finish().mark, 500_020);

    // As shell scripts do it.
    calls.call("import os; os.system('echo one >/dev/stdout; echo two >/dev/stderr')");
    let logs = sandbox.logs(500_028);
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("one\n", "two\n")
    );
}

#[test]
fn the_runtime_is_confined() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    let answer = calls.call(
        "import os, resource, signal
status = dict(line.rstrip('\\n').split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
def refused(action):
    try:
        action()
        return False
    except OSError:
        return True
answer = {
    'ids': [os.getresuid(), os.getresgid(), os.getgroups()],
    'capabilities': [status[name] for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')],
    'no_new_privs': status['NoNewPrivs'],
    'signals': [status['SigBlk'], int(status['SigIgn'], 16) & ~(1 << 12 | 1 << 24)],
    'open': sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1],
    'stdin': os.readlink('/proc/self/fd/0'),
    'limits': [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC)],
    'environment': dict(os.environ),
    'directory': os.getcwd(),
    'leads_session': os.getsid(0) == os.getpid(),
    'umask': os.umask(0o22),
    'oom': open('/proc/self/oom_score_adj').read(),
    'agent': os.getppid(),
    'refused': [refused(action) for action in (
        lambda: open('/proc/1/mem', 'rb'),
        lambda: open('/proc/1/environ', 'rb').read(1),
        lambda: os.listdir('/proc/1/fd'),
        lambda: os.kill(1, signal.SIGTERM),
        lambda: os.setuid(0),
        lambda: open('/proc/self/fd/1', 'rb'),
    )],
}",
    );

    let found = answer.json();
    let expected = serde_json::json!({
        "ids": [[UID, UID, UID], [UID, UID, UID], []],
        "capabilities": vec!["0000000000000000"; 5],
        "no_new_privs": "1",
        // Python itself ignores SIGPIPE and SIGXFSZ.
        "signals": ["0000000000000000", 0],
        "open": [0, 1, 2, 3],
        "stdin": "/dev/null",
        "limits": [[200, 200], [0, 0], [500, 500]],
        "environment": {"A": "1", "B": "", "LC_CTYPE": "C.UTF-8"},
        "directory": "/tmp",
        "leads_session": true,
        "umask": 0o22,
        "oom": "1000\n",
        "agent": 1,
        "refused": [true, true, true, true, true, true],
    });
    assert_eq!(found, expected);
}

#[test]
fn three_capabilities_are_enough() {
    let Some(mut sandbox) = Sandbox::start_with_three_capabilities() else {
        return;
    };
    let own = fs::read_to_string(format!("/proc/{}/status", sandbox.agent)).unwrap();
    assert!(own.contains("CapEff:\t00000000000000e0\n"), "{own}");
    let mut calls = sandbox.ready(Interface::Stream);
    let status = calls
        .call("answer = open('/proc/self/status').read()")
        .json();
    let status = status.as_str().unwrap();
    for line in ["Uid:\t65534\t65534\t65534\t65534\n", "NoNewPrivs:\t1\n"] {
        assert!(status.contains(line), "{status}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000\n")),
            "{status}"
        );
    }
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
}

#[test]
fn ends_are_told_and_the_next_claim_starts_anew() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    calls.begin("r-1", b"write('last words'); import os; os._exit(3)");
    let (exited, logs) = sandbox.exited();
    assert_eq!(
        (exited, logs.stdout.as_str()),
        (Exited::Code(3), "last words")
    );
    assert_eq!(
        calls.stream.next_frame(),
        None,
        "the runtime held the only other end"
    );

    let mut calls = sandbox.ready(Interface::Stream);
    calls.begin(
        "r-2",
        b"import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    );
    assert_eq!(sandbox.exited().0, Exited::Signal(11));

    // CLAIM first and call stream later, and marks from 0 again.
    sandbox
        .control()
        .send(|out| encode_claim(out, &Sandbox::python(Interface::Stream)));
    let mut calls = sandbox.calls();
    calls.ready();
    assert_eq!(calls.call("write('x')").mark, 1);
    assert_eq!(sandbox.logs(1).stdout, "x");
}

#[test]
fn kill_leaves_nothing_behind() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    // Sessions of their own, SIGTERM ignored, output held open.
    calls.call(
        "import subprocess
for i in range(3):
    subprocess.Popen(['/bin/sh', '-c', 'trap \"\" TERM; sleep 1001.25'], start_new_session=True)",
    );
    eventually("the children run", || is_running("1001.25"));
    let start = Instant::now();
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
    assert!(start.elapsed() < Duration::from_secs(5));
    eventually("the children are gone", || !is_running("1001.25"));

    // A process that outlives the runtime is ended with it, and does not hold up EXITED.
    let mut calls = sandbox.ready(Interface::Stream);
    calls.begin(
        "r-1",
        b"import os, subprocess; subprocess.Popen(['sleep', '1002.25']); os._exit(0)",
    );
    assert_eq!(sandbox.exited().0, Exited::Code(0));
    eventually("the child is gone", || !is_running("1002.25"));
    // Without a runtime, KILL does nothing.
    sandbox.command_empty(FrameKind::Kill);
    sandbox.command_empty(FrameKind::Ping);
    assert_eq!(sandbox.next_event(), Some(ControlEvent::Pong));
}

#[test]
fn what_cannot_be_started_is_told() {
    let mut sandbox = start!();
    let mut reason = |command: &[&str], directory: &str| {
        let mut claim = Sandbox::command(Interface::Stream, command);
        claim.directory = directory.to_owned();
        let calls = sandbox.run(&claim);
        let (exited, _) = sandbox.exited();
        drop(calls);
        match exited {
            Exited::Spawn(reason) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        reason(&["/no/such"], "/"),
        "exec /no/such: No such file or directory (os error 2)"
    );
    assert_eq!(
        reason(&["/etc/passwd"], "/"),
        "exec /etc/passwd: Permission denied (os error 13)"
    );
    assert_eq!(
        reason(&["/bin/true"], "/no/dir"),
        "chdir /no/dir: No such file or directory (os error 2)"
    );
    assert_eq!(
        reason(&["/bin/true"], "/root"),
        "chdir /root: Permission denied (os error 13)"
    );
    assert_eq!(
        reason(&["true"], "/"),
        "the program \"true\" is not an absolute path"
    );
    // And the agent is none the worse for it.
    let mut calls = sandbox.ready(Interface::Stream);
    assert_eq!(calls.call("=").text(), "=");
}

#[test]
fn the_end_of_the_control_stream_ends_all() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    calls.call("import subprocess; subprocess.Popen(['sleep', '1003.25'], start_new_session=True)");
    sandbox.close_control();
    assert_eq!(sandbox.agent_status(), 0);
    assert!(!is_running("1003.25"));
    assert_eq!(calls.stream.next_frame(), None);
}

#[test]
fn a_broken_control_stream_ends_all() {
    let mut sandbox = start!();
    let _calls = sandbox.ready(Interface::Stream);
    sandbox
        .control()
        .send(|out| out.extend_from_slice(&[255; 64]));
    assert_eq!(sandbox.agent_status(), 1);
}

#[test]
fn deadlines_kill_unless_taken_back() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    let deadline = |sandbox: &mut Sandbox, call, remaining_ms| {
        sandbox
            .control()
            .send(|out| encode_deadline(out, &Deadline { call, remaining_ms }));
    };
    deadline(&mut sandbox, 1, Some(150));
    deadline(&mut sandbox, 1, None);
    deadline(&mut sandbox, 1, Some(60_000));
    assert_eq!(calls.call("import time; time.sleep(0.4)").text(), "");
    let start = Instant::now();
    calls.begin("r-2", b"import time; time.sleep(60)");
    deadline(&mut sandbox, 2, Some(100));
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn orphans_are_reaped() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    let answer = calls.call(
        "import os, time
for i in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
def zombies():
    found = 0
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                found += open('/proc/' + pid + '/stat').read().rsplit(')', 1)[1].split()[0] == 'Z'
            except OSError:
                pass
    return found
end = time.time() + 20
while zombies() and time.time() < end:
    time.sleep(0.01)
answer = zombies()",
    );
    assert_eq!(answer.json(), 0);
}

#[test]
fn a_host_that_does_not_read_costs_output_and_not_the_handler() {
    let mut sandbox = start!();
    let mut calls = sandbox.ready(Interface::Stream);
    let start = Instant::now();
    let answer = calls.call("write('0123456789' * 400000)");
    // One patience of 2 s, not one per pipe that fills.
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(answer.mark, 4_000_000);
    assert_eq!(calls.call("write('after')").mark, 4_000_005);
    // The host reads again: the marks go on, and the gap is told.
    let (mut stdout, mut dropped, mut last) = (0, 0, 0);
    while stdout + dropped < 4_000_005 {
        let Some(ControlEvent::Log { record, mark }) = sandbox.next_event() else {
            panic!("no log")
        };
        assert!(mark >= last);
        last = mark;
        let text = String::from_utf8_lossy(&record.output);
        match text.strip_prefix("[warren: ") {
            Some(notice) => dropped += dropped_bytes(notice).unwrap(),
            None => stdout += record.output.len() as u32,
        }
        assert_eq!(stdout + dropped, mark);
    }
    assert!(dropped > 1_000_000, "{dropped}");
    let mark = calls.call("write('!')").mark;
    assert_eq!(sandbox.logs(mark).stdout, "!");
}

fn dropped_bytes(notice: &str) -> Option<u32> {
    let number =
        notice.strip_suffix(" bytes of output dropped: the log could not be delivered]\n")?;
    number.parse().ok()
}

#[test]
fn the_agent_stays_small() {
    let mut sandbox = start!();
    let waiting = sandbox.resident_kib();
    let mut calls = sandbox.ready(Interface::Stream);
    calls.call("write('0123456789' * 100000)");
    sandbox.logs(1_000_000);
    let running = sandbox.resident_kib();
    println!("resident KiB (now, most): waiting {waiting:?}, running {running:?}");
    assert!(running.1 < 3 * 1024, "{running:?}");
}

#[test]
fn a_runtime_is_given_its_next_stream_after_a_suspension() {
    let mut sandbox = start!();
    // Says READY, lets its stream go, prints while there is no host, and answers the first byte of the stream that comes over descriptor 4.
    let source = r#"
import array, os, socket, struct, sys, threading, time
header = struct.pack("<IBBHII", 0, 0x50, 0, 0, 0, 0)
handover = socket.socket(fileno=4)
assert os.environ.get("A") == "1"
os.write(3, header)
os.close(3)
time.sleep(0.3)
print("alone", flush=True)
message, control, _, _ = handover.recvmsg(4096, socket.CMSG_SPACE(4))
fd = array.array("i", control[0][2][:4])[0]
print(message.decode().strip(), flush=True)
os.write(fd, os.read(fd, 1) + b"!")
os.read(fd, 1)
"#;
    let mut claim = Sandbox::command(Interface::Stream, &["/usr/bin/python3", "-c", source]);
    claim.snapshot = true;
    let mut calls = sandbox.run(&claim);
    calls.ready();
    assert_eq!(calls.stream.next_frame(), None, "the runtime lets it go");
    sandbox.suspend();
    std::thread::sleep(Duration::from_millis(600));
    sandbox.resume();
    let message = "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":\"call\"}\n";
    let mut next = sandbox.connect(StreamKind::Call).socket;
    let logs = sandbox.logs(6 + message.len() as u32);
    assert_eq!(logs.stdout, format!("alone\n{message}"));
    next.write_all(b"7").unwrap();
    let mut answer = [0; 2];
    next.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"7!");
    // Like any other from then on.
    sandbox.command_empty(FrameKind::Ping);
    assert_eq!(sandbox.next_event(), Some(ControlEvent::Pong));
    drop(next);
    assert_eq!(sandbox.exited().0, Exited::Code(0));
    sandbox.ready(Interface::Stream);
}
