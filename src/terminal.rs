//! What is drawn on the terminal, and what is written above it.
//!
//! Progress and log lines share stderr. The one idea: every bar belongs to one group, and whatever
//! else is written takes that group off the screen first, so a warning never lands in the middle
//! of a bar and a bar never eats a line. Without a terminal nothing is drawn and lines pass as
//! they are.

use std::io::{self, IsTerminal as _, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};

/// Draws on stderr, and only if that is a terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Whether bars can be drawn.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Puts a bar on the screen, below those that are there.
pub(crate) fn draw(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Runs `write` while no bar is on the screen.
pub(crate) fn above_bars<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Stderr, above the bars: for log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        above_bars(|| io::stderr().lock().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
