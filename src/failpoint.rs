//! Named crash points.
//!
//! With the feature `failpoints`, the environment variable `FAILPOINTS` makes the process kill
//! itself (SIGKILL: no destructor runs) at a named point, for instance
//! `FAILPOINTS='apply-before-commit=3*off->1*return'` at its fourth passing. Without the feature
//! nothing of this is compiled in.
//!
//! Tests take the names from [`ALL`] and assert that each of them was hit.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*

        /// Every name, in the order a first run passes them.
        pub const ALL: &[&str] = &[$($constant),*];
    };
}

failpoints! {
    /// The write transaction of install has begun.
    INSTALL_BEGUN = "install-begun";
    /// The changelog exists, uncommitted.
    INSTALL_TABLES_MADE = "install-tables-made";
    /// One table has its triggers, uncommitted.
    INSTALL_TABLE_DONE = "install-table-done";
    /// All triggers exist, uncommitted.
    INSTALL_TRIGGERS_MADE = "install-triggers-made";
    /// Just before install commits.
    INSTALL_BEFORE_COMMIT = "install-before-commit";
    /// Installed; the target knows nothing of it yet.
    INSTALL_COMMITTED = "install-committed";
    /// The target's own schema is migrated.
    TARGET_MIGRATED = "target-migrated";
    /// Some target tables exist, uncommitted.
    TARGET_TABLE_MADE = "target-table-made";
    /// A table whose writes went unseen is marked dirty and has its new number, uncommitted.
    UNSEEN_MARKED = "unseen-marked";
    /// A target table has followed a column of its source, uncommitted.
    TARGET_TABLE_ALTERED = "target-table-altered";
    /// Target tables and the first position are about to commit together.
    TARGET_BEFORE_COMMIT = "target-before-commit";
    /// Target tables and the first position are committed; nothing is copied.
    TARGET_PREPARED = "target-prepared";
    /// A chunk has been read from the source.
    COPY_CHUNK_READ = "copy-chunk-read";
    /// COPY has begun on the target.
    COPY_BEGUN = "copy-begun";
    /// COPY has taken all rows of a chunk, uncommitted.
    COPY_CHUNK_SENT = "copy-chunk-sent";
    /// The chunk's progress is written, uncommitted.
    COPY_BEFORE_COMMIT = "copy-before-commit";
    /// The chunk is committed.
    COPY_CHUNK_COMMITTED = "copy-chunk-committed";
    /// All rows are copied; keys are not built.
    COPY_ROWS_DONE = "copy-rows-done";
    /// One table has its key.
    COPY_KEY_BUILT = "copy-key-built";
    /// Copied; replay has not begun.
    COPY_DONE = "copy-done";
    /// A batch has been read from the source.
    REPLAY_READ = "replay-read";
    /// The target transaction of a batch has begun.
    APPLY_BEGUN = "apply-begun";
    /// Deletes are applied, uncommitted.
    APPLY_DELETED = "apply-deleted";
    /// Upserts are applied, uncommitted.
    APPLY_UPSERTED = "apply-upserted";
    /// Rows in the way on a unique index have been removed, uncommitted.
    APPLY_DISPLACED = "apply-displaced";
    /// The position has moved, uncommitted.
    APPLY_POSITION_MOVED = "apply-position-moved";
    /// Just before a batch commits.
    APPLY_BEFORE_COMMIT = "apply-before-commit";
    /// A batch is committed; the reply has not been looked at.
    APPLY_COMMITTED = "apply-committed";
    /// Caught up for the first time; indexes are not built.
    CAUGHT_UP = "caught-up";
    /// One index or constraint is built.
    INDEX_BUILT = "index-built";
    /// All indexes are built.
    INDEXES_DONE = "indexes-done";
    /// About to prune the changelog.
    PRUNE_BEGUN = "prune-begun";
    /// Entries are deleted, uncommitted.
    PRUNE_DELETED = "prune-deleted";
    /// A round of pruning is committed.
    PRUNE_COMMITTED = "prune-committed";
    /// A comparison has noted a chunk.
    VERIFY_CHUNK_NOTED = "verify-chunk-noted";
    /// A decision is written down; nothing of it has been carried out.
    GUARD_DECIDED = "guard-decided";
    /// All rows are in the file, uncommitted.
    GUARD_BEFORE_FILE_COMMIT = "guard-before-file-commit";
    /// The file has been changed; the target does not know.
    GUARD_FILE_COMMITTED = "guard-file-committed";
    /// The target stands where the file is.
    GUARD_FINISHED = "guard-finished";
    /// Some rows of a dirty table that differ are named in the changelog.
    UNSEEN_TOUCHED = "unseen-touched";
    /// Rows of a dirty table are in the archive, and about to be overwritten; uncommitted.
    UNSEEN_ARCHIVED = "unseen-archived";
    /// A dirty table has been compared whole; what differs is named in the changelog.
    UNSEEN_COMPARED = "unseen-compared";
    /// A dirty table is proven; nobody has noted it.
    UNSEEN_PROVEN = "unseen-proven";
    /// A dirty table is noted as proven, uncommitted.
    UNSEEN_BEFORE_COMMIT = "unseen-before-commit";
    /// The triggers are taken out because their changelog is gone, uncommitted.
    FREE_BEFORE_COMMIT = "free-before-commit";
    /// Everything of ours is dropped, uncommitted.
    UNINSTALL_BEFORE_COMMIT = "uninstall-before-commit";
}

/// Dies here if the environment says so.
#[cfg(feature = "failpoints")]
pub fn hit(name: &'static str) {
    fail::fail_point!(name, |_| {
        let this = nix::unistd::Pid::this();
        let _ = nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGKILL);
        unreachable!("SIGKILL does not return")
    });
}

/// Nothing, in a build without failpoints.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_name: &'static str) {}

/// The integer that `LITE2PG_BEND` names is encoded as the next one: a mistake of the encoder, made
/// on purpose, to see that it is found.
#[cfg(feature = "failpoints")]
pub fn bent(integer: i64) -> i64 {
    static BENT: std::sync::OnceLock<Option<i64>> = std::sync::OnceLock::new();
    let bent = BENT.get_or_init(|| std::env::var("LITE2PG_BEND").ok()?.parse().ok());
    if *bent == Some(integer) { integer + 1 } else { integer }
}

/// Itself, in a build without failpoints.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn bent(integer: i64) -> i64 {
    integer
}

/// Reads `FAILPOINTS`; the points are armed while the result lives.
#[cfg(feature = "failpoints")]
pub fn scenario() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Stands for the armed points in a build that has none.
#[cfg(not(feature = "failpoints"))]
pub struct Unarmed;

/// Nothing, in a build without failpoints.
#[cfg(not(feature = "failpoints"))]
pub fn scenario() -> Unarmed {
    Unarmed
}
