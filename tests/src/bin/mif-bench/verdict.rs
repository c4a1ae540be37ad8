//! What needs all rows: figures that are judged beside those of another number of PvDs or sources, whether they are flat, and the
//! chart.

use crate::{
    chart::{Chart, Curve},
    egress::{EGRESS, OVER_NO_OP},
    figure::{Figure, Goal, short, thousands},
    report::{Peer, Report, Row},
    sockets::{CONNECT, RUN_TIME},
};

/// Rules that the added cost of a connection is compared with.
const RULES: u32 = 1_000;

/// Fills in ratios and goals that need more than their row.
pub fn complete(report: &mut Report) {
    by_measurement(&mut report.rows);
    let before = report.rows.clone();
    for row in &mut report.rows {
        if row.measurement.starts_with(CONNECT)
            && let (Some(mif), Some(rules)) = (row.mif, rules(&before, &row.measurement))
        {
            row.ratio = Some(mif.map(|added| added / rules));
            *row = std::mem::take(row).with_goal(Goal::AtMost(0.05));
        }
        if row.measurement.starts_with("connect")
            && row.measurement.ends_with(RUN_TIME)
            && let Some(first) = before.iter().find(|first| first.measurement == row.measurement)
            && let (Some(mif), Some(base)) = (row.mif, first.mif)
        {
            row.ratio = Some(mif.map(|time| time / base.median));
            *row = std::mem::take(row).with_goal(Goal::AtMost(FLAT));
        }
    }
    let flat = flatness(&report.rows);
    report.rows.extend(flat);
}

/// How many times as long the connect hook may take at most with the most PvDs.
const FLAT: f64 = 1.3;

/// A line for each thing whose cost should not depend on how much there is: the most of it beside the least.
fn flatness(rows: &[Row]) -> Vec<Row> {
    let mut flat = Vec::new();
    for of in rows.chunk_by(|one, next| one.measurement == next.measurement) {
        let measurement = &of[0].measurement;
        let bound = if measurement.starts_with("connect") && measurement.ends_with(RUN_TIME) {
            Some(FLAT)
        } else if measurement.starts_with(EGRESS) && measurement.ends_with(OVER_NO_OP) {
            // Flat within noise: within what two rounds of the program that does nothing lie apart, the kernel's clock of whole
            // nanoseconds included.
            of[0].bare.zip(of[0].mif).map(|(bare, mif)| 1.0 + (bare.upper - bare.lower + 1.0) / mif.median)
        } else {
            None
        };
        // With the fewest routes, where there are routes.
        let fewest = of[0].routes;
        let last = of.iter().rfind(|row| row.routes == fewest);
        let (Some(bound), Some(first), Some(last)) = (bound, of.first(), last) else { continue };
        if first.n == last.n {
            continue;
        }
        let (Some(base), Some(most)) = (first.mif, last.mif) else { continue };
        // At worst the one is as low as it may be and the other as high.
        let ratio = Figure {
            low: most.low / base.high,
            high: most.high / base.low,
            ..most.map(|figure| figure / base.median)
        };
        let row = Row { ratio: Some(ratio), ..Row::new(format!("flat: {measurement}"), &last.n) };
        flat.push(Row { note: format!("beside {}", first.n), ..row.with_goal(Goal::AtMost(bound)) });
    }
    flat
}

/// Rows of one measurement beside each other, in the order in which the measurements came.
fn by_measurement(rows: &mut [Row]) {
    let mut order: Vec<String> = Vec::new();
    for row in rows.iter() {
        if !order.contains(&row.measurement) {
            order.push(row.measurement.clone());
        }
    }
    rows.sort_by_key(|row| order.iter().position(|measurement| *measurement == row.measurement));
}

/// What that many rules add to a connection, with the fewest routes.
fn rules(rows: &[Row], measurement: &str) -> Option<f64> {
    let with = rows.iter().find(|row| row.measurement == measurement && row.pvds == Some(RULES))?;
    Some(with.peers.get(&Peer::Rules)?.median)
}

