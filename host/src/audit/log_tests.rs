//! Facts about the log, with a medium that fails where it is told to.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use super::{DecisionLog, Durability, LogError, LogOptions};
use crate::audit::read::read_lines;
use crate::audit::segment::{Medium, Segment};

/// What the disk holds, and what it is told to do wrong.
#[derive(Default)]
struct Disk {
    files: HashMap<u32, Vec<u8>>,
    syncs: usize,
    fail_create: bool,
    fail_write: bool,
    fail_sync: bool,
    fail_truncate: bool,
    /// writing waits while this is set
    stalled: bool,
    /// a write has begun
    writing: bool,
}

#[derive(Clone, Default)]
struct Fake(Arc<(Mutex<Disk>, Condvar)>);

impl Fake {
    fn set(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn get<T>(&self, look: impl FnOnce(&Disk) -> T) -> T {
        look(&self.0.0.lock().unwrap())
    }

    fn text(&self, number: u32) -> String {
        self.get(|disk| String::from_utf8(disk.files.get(&number).cloned().unwrap_or_default()).unwrap())
    }

    fn wait_until_writing(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |disk| !disk.writing).unwrap());
    }

    fn log(&self, options: LogOptions) -> DecisionLog {
        DecisionLog::start(Box::new(self.clone()), options).unwrap()
    }
}

fn refuse(wrong: bool) -> io::Result<()> {
    if wrong { Err(io::Error::other("told to fail")) } else { Ok(()) }
}

impl Medium for Fake {
    fn create(&mut self, number: u32) -> io::Result<Box<dyn Segment>> {
        let mut disk = self.0.0.lock().unwrap();
        refuse(disk.fail_create)?;
        assert!(disk.files.insert(number, Vec::new()).is_none(), "a segment was opened twice");
        Ok(Box::new(FakeSegment(self.clone(), number)))
    }
}

struct FakeSegment(Fake, u32);

impl Segment for FakeSegment {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (lock, changed) = &*self.0.0;
        let mut disk = lock.lock().unwrap();
        disk.writing = true;
        changed.notify_all();
        let mut disk = changed.wait_while(disk, |disk| disk.stalled).unwrap();
        let wrong = disk.fail_write;
        // A failing write leaves a torn line behind.
        let written = if wrong { bytes.len() / 2 } else { bytes.len() };
        disk.files.get_mut(&self.1).unwrap().extend_from_slice(&bytes[..written]);
        refuse(wrong)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.0.0.lock().unwrap();
        disk.syncs += 1;
        refuse(disk.fail_sync)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut disk = self.0.0.0.lock().unwrap();
        refuse(disk.fail_truncate)?;
        disk.files.get_mut(&self.1).unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }
}

fn append(log: &DecisionLog, text: &str) -> Result<(), LogError> {
    log.append_blocking(text.as_bytes().to_vec())
}

fn lines(dir: &Path) -> Vec<String> {
    read_lines(dir).unwrap().map(|line| String::from_utf8(line.unwrap().bytes).unwrap()).collect()
}

/// A writer that is held in the middle of writing `first`.
fn stalled(fake: &Fake, options: LogOptions) -> Arc<DecisionLog> {
    fake.set(|disk| disk.stalled = true);
    let log = Arc::new(fake.log(options));
    drop(log.enqueue(b"first".to_vec()).unwrap());
    fake.wait_until_writing();
    log
}

#[test]
fn an_appended_line_is_in_the_file_and_synced() {
    let dir = tempfile::tempdir().unwrap();
    let log = DecisionLog::open(dir.path(), LogOptions::default(), "01A").unwrap();
    append(&log, "{\"a\":1}").unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("01A-000001.jsonl")).unwrap(), "{\"a\":1}\n");

    let fake = Fake::default();
    append(&fake.log(LogOptions::default()), "x").unwrap();
    assert!(fake.get(|disk| disk.syncs) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_from_many_tasks_all_arrive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 200, ..LogOptions::default() };
    let log = Arc::new(DecisionLog::open(dir.path(), options, "01A").unwrap());
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(format!("{{\"n\":{n:03}}}").into_bytes()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let mut found = lines(dir.path());
    found.sort();
    assert_eq!(found, (0..200).map(|n| format!("{{\"n\":{n:03}}}")).collect::<Vec<_>>());
}

#[test]
fn lines_that_queued_up_share_one_write_and_one_sync() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions::default());
    let waiters: Vec<_> = (0..100).map(|n| log.enqueue(format!("{n}").into_bytes()).unwrap()).collect();
    fake.set(|disk| disk.stalled = false);
    for waiter in waiters {
        waiter.blocking_recv().unwrap().unwrap();
    }
    assert_eq!(fake.get(|disk| disk.syncs), 2, "one for the first line, one for the hundred");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions { queue: 2, ..LogOptions::default() });
    let waiters = ["a", "b"].map(|text| log.enqueue(text.into()).unwrap());
    assert!(matches!(log.enqueue("c".into()), Err(LogError::Full)));
    fake.set(|disk| disk.stalled = false);
    for waiter in waiters {
        waiter.blocking_recv().unwrap().unwrap();
    }
    append(&log, "d").unwrap();
    assert_eq!(fake.text(1), "first\na\nb\nd\n");
}

#[test]
fn bytes_that_wait_are_bounded_and_given_back() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions { queue_bytes: 10, ..LogOptions::default() });
    assert!(matches!(log.enqueue("12345".into()), Err(LogError::Full)), "6 + 6 bytes");
    let waiter = log.enqueue("123".into()).unwrap();
    fake.set(|disk| disk.stalled = false);
    waiter.blocking_recv().unwrap().unwrap();
    append(&log, "123456789").unwrap();
    assert!(matches!(append(&log, "1234567890"), Err(LogError::Full)));
}

