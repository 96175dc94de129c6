//! What a span of time came to, as one HTML file: no script, no font, no picture, no address
//! outside of it.
//!
//! Plots are SVG that stretches to the width of the page; their words are HTML beside them, which
//! does not. No state is told by its colour alone. Every text that is not ours goes through
//! [`escape`], and all markup is well-formed XML too, which tests check.

use std::fmt::Write as _;

use super::counted;
use super::history::{
    Line, Piece, answer, days, facts, how_often, in_short, kinds, lists, minute, summary,
    time_in_words, verdict,
};
use super::html::{STYLE, escape};
use super::verify::kind_in_words;
use crate::assess::proposal::grouped;
use crate::history::{Asked, History, Hour, HourState};

/// The looks of what other pages do not have.
const OWN_STYLE: &str = include_str!("page.css");

/// Units of width for each hour of a plot, of which its bar takes all but one.
const HOUR_WIDTH: usize = 6;

/// Units of height of a plot.
const HEIGHT: f64 = 100.0;

/// The least lag that a plot tells apart.
const LAG_MS_LEAST: i64 = 10;

/// The whole page.
pub fn page(history: &History) -> String {
    let title = format!("lite2pg {}: {}", verdict(history), summary(history));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <meta name=\"robots\" content=\"noindex\" />\n\
         <title>{}</title>\n<style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&title)
    );
    add_head(&mut page, history);
    add_calendar(&mut page, history);
    add_plots(&mut page, history);
    add_differences(&mut page, history);
    add_asked(&mut page, "Invariants", "None is configured.", &history.invariants);
    add_asked(&mut page, "Parity", "None is configured.", &history.parity);
    for list in lists(history) {
        // The others have tables of their own.
        if ["Checks", "Not compared", "Incidents"].contains(&list.title) {
            add!(&mut page, "<h2>{}</h2>\n<div class=\"card\">", list.title);
            add_list(&mut page, list.nothing, &list.lines);
            page.push_str("</div>\n");
        }
    }
    add_runs(&mut page, history);
    add!(
        &mut page,
        "<footer><p>All times are UTC. Made at {} from the ledger on PostgreSQL; keys and columns \
         are shown, values of rows are not.</p><p>lite2pg {}</p></footer>",
        minute(history.until),
        env!("CARGO_PKG_VERSION")
    );
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn add_head(page: &mut String, history: &History) {
    add!(
        page,
        "<header class=\"card top\"><div><p class=\"muted\">Are both sides equal?</p>\
         <h1>{}</h1></div><div class=\"verdict {}\">{}</div></header>\n\
         <div class=\"figures\">",
        escape(&summary(history)),
        history.verdict.as_str(),
        verdict(history)
    );
    let (hours, lag, streak) = (&history.hours, &history.lag, &history.streak);
    let differing: i64 = history.failure.as_ref().map_or(0, |failure| failure.drift_rows);
    let figures = [
        (format!("{} of {}", hours.pass, hours.due), "hours clean".to_owned()),
        (grouped(streak.hours), "hours in a row without a difference or a gap".to_owned()),
        (history.rows.source.map_or_else(|| "-".to_owned(), in_short), "rows".to_owned()),
        (in_short(history.rows.compared), "rows compared in all".to_owned()),
        (grouped(differing), "rows differed in the newest failure".to_owned()),
        (time_in_words(lag.ms_p95), "lag, p95 of the minutes".to_owned()),
        (time_in_words(lag.ms_max), "lag at most".to_owned()),
        (in_short(lag.applied), "changes applied".to_owned()),
    ];
    for (figure, words) in figures {
        let (figure, words) = (escape(&figure), escape(&words));
        add!(page, "<div class=\"figure\"><b>{figure}</b><span>{words}</span></div>");
    }
    page.push_str("</div>\n<h2>In short</h2>\n<div class=\"card\"><dl class=\"facts\">\n");
    for (name, words) in facts(history) {
        add!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&words));
    }
    page.push_str("</dl></div>\n");
}

/// The class, the mark and the meaning of what an hour came to.
fn shown_as(state: HourState) -> (&'static str, &'static str, &'static str) {
    match state {
        HourState::Before => ("before", "·", "before the first run"),
        HourState::None => ("none", "–", "no run"),
        HourState::Pass => ("pass", "✓", "clean"),
        HourState::Incomplete => ("incomplete", "?", "incomplete"),
        HourState::Fail => ("fail", "✗", "something differs"),
    }
}