/// The cost over the number of PvDs; `None` without at least two numbers.
pub fn chart(report: &Report) -> Option<Chart> {
    let measurement = &report.rows.iter().find(|row| row.measurement.starts_with(CONNECT))?.measurement;
    let connects = || report.rows.iter().filter(|row| row.measurement == *measurement);
    let fewest = connects().filter_map(|row| row.routes).min()?;
    let rows: Vec<&Row> = connects().filter(|row| row.routes == Some(fewest)).collect();
    if rows.len() < 2 {
        return None;
    }
    let curve = |name, value: &dyn Fn(&Row) -> Option<f64>| {
        let point = |row: &&Row| Some((f64::from(row.pvds?), value(row)?));
        Curve { name, points: rows.iter().filter_map(point).collect() }
    };
    let mut curves = vec![curve("mif", &|row| Some(row.mif?.median))];
    // Those that choose.
    let peers = Peer::ALL.into_iter().filter(|peer| *peer != Peer::Empty);
    curves.extend(peers.map(|peer| curve(peer.name(), &|row| Some(row.peers.get(&peer)?.median))));
    let bare = rows.iter().filter_map(|row| row.bare).map(|bare| bare.median).fold(f64::MAX, f64::min);
    Some(Chart {
        title: "What choosing a provider adds to one connect(), by number of PvDs".into(),
        subtitle: format!(
            "IPv6 UDP socket + connect + close, {} µs on the bare kernel; Linux {}; less is better",
            short(bare / 1e3),
            report.kernel
        ),
        curves,
        bound: rules(&report.rows, measurement)
            .map(|rules| (format!("goal: 1/20 of what {} rules add", thousands(RULES)), rules / 20.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Verdict;

    fn connect(pvds: u32, mif: f64, rules: f64) -> Row {
        let mut row = Row::new(CONNECT, pvds.to_string());
        (row.pvds, row.routes) = (Some(pvds), Some(10));
        row.mif = Some(Figure::exact(mif));
        row.peers.insert(Peer::Rules, Figure::exact(rules));
        row
    }

    fn run_time(pvds: u32, mif: f64) -> Row {
        let mif = Some(Figure::exact(mif));
        Row { mif, ..Row::new(format!("connect6{RUN_TIME}"), pvds.to_string()) }
    }

    /// Flat within what the no-op's rounds lie apart.
    #[test]
    fn what_is_flat() {
        let bare = Some(Figure { lower: 34.0, upper: 35.0, ..Figure::exact(34.0) });
        let row = |n: &str, ns| {
            let mif = Some(Figure::exact(ns));
            Row { bare, mif, ..Row::new(format!("{EGRESS}, IPv6{OVER_NO_OP}"), n) }
        };
        for (most, expected) in [(38.0, Verdict::Met), (40.0, Verdict::Met), (41.0, Verdict::Missed)] {
            let flat = flatness(&[
                row("1 source", 38.0),
                row("1,000 sources", 90.0),
                row("1,000,000 sources", most),
            ]);
            let found: Vec<_> = flat.iter().map(|row| (row.n.as_str(), row.verdict)).collect();
            assert_eq!(found, [("1,000,000 sources", Some(expected))], "{most}");
        }
        assert!(flatness(&[row("1 source", 38.0)]).is_empty());
    }

    #[test]
    fn rows_are_judged_beside_each_other() {
        let mut report = Report::new(true);
        report.rows = vec![
            connect(2, 400.0, 100.0),
            run_time(2, 500.0),
            connect(1_000, 800.0, 15_000.0),
            run_time(10_000, 700.0),
        ];
        complete(&mut report);
        let judged: Vec<_> = report
            .rows
            .iter()
            .map(|row| (row.n.as_str(), row.ratio.map(|ratio| ratio.median), row.verdict))
            .collect();
        let expected = [
            ("2", Some(400.0 / 15_000.0), Some(Verdict::Met)),
            ("1000", Some(800.0 / 15_000.0), Some(Verdict::Missed)),
            ("2", Some(1.0), Some(Verdict::Met)),
            ("10000", Some(1.4), Some(Verdict::Missed)),
            ("10000", Some(1.4), Some(Verdict::Missed)),
        ];
        assert_eq!(judged, expected);
        assert_eq!(
            chart(&report).map(|chart| chart.curves[1].points.clone()),
            Some(vec![(2.0, 100.0), (1e3, 15e3)])
        );
    }
}
