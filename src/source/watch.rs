//! File events on the database's directory: a hint to look, never the truth.
//!
//! The directory is watched, not the files: a watch on a file falls silent when the file is
//! replaced, and a -wal comes and goes. Where no event ever arrives (network mounts, containers),
//! polling `PRAGMA data_version` alone is enough; events only make it quicker.

use std::path::Path;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// A running watch; it ends when this is dropped.
pub struct Watch {
    _watcher: RecommendedWatcher,
}

/// Rings `bell` whenever the database, its -wal or its -journal changes.
///
/// Returns `None`, with a log line, where the system gives no watches; polling goes on.
pub fn watch(path: &Path, bell: Arc<Notify>) -> Option<Watch> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("."),
    };
    let stem = path.file_name()?.to_owned();
    let concerns_us = move |changed: &Path| {
        changed.file_name().is_some_and(|name| {
            let (name, stem) = (name.as_encoded_bytes(), stem.as_encoded_bytes());
            name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
        })
    };
    let ring = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return bell.notify_one() };
        if !event.kind.is_access() && event.paths.iter().any(|changed| concerns_us(changed)) {
            bell.notify_one();
        }
    };
    let started = notify::recommended_watcher(ring).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match started {
        Ok(watcher) => Some(Watch { _watcher: watcher }),
        Err(error) => {
            tracing::warn!(%error, "no file events here; polling alone keeps up");
            None
        }
    }
}