#[test]
fn a_failed_sync_reaches_every_waiter_and_closes_the_log_for_good() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions::default());
    let waiters = ["a", "b"].map(|text| log.enqueue(text.into()).unwrap());
    fake.set(|disk| (disk.fail_sync, disk.stalled) = (true, false));
    // The batch of the first line failed, so these two were refused or failed with it: never acknowledged.
    for waiter in waiters {
        assert!(matches!(waiter.blocking_recv().unwrap(), Err(LogError::Write(_) | LogError::Failed)));
    }
    fake.set(|disk| disk.fail_sync = false);
    assert!(matches!(append(&log, "c"), Err(LogError::Failed)));
    assert_eq!(fake.text(1), "first\n");
}

#[test]
fn a_failed_write_is_taken_back_and_the_next_line_goes_to_a_new_segment() {
    let fake = Fake::default();
    let log = fake.log(LogOptions::default());
    append(&log, "good").unwrap();
    fake.set(|disk| disk.fail_write = true);
    assert!(matches!(append(&log, "torn line"), Err(LogError::Write(_))));
    fake.set(|disk| disk.fail_write = false);
    append(&log, "after").unwrap();
    assert_eq!((fake.text(1).as_str(), fake.text(2).as_str()), ("good\n", "after\n"));
}

#[test]
fn a_failed_write_that_cannot_be_taken_back_closes_the_log() {
    let fake = Fake::default();
    let log = fake.log(LogOptions::default());
    fake.set(|disk| (disk.fail_write, disk.fail_truncate) = (true, true));
    assert!(matches!(append(&log, "torn"), Err(LogError::Write(_))));
    fake.set(|disk| (disk.fail_write, disk.fail_truncate) = (false, false));
    assert!(matches!(append(&log, "after"), Err(LogError::Failed)));
}

#[test]
fn a_segment_that_cannot_be_made_refuses_lines_until_one_can() {
    let fake = Fake::default();
    let log = fake.log(LogOptions { segment_bytes: 4, ..LogOptions::default() });
    append(&log, "abc").unwrap();
    fake.set(|disk| disk.fail_create = true);
    assert!(matches!(append(&log, "d"), Err(LogError::Write(_))));
    fake.set(|disk| disk.fail_create = false);
    append(&log, "e").unwrap();
    assert_eq!(fake.get(|disk| disk.files.len()), 2);

    fake.set(|disk| disk.fail_create = true);
    assert!(DecisionLog::start(Box::new(fake.clone()), LogOptions::default()).is_err());
}

#[test]
fn a_segment_is_filled_to_its_limit_and_not_beyond() {
    let fake = Fake::default();
    let log = fake.log(LogOptions { segment_bytes: 8, ..LogOptions::default() });
    for text in ["123", "456", "7", "a line longer than a segment", "8"] {
        append(&log, text).unwrap();
    }
    let texts = [1, 2, 3, 4].map(|number| fake.text(number));
    assert_eq!(texts, ["123\n456\n", "7\n", "a line longer than a segment\n", "8\n"]);
}

#[test]
fn a_batch_is_split_at_the_segment_limit() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions { segment_bytes: 6, ..LogOptions::default() });
    let waiters = ["12", "34", "56"].map(|text| log.enqueue(text.into()).unwrap());
    fake.set(|disk| disk.stalled = false);
    for waiter in waiters {
        waiter.blocking_recv().unwrap().unwrap();
    }
    assert_eq!([1, 2, 3].map(|number| fake.text(number)), ["first\n", "12\n34\n", "56\n"]);
}

#[test]
fn buffered_answers_without_a_sync() {
    let fake = Fake::default();
    let log = fake.log(LogOptions { durability: Durability::Buffered, ..LogOptions::default() });
    append(&log, "x").unwrap();
    assert_eq!((fake.get(|disk| disk.syncs), fake.text(1).as_str()), (0, "x\n"));
    log.close();
    assert_eq!(fake.get(|disk| disk.syncs), 1, "one at the end");
}

#[test]
fn closing_writes_what_is_queued() {
    let fake = Fake::default();
    let log = stalled(&fake, LogOptions::default());
    let waiter = log.enqueue("last".into()).unwrap();
    fake.set(|disk| disk.stalled = false);
    drop(log);
    waiter.blocking_recv().unwrap().unwrap();
    assert_eq!(fake.text(1), "first\nlast\n");
}

#[test]
fn what_is_not_one_line_is_refused() {
    let fake = Fake::default();
    let log = fake.log(LogOptions::default());
    for text in ["", "a\nb", "a\n", "a\rb"] {
        assert!(matches!(append(&log, text), Err(LogError::NotOneLine)), "{text:?}");
    }
}

#[test]
fn a_torn_file_of_an_earlier_run_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("01A-000001.jsonl");
    std::fs::write(&old, "whole\n{\"torn").unwrap();
    assert!(matches!(DecisionLog::open(dir.path(), LogOptions::default(), "01A"), Err(LogError::Open { .. })));
    let log = DecisionLog::open(dir.path(), LogOptions::default(), "01B").unwrap();
    append(&log, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "whole\n{\"torn");
    assert_eq!(lines(dir.path()), ["whole", "new"]);
}

#[test]
fn a_stem_that_is_no_plain_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for stem in ["", "../x", "a/b", "a.b", "a b", &"a".repeat(65)] {
        let refused = DecisionLog::open(dir.path(), LogOptions::default(), stem);
        assert!(matches!(refused, Err(LogError::Stem(_))), "{stem}");
    }
    DecisionLog::open(dir.path(), LogOptions::default(), &"a".repeat(64)).unwrap();
}
