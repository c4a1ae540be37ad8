//! The figures, and how they are judged; JSON for programs. `table` shows them on a terminal.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::figure::{Figure, Goal, Verdict, short};

/// Who does the same work, beside the bare kernel and `mif`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// One rule and table for each PvD.
    Rules,
    /// One source-specific default route for each PvD.
    SourceRoutes,
    /// SO_BINDTODEVICE by the application.
    BindDevice,
    /// A program at the creation of sockets, as `ip vrf exec` attaches it.
    SockCreate,
    /// Nobody: programs that only return, on the hooks that `mif` uses.
    Empty,
}

impl Peer {
    /// All, in the order of the columns.
    pub const ALL: [Self; 5] =
        [Self::Rules, Self::SourceRoutes, Self::BindDevice, Self::SockCreate, Self::Empty];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "ip rule",
            Self::SourceRoutes => "source routes",
            Self::BindDevice => "bind device",
            Self::SockCreate => "sock_create",
            Self::Empty => "empty hooks",
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Which of a row's figures is judged.
#[derive(Clone, Copy, Debug)]
pub enum Judged {
    /// Beside the bare kernel, or beside something else.
    Ratio,
    /// Of `mif` by itself.
    Mif,
}

/// One comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What was done, with its unit.
    pub measurement: String,
    /// With how much.
    pub n: String,
    /// With how many PvDs, where that is what varies.
    pub pvds: Option<u32>,
    /// With how many routes.
    pub routes: Option<u32>,
    /// The bare kernel, or a program that does nothing.
    pub bare: Option<Figure>,
    /// With `mif`.
    pub mif: Option<Figure>,
    /// With the others.
    pub peers: BTreeMap<Peer, Figure>,
    /// `mif` beside the bare kernel, or what the note says.
    pub ratio: Option<Figure>,
    /// The bare kernel beside itself in the same rounds: how far two equal things lie apart.
    pub noise: Option<Figure>,
    /// What should be reached, of the ratio where there is one, else of the figure of `mif`.
    pub goal: Option<Goal>,
    /// Whether it is.
    pub verdict: Option<Verdict>,
    /// What the verdict is about.
    #[serde(skip)]
    pub judged: Option<Judged>,
    /// What else is to know.
    pub note: String,
}

impl Row {
    /// A row of a measurement with how much.
    pub fn new(measurement: impl Into<String>, n: impl Into<String>) -> Self {
        Self { measurement: measurement.into(), n: n.into(), ..Self::default() }
    }

    /// Sets what should be reached; the figures are set already.
    pub fn with_goal(mut self, goal: Goal) -> Self {
        self.judged = if self.ratio.is_some() { Some(Judged::Ratio) } else { self.mif.map(|_| Judged::Mif) };
        self.verdict = self.ratio.or(self.mif).map(|figure| goal.judge(figure));
        self.goal = Some(goal);
        self
    }

    /// Between what that which is judged lies.
    pub fn interval(&self) -> String {
        let of = |figure: Figure, number: fn(f64) -> String| {
            if figure.low < figure.high {
                format!("{} – {}", number(figure.low), number(figure.high))
            } else {
                String::new()
            }
        };
        match self.judged {
            Some(Judged::Ratio) => self.ratio.map(|ratio| of(ratio, |value| format!("{value:.3}"))),
            Some(Judged::Mif) => self.mif.map(|mif| of(mif, short)),
            None => None,
        }
        .unwrap_or_default()
    }

    /// The goal, and of what it is where not of the ratio.
    pub fn goal_text(&self) -> Option<String> {
        let goal = self.goal?;
        Some(match self.judged {
            Some(Judged::Ratio) => format!("ratio {goal}"),
            _ => goal.to_string(),
        })
    }

