use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use bytes::Bytes;

use super::*;
use crate::{MAX_LINE, Source};

fn function(name: &str) -> FunctionName {
    name.parse().unwrap()
}

fn line(time_us: u64, text: &str) -> LogLine {
    LogLine {
        time_us,
        source: Source::Stdout,
        request: Some(RequestId::new(format!("request-{}", time_us % 2))),
        log_stream: Some("2026/11/24/[$LATEST]0123".into()),
        text: Bytes::from(text.to_owned()),
    }
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| line.text().into_owned()).collect()
}

fn small() -> LogLimits {
    LogLimits {
        segment_bytes: 1_000,
        function_bytes: 5_000,
        ..LogLimits::default()
    }
}

/// The files of a function and their sizes, in order.
fn files(folder: &Path, name: &str) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = fs::read_dir(folder.join(name))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_appended_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    let f = function("f");
    let lines = [line(1, "one"), line(2, "two\nlines"), line(3, "drei ü")];
    logs.append_all(&f, lines.clone());
    logs.append(&function("g"), line(4, "another function's"));
    let latest = |limit| Query::latest(limit);
    assert_eq!(logs.query(&f, latest(10)).await.unwrap(), lines);
    assert_eq!(logs.query(&f, latest(2)).await.unwrap(), lines[1..]);
    assert!(logs.query(&f, latest(0)).await.unwrap().is_empty());
    let since = Query {
        since_us: Some(2),
        ..latest(10)
    };
    assert_eq!(logs.query(&f, since).await.unwrap(), lines[1..]);
    let request = Query {
        request: Some(RequestId::new("request-1")),
        ..latest(10)
    };
    assert_eq!(
        texts(&logs.query(&f, request).await.unwrap()),
        ["one", "drei ü"]
    );
    assert!(
        logs.query(&function("unknown"), latest(10))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    let mut odd = line(1, "");
    odd.text = Bytes::from_static(b"\xff\\n\0\t\r");
    logs.append(&function("f"), odd.clone());
    let found = logs.query(&function("f"), Query::latest(1)).await.unwrap();
    assert_eq!(found, [odd]);
    assert_eq!(found[0].text(), "\u{fffd}\\n\0\t\r");
}

#[tokio::test]
async fn files_rotate_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    let f = function("f");
    for number in 0..1_000 {
        logs.append(&f, line(number, &format!("line {number}")));
        if number % 7 == 0 {
            logs.flush().await.unwrap();
        }
    }
    logs.flush().await.unwrap();
    let files = files(folder.path(), "f");
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    assert!((3_000..=5_000).contains(&total), "{files:?}");
    assert!(files.iter().all(|(_, bytes)| *bytes < 2_000), "{files:?}");
    assert!(!files[0].0.ends_with("00000001.log"));
    let found = texts(&logs.query(&f, Query::latest(usize::MAX)).await.unwrap());
    let (notices, found): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|text| text.starts_with("WARREN"));
    assert!(!notices.is_empty());
    for notice in notices {
        assert!(notice.contains("were removed") && notice.ends_with("the latest 5000 bytes"));
    }
    assert_eq!(found.last().unwrap(), "line 999");
    let first: usize = found[0].strip_prefix("line ").unwrap().parse().unwrap();
    assert_eq!(found.len(), 1_000 - first, "nothing is missing in between");
}

#[tokio::test]
async fn a_restart_continues_and_removes_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let f = function("f");
    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    for number in 0..30 {
        logs.append(&f, line(number, &format!("line {number:030}")));
        logs.flush().await.unwrap();
    }
    drop(logs);
    let before = files(folder.path(), "f");
    assert!(before.len() > 1);
    let newest = &before.last().unwrap().0;
    let mut torn = fs::OpenOptions::new().append(true).open(newest).unwrap();
    torn.write_all(b"31\tO\t-\t-\ttorn").unwrap();

    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    let found = logs.query(&f, Query::latest(100)).await.unwrap();
    assert_eq!(found.len(), 30);
    logs.append(&f, line(31, "after"));
    let found = texts(&logs.query(&f, Query::latest(2)).await.unwrap());
    assert_eq!(found, [format!("line {:030}", 29), "after".to_owned()]);
    let after = files(folder.path(), "f");
    assert!(after.len() - before.len() <= 1, "the numbering goes on");
    assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
}

