//! What every bench stands on: sizes, medians, tables, a server of its own, the sidecar as a child.
//!
//! The figures are ratios inside one run: the two things compared run in turn on one machine, and
//! what is printed is the median with its spread. Nothing is asserted. Sizes come from the
//! environment; without any, a bench is over in about half a minute, and `LITE2PG_BENCH_FULL=1`
//! takes the sizes that docs/measurements.md reports.

// Written for all benches; no single one uses every part.
#![allow(dead_code)]

#[path = "../../tests/it/support/cluster.rs"]
#[allow(clippy::duplicate_mod)]
pub mod cluster;
pub mod data;
pub mod machine;
pub mod server;
pub mod sidecar;

use std::time::{Duration, Instant};

/// A number from the environment: `LITE2PG_BENCH_<name>`, else by `LITE2PG_BENCH_FULL`.
pub fn size(name: &str, quick: u64, full: u64) -> u64 {
    let name = format!("LITE2PG_BENCH_{name}");
    let is_full = std::env::var("LITE2PG_BENCH_FULL").is_ok_and(|full| full == "1");
    match std::env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) if is_full => full,
        Err(_) => quick,
    }
}

/// Only benches and parts that are named on the command line run, or all if none is.
pub fn is_wanted(name: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|arg| name.contains(&arg))
}

/// How long `body` takes.
pub fn timed<T>(body: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let outcome = body();
    (begun.elapsed(), outcome)
}

/// Says on stderr what is going on; stdout has the figures alone.
pub fn say(text: &str) {
    eprintln!("bench: {text}");
}

/// One thing measured several times.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value below which this share of the samples lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return f64::NAN;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small index"
        )]
        let index = ((sorted.len() - 1) as f64 * share).round() as usize;
        sorted[index]
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }

    /// `smallest..largest`, with this many decimals.
    pub fn spread(&self, decimals: usize) -> String {
        format!("{:.decimals$}..{:.decimals$}", self.quantile(0.0), self.quantile(1.0))
    }

    /// Round by round, this divided by the other: what noise both rounds share goes away.
    pub fn ratio(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect())
    }
}

/// A table in Markdown, with columns wide enough to be read as it is.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    pub fn print(&self) {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
            println!("|{}|", cells.join("|"));
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
                println!("|{}|", rules.join("|"));
            }
        }
        println!();
    }
}

/// A number with separators between thousands.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