    /// The cells of the table.
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        let figure = |figure: Option<Figure>| figure.map_or_else(String::new, |figure| short(figure.median));
        let peer = |peer: Peer| figure(self.peers.get(&peer).copied());
        let [rules, routes, device, sock_create, empty] = Peer::ALL.map(peer);
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{:.3}", ratio.median));
        let goal = self.goal.map_or_else(String::new, |goal| goal.to_string());
        let verdict = self.verdict.map_or_else(String::new, |verdict| verdict.to_string());
        let noise = self.noise.map_or_else(String::new, |noise| format!("±{:.1}", 100.0 * spread(noise)));
        let (bare, mif, interval) = (figure(self.bare), figure(self.mif), self.interval());
        let (measurement, n) = (self.measurement.clone(), self.n.clone());
        [
            measurement,
            n,
            bare,
            mif,
            rules,
            routes,
            device,
            sock_create,
            empty,
            ratio,
            interval,
            noise,
            goal,
            verdict,
        ]
    }
}

/// How far the quartiles of a ratio lie from 1.
fn spread(ratio: Figure) -> f64 {
    (ratio.upper - 1.0).max(1.0 - ratio.lower).max(0.0)
}

/// The heads of the table.
pub const COLUMNS: [&str; 14] = [
    "measurement",
    "N",
    "bare",
    "mif",
    Peer::Rules.name(),
    Peer::SourceRoutes.name(),
    Peer::BindDevice.name(),
    Peer::SockCreate.name(),
    Peer::Empty.name(),
    "ratio",
    "95 %",
    "noise, %",
    "goal",
    "",
];

/// Columns of text; the others are numbers.
pub const TEXT_COLUMNS: usize = 2;

/// All comparisons of a run.
#[derive(Serialize)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// The processor.
    pub processor: String,
    /// How many the process may use.
    pub cpus: usize,
    /// Whether it was a short run.
    pub quick: bool,
    /// The comparisons.
    pub rows: Vec<Row>,
}

impl Report {
    /// An empty report of this machine.
    pub fn new(quick: bool) -> Self {
        let unknown = || "unknown".to_owned();
        let kernel = nix::sys::utsname::uname()
            .map_or_else(|_| unknown(), |name| name.release().to_string_lossy().into_owned());
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let processor = model.map_or_else(unknown, |(_, model)| model.trim().to_owned());
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { kernel, processor, cpus, quick, rows: Vec::new() }
    }

    /// The machine in a line.
    pub fn machine(&self) -> String {
        let Self { kernel, processor, cpus, .. } = self;
        format!("Linux {kernel}, {cpus} CPUs, {processor}")
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_what_is_judged() {
        let mif = Some(Figure { low: 36.0, high: 39.0, ..Figure::exact(38.0) });
        let mut row = Row { mif, ..Row::new("egress, ns", "1 source") }.with_goal(Goal::AtMost(60.0));
        // For comparison only.
        row.ratio = Some(Figure { low: 0.97, high: 1.0, ..Figure::exact(1.0) });
        assert_eq!((row.interval().as_str(), row.goal_text().as_deref()), ("36 – 39", Some("≤ 60")));
        let row = row.with_goal(Goal::AtMost(1.3));
        assert_eq!(
            (row.interval().as_str(), row.goal_text().as_deref()),
            ("0.970 – 1.000", Some("ratio ≤ 1.3"))
        );
    }

    #[test]
    fn rows_say_whether_the_goal_is_met() {
        let row = Row { mif: Some(Figure::exact(70.0)), ..Row::new("egress, ns", "1 source") };
        let row = row.with_goal(Goal::AtMost(60.0));
        assert_eq!(row.verdict, Some(Verdict::Missed));
        let ratio = Some(Figure { low: 0.985, high: 0.995, ..Figure::exact(0.99) });
        let row = Row { ratio, ..row }.with_goal(Goal::AtLeast(0.98));
        assert_eq!(row.verdict, Some(Verdict::Met));
        let noise = Some(Figure { lower: 0.985, upper: 1.004, ..Figure::exact(1.0) });
        let cells = Row { noise, ..row }.cells();
        assert_eq!(cells[9..], ["0.990", "0.985 – 0.995", "±1.5", "≥ 0.98", "met"]);
    }
}
