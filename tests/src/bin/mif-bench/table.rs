//! The figures on a terminal: a block for each measurement, and notes below.

use std::{collections::BTreeSet, fmt};

use crate::{
    figure::short,
    report::{COLUMNS, Report, Row},
};

/// Characters of a line at most.
const WIDTH: usize = 120;

/// The columns that a block has: of [`COLUMNS`] those of figures, with shorter heads. The goal stands in the block's title, except where
/// it is not that of all.
const HEADS: [(usize, &str); 12] = [
    (2, "bare"),
    (3, "mif"),
    (4, "rules"),
    (5, "src rt"),
    (6, "device"),
    (7, "create"),
    (8, "empty"),
    (9, "ratio"),
    (10, "95 %"),
    (11, "noise"),
    (12, "goal"),
    (13, ""),
];
const GOAL: usize = 12;

/// What the heads mean.
const LEGEND: &str = "\
bare    the bare kernel, or a program that does nothing   mif     with mif; \"added\", \"over\": what it adds to that
rules   one `ip rule` and table for each PvD              src rt  one source-specific route for each PvD
device  SO_BINDTODEVICE by the application                create  a program at sock_create, as `ip vrf exec`
empty   programs that only return on mif's hooks          ratio   to bare; of \"added\" to what 1,000 rules add
95 %    between what the median lies that is judged       noise   the bare kernel beside itself, percent
N       PvDs / routes, where it is two numbers";

/// A report for people.
pub struct Screen<'a>(pub &'a Report);

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.machine())?;
        for block in self.0.rows.chunk_by(|one, next| one.measurement == next.measurement) {
            write_block(f, block)?;
        }
        writeln!(f, "\n{LEGEND}")?;
        for row in self.0.rows.iter().filter(|row| !row.note.is_empty()) {
            let note = format!("{}, {}: {}", row.measurement, row.n, row.note);
            for (place, line) in wrapped(&note, WIDTH - 2).into_iter().enumerate() {
                writeln!(f, "{}{line}", if place == 0 { "\n" } else { "  " })?;
            }
        }
        Ok(())
    }
}

fn write_block(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    let goals: BTreeSet<_> = rows.iter().filter_map(Row::goal_text).collect();
    let title = rows.first().map_or("", |row| row.measurement.as_str());
    let mut goal = goals.iter();
    match (goal.next(), goal.next()) {
        (Some(only), None) => writeln!(f, "\n{title} (goal: {only})")?,
        _ => writeln!(f, "\n{title}")?,
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let is_used = |column: usize| cells.iter().any(|cells| !cells[column].is_empty());
    let used: Vec<(usize, &str)> = HEADS
        .into_iter()
        .filter(|(column, _)| is_used(*column) && (*column != GOAL || goals.len() > 1))
        .collect();
    let width = |head: &str, column: usize| {
        let cells = cells.iter().map(|cells| cells[column].chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let first = width("N", 1);
    let mut lines = vec![format!("  {:<first$}", "N")];
    lines.extend(cells.iter().map(|cells| format!("  {:<first$}", cells[1])));
    for (column, head) in used {
        let width = width(head, column);
        let column = std::iter::once(head).chain(cells.iter().map(|cells| cells[column].as_str()));
        for (line, cell) in lines.iter_mut().zip(column) {
            *line += &if head.is_empty() { format!("  {cell}") } else { format!("  {cell:>width$}") };
        }
    }
    lines.into_iter().try_for_each(|line| writeln!(f, "{}", line.trim_end()))
}

/// As in the document, with the numbers of PvDs and routes in short.
fn cells(row: &Row) -> Vec<String> {
    let mut cells: Vec<String> = row.cells().into();
    debug_assert_eq!(cells.len(), COLUMNS.len());
    if let (Some(pvds), Some(routes)) = (row.pvds, row.routes) {
        cells[1] = format!("{} / {}", brief(pvds), brief(routes));
    }
    cells
}

/// 10,000 as 10k.
fn brief(number: u32) -> String {
    match number {
        0 => "0".into(),
        thousands if thousands.is_multiple_of(1000) => format!("{}k", thousands / 1000),
        other => short(other.into()),
    }
}

/// Lines of words, as long as they may be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        figure::{Figure, Goal},
        report::Peer,
    };

    /// With the widest figures that a run has shown.
    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let wide = Figure { low: -0.067, high: -0.016, lower: 0.9, ..Figure::exact(-0.043) };
        let rate = Figure::exact(255_481.0);
        let row = |routes| {
            let mut row =
                Row::new("UDP send, unconnected, IPv6, /s", format!("10,000 PvDs, {routes} routes"));
            (row.pvds, row.routes) = (Some(10_000), Some(routes));
            (row.bare, row.mif, row.ratio, row.noise) = (Some(rate), Some(rate), Some(wide), Some(wide));
            row.peers = Peer::ALL.into_iter().map(|peer| (peer, rate)).collect();
            row.note = "where the time goes, ".repeat(20);
            row.with_goal(Goal::AtLeast(-0.03))
        };
        let mut report = Report::new(true);
        report.rows = vec![row(10), row(100_000)];
        let text = Screen(&report).to_string();
        for line in text.lines().skip(1) {
            assert!(line.chars().count() <= WIDTH, "{} in {line:?}", line.chars().count());
        }
        for expected in [
            "UDP send, unconnected, IPv6, /s (goal: ratio ≥ -0.03)\n  N           ",
            "  10k / 100k  255,481",
            "not shown\n",
            "\nUDP send, unconnected, IPv6, /s, 10,000 PvDs, 10 routes: where the time goes",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn what_nothing_stands_in_is_no_column() {
        let row = Row { mif: Some(Figure::exact(461.0)), ..Row::new("connect6, ns", "2") };
        let mut report = Report::new(true);
        report.rows = vec![row];
        let text = Screen(&report).to_string();
        assert!(text.contains("\nconnect6, ns\n  N  mif\n  2  461\n"), "{text}");
    }
}
