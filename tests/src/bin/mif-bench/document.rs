//! The figures as a part of a Markdown document, between two marks.

use anyhow::{Result, ensure};

use crate::report::{COLUMNS, Report, Row, TEXT_COLUMNS};

/// The lines that the figures stand between.
const MARKS: [&str; 2] = ["<!-- figures: cargo xtask bench --docs -->", "<!-- end of figures -->"];

/// The document with these figures in the place of those that it has.
pub fn with_figures(document: &str, report: &Report) -> Result<String> {
    let [begin, end] = MARKS;
    let parts = document.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    ensure!(parts.is_some(), "the document has no lines {begin:?} and {end:?}");
    let (before, after) = parts.unwrap_or_default();
    Ok(format!("{before}{begin}\n{}{end}{after}", figures(report)))
}

fn figures(report: &Report) -> String {
    let mut text = format!("\n{}{}.\n\n", report.machine(), if report.quick { "; a short run" } else { "" });
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &line(&COLUMNS.map(str::to_owned));
    let rule = |column| if column < TEXT_COLUMNS || column + 1 == COLUMNS.len() { "---" } else { "---:" };
    text += &format!("|{}|\n", (0..COLUMNS.len()).map(rule).collect::<Vec<_>>().join("|"));
    let mut before = "";
    for row in &report.rows {
        let mut cells = row.cells();
        if before == row.measurement {
            cells[0].clear();
        }
        before = &row.measurement;
        text += &line(&cells);
    }
    let mut notes: Vec<String> = Vec::new();
    for row in report.rows.iter().filter(|row| !row.note.is_empty()) {
        notes.push(note(row));
    }
    if !notes.is_empty() {
        text += &format!("\n{}\n", notes.join("\n"));
    }
    text + "\n"
}

fn note(row: &Row) -> String {
    format!("- {}, {}: {}", row.measurement, row.n, row.note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Figure, Goal};

    #[test]
    fn new_figures_take_the_place_of_old_ones() {
        let mut report = Report::new(false);
        let mif = Some(Figure::exact(59.0));
        let row = |n| Row { mif, ..Row::new("egress, ns", n) }.with_goal(Goal::AtMost(60.0));
        report.rows = vec![row("1"), Row { note: "flat".into(), ..row("1,000") }];
        let [begin, end] = MARKS;
        let text = with_figures(&format!("# Head\n{begin}\nold\n{end}\nTail\n"), &report).unwrap();
        assert!(text.starts_with("# Head\n") && text.ends_with("Tail\n") && !text.contains("old"), "{text}");
        assert!(text.contains("| egress, ns | 1 |") && text.contains("| ≤ 60 | met |"), "{text}");
        assert!(text.contains("|  | 1,000 |") && text.contains("- egress, ns, 1,000: flat\n"), "{text}");
        assert_eq!(with_figures(&text, &report).unwrap(), text, "again, nothing changes");
        assert!(with_figures("# Head\n", &report).is_err());
    }
}
