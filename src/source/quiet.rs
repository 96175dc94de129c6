//! Find a moment at which a reader is in nobody's way.
//!
//! In rollback mode a reader keeps the writer from committing, and a writer without a busy timeout
//! then fails. A writer spends most of a transaction between its first change (RESERVED) and its
//! commit (EXCLUSIVE), waiting for the disk. So the one idea: *a writer that can be seen is waited
//! for, and reading begins right after its commit*, when the next commit is a whole transaction
//! away.
//!
//! A writer is seen in the system's table of locks (Linux, and only processes of the same pid
//! namespace), or by its rollback journal, which DELETE mode removes at commit and TRUNCATE
//! empties. Nothing is opened but `/proc/locks`; of the journal only its size is asked for.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use super::beside;

/// How often to look.
const LOOK_PAUSE: Duration = Duration::from_micros(200);

/// How long to wait for a writer that holds a lock. A transaction that is open for longer is
/// unlikely to end within the millisecond that a read takes.
const LOCKED_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long to wait for a journal to go when no lock is seen: PERSIST mode never removes it, and a
/// crashed writer leaves it to the next reader.
const JOURNAL_WAIT_MAX: Duration = Duration::from_millis(20);

/// Where SQLite's locks on a database file lie: PENDING, RESERVED, SHARED
/// (<https://www.sqlite.org/src/file/src/os.h>).
const LOCK_BYTES: std::ops::Range<u64> = 0x4000_0000..0x4000_0200;

/// What is known about the file's writers.
#[derive(Default)]
pub(super) struct Writers {
    /// A writer's lock has been seen: then the table of locks tells all, and a journal that stays
    /// where it is (PERSIST mode) means nothing.
    are_visible: Cell<bool>,
}

impl Writers {
    /// Waits, for a moment at most, until nobody is about to commit to the file.
    pub(super) fn await_none(&self, path: &Path, inode: u64) {
        let begun = Instant::now();
        loop {
            let is_locked = is_write_locked(inode);
            if is_locked {
                self.are_visible.set(true);
            }
            let limit = match (is_locked, self.are_visible.get()) {
                (true, _) => LOCKED_WAIT_MAX,
                (false, false) if has_journal(path) => JOURNAL_WAIT_MAX,
                (false, _) => return,
            };
            if limit <= begun.elapsed() {
                return;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }
}

fn has_journal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-journal")).is_ok_and(|journal| 0 < journal.len())
}

/// Whether some process holds a write lock on SQLite's lock bytes of this file. Where the system
/// does not tell, nobody does.
fn is_write_locked(inode: u64) -> bool {
    std::fs::read_to_string("/proc/locks").is_ok_and(|locks| holds_write_lock(&locks, inode))
}

/// Looks for a line such as `1: POSIX  ADVISORY  WRITE 42 fd:01:1234 1073741825 1073741825`.
fn holds_write_lock(locks: &str, inode: u64) -> bool {
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let (Some("WRITE"), Some(_pid), Some(file), Some(first)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return false;
        };
        let is_ours = file.rsplit(':').next().is_some_and(|found| found.parse() == Ok(inode));
        is_ours && first.parse().is_ok_and(|first: u64| LOCK_BYTES.contains(&first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_in_the_table_of_locks_and_a_reader_is_not() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 42 fd:01:1234 1073741825 1073741825
2: POSIX  ADVISORY  READ 43 fd:01:1234 1073741826 1073742335
2: -> POSIX  ADVISORY  WRITE 44 fd:01:777 1073741826 1073742335
3: POSIX  ADVISORY  WRITE 45 fd:01:99 0 EOF
4: FLOCK  ADVISORY  WRITE 46 00:1a:55 0 EOF
";
        assert!(holds_write_lock(locks, 1234));
        for other in [777, 99, 55, 1, 123] {
            assert!(!holds_write_lock(locks, other), "{other}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_real_writer_is_seen() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("a.db");
        let conn = rusqlite::Connection::open(&path).expect("open");
        conn.execute_batch("create table t (a)").expect("create");
        let inode = std::fs::metadata(&path).expect("it is there").ino();
        assert!(!is_write_locked(inode));
        conn.execute_batch("begin immediate").expect("begin");
        assert!(is_write_locked(inode));
        conn.execute_batch("commit").expect("commit");
        assert!(!is_write_locked(inode));
    }
}