#[tokio::test]
async fn a_file_that_holds_no_whole_line_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("f")).unwrap();
    fs::write(folder.path().join("f/00000007.log"), vec![b'x'; 200_000]).unwrap();
    fs::write(folder.path().join("f/notes.txt"), "not ours").unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    logs.append(&function("f"), line(1, "first"));
    let found = logs.query(&function("f"), Query::latest(9)).await.unwrap();
    assert_eq!(texts(&found), ["first"]);
    let whole = fs::read(folder.path().join("f/00000007.log")).unwrap();
    assert!(whole.starts_with(b"1\tO\t"));
}

#[tokio::test]
async fn following_continues_a_query_without_gap_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    let f = function("f");
    let writer = {
        let logs = logs.clone();
        let f = f.clone();
        std::thread::spawn(move || {
            for number in 0..5_000 {
                logs.append(&f, line(number, &number.to_string()));
            }
        })
    };
    // A cap would remove lines before they are read; 20 of them are always there.
    let (found, mut follow) = logs.follow(&f, Query::latest(20)).await.unwrap();
    writer.join().unwrap();
    // On a busy machine lines were removed already when it was asked, and a notice stands for them.
    let mut numbers: Vec<u64> = found
        .iter()
        .filter(|line| !line.text().starts_with("WARREN"))
        .map(|line| line.text().parse().unwrap())
        .collect();
    while numbers.last() != Some(&4_999) {
        match follow.next().await {
            Some(Followed::Line(line)) => numbers.push(line.text().parse().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    let first = numbers[0];
    assert!(numbers.iter().copied().eq(first..5_000), "{numbers:?}");
}

#[tokio::test]
async fn following_one_invocation_and_the_end_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    let f = function("f");
    let query = Query {
        request: Some(RequestId::new("request-1")),
        ..Query::latest(10)
    };
    let (_, mut follow) = logs.follow(&f, query).await.unwrap();
    logs.append_all(&f, [line(2, "other"), line(3, "mine")]);
    assert!(matches!(follow.next().await, Some(Followed::Line(line)) if line.text == "mine"));
    logs.delete(&f).await.unwrap();
    assert_eq!(follow.next().await, None);
    assert!(!folder.path().join("f").exists());
    logs.append(&f, line(4, "again"));
    let found = logs.query(&f, Query::latest(9)).await.unwrap();
    assert_eq!(texts(&found), ["again"]);
    assert!(files(folder.path(), "f")[0].0.ends_with("00000001.log"));
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_counted_and_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        queue_bytes: 10_000,
        pause: Duration::from_secs(2),
        ..LogLimits::default()
    };
    let logs = FunctionLogs::with_limits(folder.path(), limits).unwrap();
    let f = function("f");
    for number in 0..100 {
        logs.append(&f, line(number, &"x".repeat(1_000)));
    }
    let dropped = logs.dropped();
    assert!((95..100).contains(&dropped.lines), "{dropped:?}");
    assert_eq!(dropped.bytes, dropped.lines * 1_000);
    logs.flush().await.unwrap();
    // The notice is written with the batch; the next round trip is after it.
    let found = logs.query(&f, Query::latest(1_000)).await.unwrap();
    assert_eq!(found.len() as u64, 100 - dropped.lines + 1);
    let notice = found.last().unwrap();
    assert_eq!(notice.source, Source::Platform);
    let start = format!(
        "WARREN {} log lines ({} bytes)",
        dropped.lines, dropped.bytes
    );
    assert!(notice.text().starts_with(&start), "{}", notice.text());
}

#[tokio::test]
async fn a_noisy_function_leaves_room_for_others_and_for_reports() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        queue_bytes: 20_000,
        pause: Duration::from_secs(2),
        ..LogLimits::default()
    };
    let logs = FunctionLogs::with_limits(folder.path(), limits).unwrap();
    let (noisy, quiet) = (function("noisy"), function("quiet"));
    let platform = || LogLine::platform(SystemTime::now(), None, None, "REPORT".to_owned());
    for number in 0..100 {
        logs.append(&noisy, line(number, &"x".repeat(1_000)));
    }
    let dropped = logs.dropped();
    assert!(dropped.lines > 80, "{dropped:?}");
    for number in 0..4 {
        logs.append(&quiet, line(number, &"y".repeat(500)));
    }
    logs.append(&noisy, platform());
    logs.append(&quiet, platform());
    assert_eq!(logs.dropped(), dropped);
    logs.flush().await.unwrap();
    let found = logs.query(&quiet, Query::latest(9)).await.unwrap();
    assert_eq!(found.len(), 5);
}