fn add_calendar(page: &mut String, history: &History) {
    page.push_str(
        "<h2>Hours</h2>\n<div class=\"card\"><div class=\"scroll\"><table class=\"calendar\" \
         aria-label=\"What each hour came to\"><tr><th class=\"day\" scope=\"col\">UTC</th>",
    );
    for hour in 0..24 {
        // A phone has room for every sixth.
        let class = if hour % 6 == 0 { "major" } else { "minor" };
        add!(page, "<th scope=\"col\"><span class=\"{class}\">{hour:02}</span></th>");
    }
    page.push_str("</tr>\n");
    for (day, hours) in days(&history.hours.calendar) {
        let (year, rest) = day.split_once('-').unwrap_or(("", &day));
        add!(
            page,
            "<tr><th class=\"day\" scope=\"row\"><span class=\"year\">{year}-</span>{rest}</th>"
        );
        for hour in hours {
            let Some(hour) = hour else {
                page.push_str("<td></td>");
                continue;
            };
            let (class, mark, meaning) = shown_as(hour.state);
            let words =
                format!("{}: {meaning}, {}", minute(hour.begins), counted(hour.runs, "run"));
            add!(
                page,
                "<td class=\"{class}\" title=\"{words}\" aria-label=\"{words}\">{mark}</td>"
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div><p class=\"key-to\">");
    let states = [
        HourState::Pass,
        HourState::Fail,
        HourState::Incomplete,
        HourState::None,
        HourState::Before,
    ];
    for (class, mark, meaning) in states.map(shown_as) {
        add!(page, "<span><b class=\"{class}\">{mark}</b>{meaning}</span>");
    }
    page.push_str("</p></div>\n");
}

/// The frame of a plot: the words beside it, and a line across for each of them.
fn add_plot(
    page: &mut String,
    history: &History,
    title: &str,
    said: &str,
    y: &[String],
    marks: &str,
) {
    let hours = &history.hours.calendar;
    let width = hours.len() * HOUR_WIDTH;
    add!(page, "<h3>{title}</h3>\n<div class=\"plot\"><div class=\"y\" aria-hidden=\"true\">");
    for label in y.iter().rev() {
        add!(page, "<span>{label}</span>");
    }
    let said = escape(said);
    add!(
        page,
        "</div><svg viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{said}\"><title>{said}</title>"
    );
    for at in 0..y.len() {
        let height = HEIGHT * at as f64 / (y.len().max(2) - 1) as f64;
        add!(page, "<path class=\"grid\" d=\"M0 {height:.1}H{width}\" />");
    }
    page.push_str(marks);
    page.push_str("</svg><div class=\"x\" aria-hidden=\"true\">");
    let at = |index: usize| hours.get(index).map_or_else(String::new, short);
    let last = hours.len().saturating_sub(1);
    for label in [at(0), at(last / 2), at(last)] {
        add!(page, "<span>{label}</span>");
    }
    page.push_str("</div></div>\n");
}

/// `11-27 14:00`.
fn short(hour: &Hour) -> String {
    hour.begins.format("%m-%d %H:%M")
}

fn add_plots(page: &mut String, history: &History) {
    page.push_str("<h2>Over time</h2>\n<div class=\"card\">\n");
    add_lag(page, history);
    page.push_str(
        "<p class=\"key-to\"><span><i class=\"swatch bar\"></i>95th percentile</span>\
         <span><i class=\"swatch most\"></i>the most</span>\
         <span><i class=\"swatch silent\"></i>no sidecar was streaming</span></p>\n",
    );
    add_applied(page, history);
    add_rows(page, history);
    page.push_str("</div>\n");
}

/// By powers of ten: a second and an hour must both be seen.
fn add_lag(page: &mut String, history: &History) {
    let hours = &history.hours.calendar;
    let most = hours.iter().map(|hour| hour.lag.ms_max).max().unwrap_or(0);
    let mut top = 100 * LAG_MS_LEAST;
    while top < most {
        top = top.saturating_mul(10);
    }
    let decades = (top as f64 / LAG_MS_LEAST as f64).log10();
    let height = |ms: i64| {
        let least = ms.max(LAG_MS_LEAST) as f64 / LAG_MS_LEAST as f64;
        HEIGHT * least.log10() / decades
    };
    let mut marks = String::new();
    for (at, hour) in hours.iter().enumerate() {
        let lag = &hour.lag;
        let x = at * HOUR_WIDTH;
        if lag.minutes == 0 {
            let class = if lag.minutes_missing == 0 { "none" } else { "silent" };
            add_bar(&mut marks, class, x, HEIGHT, &format!("{}: nothing", short(hour)));
            continue;
        }
        let missing = match lag.minutes_missing {
            0 => String::new(),
            minutes => format!(", {} missing", counted(minutes, "minute")),
        };
        let words = format!(
            "{}: p95 {}, at most {}{missing}",
            short(hour),
            time_in_words(lag.ms_p95),
            time_in_words(lag.ms_max)
        );
        add_bar(&mut marks, "most", x, height(lag.ms_max), &words);
        add_bar(&mut marks, "bar", x, height(lag.ms_p95), &words);
    }
    let mut labels = vec![time_in_words(LAG_MS_LEAST)];
    let mut ms = LAG_MS_LEAST;
    while ms < top {
        ms *= 10;
        labels.push(time_in_words(ms));
    }
    let said = format!(
        "Lag by the hour: p95 {}, at most {}",
        time_in_words(history.lag.ms_p95),
        time_in_words(history.lag.ms_max)
    );
    add_plot(page, history, "Lag", &said, &labels, &marks);
}

fn add_bar(marks: &mut String, class: &str, x: usize, height: f64, words: &str) {
    add!(
        marks,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{:.1}\" width=\"{}\" height=\"{height:.1}\">\
         <title>{words}</title></rect>",
        HEIGHT - height,
        HOUR_WIDTH - 1
    );
}

fn add_applied(page: &mut String, history: &History) {
    let hours = &history.hours.calendar;
    let most = hours.iter().map(|hour| hour.lag.applied).max().unwrap_or(0);
    let mut marks = String::new();
    for (at, hour) in hours.iter().enumerate().filter(|(_, hour)| 0 < hour.lag.applied) {
        let height = HEIGHT * hour.lag.applied as f64 / most.max(1) as f64;
        let words = format!("{}: {} applied", short(hour), grouped(hour.lag.applied));
        add_bar(&mut marks, "bar", at * HOUR_WIDTH, height, &words);
    }
    let said = format!(
        "Changes applied by the hour: {} in all, {} in the busiest",
        grouped(history.lag.applied),
        grouped(most)
    );
    let labels = ["0".to_owned(), in_short(most)];
    add_plot(page, history, "Changes applied", &said, &labels, &marks);
}

/// From the least to the most: what matters is how they come and go.
fn add_rows(page: &mut String, history: &History) {
    let hours = &history.hours.calendar;
    let known: Vec<(usize, i64)> =
        hours.iter().enumerate().filter_map(|(at, hour)| Some((at, hour.rows?))).collect();
    let (Some(least), Some(most)) =
        (known.iter().map(|(_, rows)| *rows).min(), known.iter().map(|(_, rows)| *rows).max())
    else {
        return;
    };
    let y = |rows: i64| match most - least {
        0 => HEIGHT / 2.0,
        span => HEIGHT - HEIGHT * (rows - least) as f64 / span as f64,
    };
    let mut path = String::new();
    for (number, (at, rows)) in known.iter().enumerate() {
        let letter = if number == 0 { 'M' } else { 'V' };
        let from = at * HOUR_WIDTH;
        // A step for each hour: level until the next run says otherwise.
        let point = match letter {
            'M' => format!("M{from} {:.1}", y(*rows)),
            _ => format!("H{from}V{:.1}", y(*rows)),
        };
        path.push_str(&point);
        write!(path, "H{}", from + HOUR_WIDTH).expect("a string takes all");
    }
    let marks = format!("<path class=\"line\" d=\"{path}\" />\n");
    let said = format!("Rows of the source: from {} to {}", grouped(least), grouped(most));
    let labels = match most - least {
        0 => vec![String::new(), grouped(most), String::new()],
        _ if in_short(least) == in_short(most) => vec![grouped(least), grouped(most)],
        _ => vec![in_short(least), in_short(most)],
    };
    add_plot(page, history, "Rows", &said, &labels, &marks);
}

fn add_differences(page: &mut String, history: &History) {
    page.push_str("<h2>Differences</h2>\n");
    if history.differences.is_empty() && history.drift.is_empty() {
        page.push_str("<div class=\"card\">No row differed.</div>\n");
        return;
    }
    page.push_str(
        "<div class=\"card scroll\"><table><tr><th scope=\"col\">Table</th>\
         <th scope=\"col\">Most in one run</th><th scope=\"col\" class=\"num\">Runs</th>\
         <th scope=\"col\">First seen</th><th scope=\"col\">Last seen</th></tr>\n",
    );
    for table in &history.differences {
        add!(
            page,
            "<tr><td class=\"name\">{}</td><td>{}</td><td class=\"num\">{}</td><td>{}</td>\
             <td>{}</td></tr>",
            escape(&table.name),
            kinds(table),
            grouped(table.runs),
            minute(table.first),
            minute(table.last)
        );
    }
    page.push_str("</table></div>\n");
    if !history.drift.is_empty() {
        let drift = &history.drift;
        let rows: i64 = history.failure.as_ref().map_or(0, |failure| failure.drift_rows);
        add!(
            page,
            "<details{}><summary>{} of {} in the newest failure</summary><div class=\"scroll\">\
             <table><tr><th scope=\"col\">Table</th><th scope=\"col\">Key</th>\
             <th scope=\"col\">Row is</th><th scope=\"col\">Columns</th></tr>",
            if drift.len() <= 20 { " open=\"open\"" } else { "" },
            grouped(drift.len()),
            counted(u64::try_from(rows).unwrap_or(0), "row"),
        );
        for row in drift {
            add!(
                page,
                "<tr><td class=\"name\">{}</td><td class=\"mono\">{}</td><td>{}</td><td>{}</td>\
                 </tr>",
                escape(&row.table),
                escape(&row.key.to_string()),
                kind_in_words(row.kind),
                escape(&row.columns.join(", "))
            );
        }
        page.push_str("</table></div></details>\n");
    }
}

fn add_asked(page: &mut String, title: &str, nothing: &str, all: &[Asked]) {
    add!(page, "<h2>{title}</h2>\n<div class=\"card scroll\">");
    if all.is_empty() {
        add!(page, "{nothing}</div>");
        return;
    }
    page.push_str(
        "<table><tr><th scope=\"col\">Name</th><th scope=\"col\">State</th>\
         <th scope=\"col\">In the newest run</th><th scope=\"col\">Over the window</th></tr>\n",
    );
    for asked in all {
        let state = asked.state.as_deref().unwrap_or("not asked");
        let class = match state {
            "kept" => "pass",
            "violated" | "failed" => "fail",
            _ => "incomplete",
        };
        let severity = match asked.severity.as_deref() {
            Some("warn") => " <span class=\"muted\">only mentioned</span>",
            _ => "",
        };
        add!(
            page,
            "<tr><td class=\"name\">{}</td><td><span class=\"state {class}\">{}</span>{severity}\
             </td><td>{}</td><td>{}</td></tr>",
            escape(&asked.name),
            escape(state),
            // The state has a column of its own.
            words(answer(asked).get(1..).unwrap_or_default()).trim_start_matches([',', ':', ' ']),
            how_often(asked).unwrap_or_else(|| "always so".to_owned())
        );
    }
    page.push_str("</table></div>\n");
}

fn add_list(page: &mut String, nothing: &str, lines: &[Line]) {
    if lines.is_empty() {
        add!(page, "{nothing}");
        return;
    }
    page.push_str("<ul class=\"plain\">\n");
    for line in lines {
        add!(page, "<li>{}</li>", words(line));
    }
    page.push_str("</ul>\n");
}

fn words(line: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Ours(text) => escape(text),
        Piece::Theirs(text) => format!("<span class=\"theirs\">{}</span>", escape(text)),
    };
    line.iter().map(piece).collect()
}

fn add_runs(page: &mut String, history: &History) {
    let runs = &history.verifications;
    add!(
        page,
        "<h2>Runs</h2>\n<details><summary>{}<span class=\"muted\">the newest first</span>\
         </summary><div class=\"scroll\"><table><tr><th scope=\"col\">Ended</th>\
         <th scope=\"col\">Verdict</th><th scope=\"col\">Scope</th>\
         <th scope=\"col\" class=\"num\">Position</th><th scope=\"col\" class=\"num\">Rows</th>\
         <th scope=\"col\" class=\"num\">Compared</th><th scope=\"col\" class=\"num\">Differ</th>\
         <th scope=\"col\" class=\"num\">Quarantine</th>\
         <th scope=\"col\" class=\"num\">Seconds</th></tr>",
        counted(runs.len() as u64, "run")
    );
    for run in runs.iter().rev() {
        let word = run.verdict.as_str();
        let scope = match (&run.table, run.is_full, run.since) {
            (Some(table), ..) => escape(table),
            (None, true, _) => "all tables, full".to_owned(),
            (None, false, Some(since)) => format!("changed since {}", grouped(since)),
            (None, false, None) => "all tables".to_owned(),
        };
        add!(
            page,
            "<tr><td>{}</td><td><span class=\"state {word}\">{word}</span></td><td>{scope}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{:.1}</td></tr>",
            minute(run.at),
            grouped(run.position),
            grouped(run.rows),
            grouped(run.rows_compared),
            grouped(run.drift_rows),
            grouped(run.quarantined),
            run.seconds
        );
    }
    page.push_str("</table></div></details>\n");
}
