//! A chart of cost over number, both logarithmic, as SVG that reads well on light and on dark.

use std::fmt::Write as _;

use crate::figure::{short, thousands};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 430.0;
/// Where the curves are: left, top, right, bottom.
const PLOT: [f64; 4] = [84.0, 64.0, 610.0, 370.0];
/// The smallest cost that is drawn, nanoseconds; what is less, or less than nothing within the noise, is drawn there.
const FLOOR: f64 = 10.0;
/// Between the baselines of two names.
const LINE: f64 = 17.0;

/// A curve.
pub struct Curve {
    /// Its name.
    pub name: &'static str,
    /// Number and cost in nanoseconds, by number.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How it came to be.
    pub subtitle: String,
    /// The curves; the first one is drawn stronger.
    pub curves: Vec<Curve>,
    /// A cost that should not be exceeded, with its name.
    pub bound: Option<(String, f64)>,
}

/// Of the curves, in order. All have a contrast of 3 and more against white and against black-grey (WCAG 2.1, 1.4.11).
const COLOURS: [&str; 6] = ["#1a7f37", "#d1242f", "#9a6700", "#2f81f7", "#8250df", "#6e7781"];

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}\
.dim{fill:#59636e}.grid{stroke:#d1d9e0}.bound{stroke:#59636e;stroke-dasharray:5 4}\
polyline{fill:none;stroke-width:2}.first{stroke-width:3.5}.name{font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.dim{fill:#9198a1}.grid{stroke:#3d444d}.bound{stroke:#9198a1}}";

impl Chart {
    /// The SVG.
    pub fn svg(&self) -> String {
        let costs = self.curves.iter().flat_map(|curve| &curve.points).map(|(_, cost)| *cost);
        let most = costs.fold(FLOOR * 10.0, f64::max);
        let (x, y) =
            (Axis::x(&self.curves), Axis { from: FLOOR, to: next_decade(most), at: [PLOT[3], PLOT[1]] });
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<style>{STYLE}</style>\n",
            escaped(&self.title)
        );
        let [left, top, right, bottom] = PLOT;
        put(&mut svg, &text(16.0, 26.0, "title", "start", &self.title));
        put(&mut svg, &text(16.0, 46.0, "dim", "start", &self.subtitle));
        for decade in y.decades() {
            let at = y.place(decade);
            put(&mut svg, &line("grid", [left, at, right, at]));
            put(&mut svg, &text(left - 8.0, at + 4.0, "dim", "end", &time(decade)));
        }
        for number in x.numbers(&self.curves) {
            let at = x.place(number);
            put(&mut svg, &line("grid", [at, top, at, bottom]));
            put(&mut svg, &text(at, bottom + 20.0, "dim", "middle", &thousands(number)));
        }
        put(&mut svg, &text(f64::midpoint(left, right), bottom + 42.0, "dim", "middle", "PvDs (log scale)"));
        if let Some((name, bound)) = &self.bound {
            let at = y.place(*bound);
            put(&mut svg, &line("bound", [left, at, right, at]));
            // Named in the corner that costs rising with the number leave free.
            let [x, y] = [left + 30.0, top + 24.0];
            put(&mut svg, &line("bound", [x, y - 4.0, x + 28.0, y - 4.0]));
            put(&mut svg, &text(x + 36.0, y, "dim", "start", &format!("{name}, {}", time(bound.round()))));
        }
        // The first one last: it lies above the others.
        for (place, curve) in self.curves.iter().enumerate().rev() {
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|(n, cost)| format!("{:.1},{:.1}", x.place(*n), y.place(*cost)))
                .collect();
            let (colour, class) = (colour(place), if place == 0 { " class=\"first\"" } else { "" });
            put(&mut svg, &format!("<polyline{class} stroke=\"{colour}\" points=\"{}\"/>", points.join(" ")));
            for point in &points {
                let (cx, cy) = point.split_once(',').unwrap_or_default();
                put(&mut svg, &format!("<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3.5\" fill=\"{colour}\"/>"));
            }
        }
        self.names(&mut svg, y);
        svg + "</svg>\n"
    }

    /// Each name at the end of its curve, with the last cost; those that would lie over each other are moved apart.
    fn names(&self, svg: &mut String, y: Axis) {
        let last = |(place, curve): (usize, &Curve)| {
            let (_, cost) = *curve.points.last()?;
            Some((y.place(cost), place, format!("{} {}", curve.name, added(cost))))
        };
        let mut names: Vec<_> = self.curves.iter().enumerate().filter_map(last).collect();
        names.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut free = PLOT[3] + LINE / 2.0;
        for (at, place, name) in names {
            let at = at.min(free);
            free = at - LINE;
            let colour = colour(place);
            put(
                svg,
                &format!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" class=\"name\" style=\"fill:{colour}\">{}</text>",
                    PLOT[2] + 10.0,
                    at + 4.0,
                    escaped(&name)
                ),
            );
        }
    }
}