#[tokio::test]
async fn what_the_disk_refuses_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    // A file where the function's folder should be.
    fs::write(folder.path().join("f"), "").unwrap();
    logs.append(&function("f"), line(1, "lost"));
    logs.flush().await.unwrap();
    assert_eq!(logs.dropped(), Dropped { lines: 1, bytes: 4 });
    fs::remove_file(folder.path().join("f")).unwrap();
    logs.append(&function("f"), line(2, "kept"));
    let found = logs.query(&function("f"), Query::latest(9)).await.unwrap();
    assert_eq!(texts(&found), ["kept"]);
}

#[tokio::test]
async fn the_length_of_a_line_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    logs.append(&function("f"), line(1, &"x".repeat(2 * MAX_LINE)));
    let found = logs.query(&function("f"), Query::latest(1)).await.unwrap();
    assert!(found[0].text.len() <= MAX_LINE + 64);
}

/// The line that stands for what made room is written with the next one; behind the last one, at the end.
#[tokio::test]
async fn the_notice_of_what_made_room_is_not_lost_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let f = function("f");
    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    // From some line on each removes an older one.
    for number in 0..20 {
        logs.append(&f, line(number, &"x".repeat(900)));
        logs.flush().await.unwrap();
    }
    let last = "y".repeat(900);
    logs.append(&f, line(20, &last));
    drop(logs);
    let logs = FunctionLogs::with_limits(folder.path(), small()).unwrap();
    let found = texts(&logs.query(&f, Query::latest(2)).await.unwrap());
    assert_eq!(found[0], last);
    let notice = &found[1];
    assert!(
        notice.starts_with("WARREN the oldest ") && notice.contains("were removed"),
        "{notice}"
    );
}

#[tokio::test]
async fn the_end_writes_what_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        pause: Duration::from_secs(60),
        ..LogLimits::default()
    };
    let logs = FunctionLogs::with_limits(folder.path(), limits).unwrap();
    logs.append(&function("f"), line(1, "last words"));
    drop(logs);
    let text = fs::read_to_string(&files(folder.path(), "f")[0].0).unwrap();
    assert!(text.ends_with("\tlast words\n"), "{text}");
}

#[tokio::test]
async fn many_functions_do_not_keep_many_files_open() {
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    for round in 0..2 {
        for number in 0..600 {
            logs.append(&function(&format!("f{number}")), line(round, "text"));
        }
        logs.flush().await.unwrap();
    }
    for number in [0, 599] {
        let f = function(&format!("f{number}"));
        assert_eq!(logs.query(&f, Query::latest(9)).await.unwrap().len(), 2);
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 600, "{open} descriptors");
}

#[tokio::test]
async fn files_are_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(&folder.path().join("logs")).unwrap();
    logs.append(&function("f"), line(1, "secret"));
    logs.flush().await.unwrap();
    for (path, mode) in [
        ("logs", 0o700),
        ("logs/f", 0o700),
        ("logs/f/00000001.log", 0o600),
    ] {
        let found = fs::metadata(folder.path().join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
}

/// Prints what a line costs its writer; asserts nothing, as that depends on the machine.
#[tokio::test]
async fn timing_of_append() {
    const ROUNDS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let logs = FunctionLogs::open(folder.path()).unwrap();
    let f = function("f");
    let line = LogLine::platform(
        SystemTime::now(),
        Some(RequestId::random()),
        Some("2026/11/24/[$LATEST]0123".into()),
        "END RequestId: 00000000-0000-0000-0000-000000000000".to_owned(),
    );
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        logs.append(&f, line.clone());
    }
    let each = begun.elapsed().as_nanos() / u128::from(ROUNDS);
    logs.flush().await.unwrap();
    println!("append: {each} ns; dropped: {:?}", logs.dropped());
}