/// A logarithmic axis.
#[derive(Clone, Copy)]
struct Axis {
    from: f64,
    to: f64,
    /// Where these are.
    at: [f64; 2],
}

impl Axis {
    fn x(curves: &[Curve]) -> Self {
        let numbers = || curves.iter().flat_map(|curve| &curve.points).map(|(number, _)| *number);
        let (least, most) = (numbers().fold(f64::MAX, f64::min), numbers().fold(1.0, f64::max));
        // A single number needs some width all the same.
        Self {
            from: least.min(most),
            to: most.max(least.min(most) * 10.0),
            at: [PLOT[0] + 18.0, PLOT[2] - 12.0],
        }
    }

    fn place(self, value: f64) -> f64 {
        let share = (value.max(self.from) / self.from).ln() / (self.to / self.from).ln();
        self.at[0] + (self.at[1] - self.at[0]) * share
    }

    fn decades(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.from), |decade| Some(decade * 10.0))
            .take_while(move |decade| *decade <= self.to * 1.001)
    }

    /// The numbers that were measured.
    fn numbers(self, curves: &[Curve]) -> Vec<f64> {
        let mut numbers: Vec<f64> =
            curves.iter().flat_map(|curve| &curve.points).map(|(number, _)| *number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        numbers
    }
}

fn next_decade(value: f64) -> f64 {
    10_f64.powf(value.log10().ceil())
}

fn colour(place: usize) -> &'static str {
    COLOURS[place % COLOURS.len()]
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{} ns", short(ns)),
        ns if ns < 1e6 => format!("{} µs", short(ns / 1e3)),
        ns => format!("{} ms", short(ns / 1e6)),
    }
}

fn added(nanoseconds: f64) -> String {
    if nanoseconds < FLOOR { format!("< {}", time(FLOOR)) } else { time(nanoseconds.round()) }
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes all");
}

fn text(x: f64, y: f64, class: &str, anchor: &str, content: &str) -> String {
    let content = escaped(content);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{content}</text>")
}

fn line(class: &str, [x1, y1, x2, y2]: [f64; 4]) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_equally_far_apart() {
        let axis = Axis { from: 10.0, to: 1e5, at: [400.0, 0.0] };
        let places: Vec<f64> = axis.decades().map(|decade| axis.place(decade).round()).collect();
        assert_eq!(places, [400.0, 300.0, 200.0, 100.0, 0.0]);
        assert_eq!(axis.place(-5.0), 400.0, "what is below the floor is on it");
    }

    #[test]
    fn names_do_not_lie_over_each_other() {
        let curve = |name, cost| Curve { name, points: vec![(2.0, cost), (1e4, cost)] };
        let curves = vec![curve("one", 200.0), curve("two", 201.0), curve("three", -3.0)];
        let chart =
            Chart { title: "t".into(), subtitle: "<&>".into(), curves, bound: Some(("b".into(), 500.0)) };
        let svg = chart.svg();
        let places: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("class=\"name\""))
            .map(|line| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(places.len(), 3);
        assert!(places.windows(2).all(|pair| pair[0] - pair[1] >= LINE - 0.2), "{places:?}");
        assert!(svg.contains("&lt;&amp;>") && svg.contains("three < 10 ns".replace('<', "&lt;").as_str()));
    }
}
