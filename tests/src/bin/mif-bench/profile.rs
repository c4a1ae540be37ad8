//! Where the time of one kind of work goes: what a profiler of the kernel sees of the process that does it.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use mif_tests::footprint::Folder;

/// Nanoseconds of processor time between two samples; no divisor of what the kernel does periodically. A frequency would be
/// refused where the kernel has lowered `kernel.perf_event_max_sample_rate`, as it does on busy machines.
const PERIOD: u32 = 200_003;

/// Seconds that are looked at. How long the profiler takes to begin depends on how many kernel programs there are.
const SECONDS: u32 = 2;

/// What calls the programs: of sockets, of packets.
const CALLERS: [&str; 3] = ["__cgroup_bpf_run_filter_sock_addr", "tcx_run", "sch_handle_egress"];

/// Sending a datagram takes the socket's lock for the program alone (`BPF_CGROUP_RUN_PROG_UDP4_SENDMSG_LOCK` in
/// linux/bpf-cgroup.h): locking functions, right below sending ones.
const LOCKS: [&str; 2] = ["lock_sock_nested", "release_sock"];
const SENDERS: [&str; 2] = ["udp_sendmsg", "udpv6_sendmsg"];

/// Functions that a sentence names.
const NAMED: usize = 3;

/// Samples, by where they fell.
#[derive(Debug, Default)]
struct Samples {
    all: u32,
    /// By program, then by the function that ran.
    programs: BTreeMap<String, BTreeMap<String, u32>>,
    calling: u32,
    locking: u32,
}

/// Looks at a process, with perf(1); `work` has it work for a moment and is called until perf has seen enough. `None` where there is none.
///
/// # Errors
/// The work failed, or what perf says cannot be read.
pub fn of(process: u32, programs: &[&str], mut work: impl FnMut() -> Result<()>) -> Result<Option<String>> {
    let folder = Folder::new("profile")?;
    let file = folder.path().join("perf.data");
    let mut record = Command::new("perf");
    record.args(["record", "--event", "cpu-clock", "--call-graph", "fp", "--count"]);
    record.args([&PERIOD.to_string(), "--pid", &process.to_string(), "--output"]).arg(&file);
    record.args(["--", "sleep", &SECONDS.to_string()]);
    let mut record = match record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(record) => record,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("start perf"),
    };
    let mut done = Ok(());
    while done.is_ok() && record.try_wait().context("wait for perf")?.is_none() {
        done = work();
    }
    let recorded = record.wait_with_output().context("wait for perf")?;
    done?;
    if recorded.status.success() {
        return read(&file, programs);
    }
    // It may not be allowed to.
    let why = String::from_utf8_lossy(&recorded.stderr);
    let why = why.lines().map(str::trim).find(|line| !line.is_empty() && *line != "Error:");
    Ok(why.map(|why| format!("no profile: perf says {why}")))
}

fn read(file: &Path, programs: &[&str]) -> Result<Option<String>> {
    let mut script = Command::new("perf");
    script.args(["script", "--fields", "ip,sym", "--input"]).arg(file);
    let output = script.stdin(Stdio::null()).output().context("start perf script")?;
    ensure!(output.status.success(), "perf script: {}", String::from_utf8_lossy(&output.stderr).trim());
    let samples = Samples::of(&String::from_utf8_lossy(&output.stdout), programs);
    Ok((samples.all > 0).then(|| samples.sentence()))
}

impl Samples {
    /// Of perf's text: a paragraph for each sample, a line for each frame, the innermost first.
    fn of(text: &str, programs: &[&str]) -> Self {
        let mut samples = Self::default();
        for sample in text.split("\n\n") {
            let frames: Vec<&str> =
                sample.lines().filter_map(|line| Some(function(line.trim().split_once(' ')?.1))).collect();
            let Some(innermost) = frames.first() else { continue };
            samples.all += 1;
            if let Some(program) = frames.iter().find(|frame| programs.contains(frame)) {
                let functions = samples.programs.entry((*program).to_owned()).or_default();
                *functions.entry((*innermost).to_owned()).or_default() += 1;
            } else if frames.iter().any(|frame| CALLERS.contains(frame)) {
                samples.calling += 1;
            } else if frames.windows(2).any(|pair| LOCKS.contains(&pair[0]) && SENDERS.contains(&pair[1])) {
                samples.locking += 1;
            }
        }
        samples
    }

    fn sentence(&self) -> String {
        let percent = |samples: u32| format!("{:.1} %", 100.0 * f64::from(samples) / f64::from(self.all));
        let mut parts = Vec::new();
        for (program, functions) in &self.programs {
            let mut functions: Vec<_> = functions.iter().collect();
            functions.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
            let name =
                |function: &String| if function == program { "itself".into() } else { function.clone() };
            let named: Vec<String> = functions
                .iter()
                .take(NAMED)
                .map(|(function, samples)| format!("{} {}", name(function), percent(**samples)))
                .collect();
            let sum = functions.iter().map(|(_, samples)| **samples).sum();
            parts.push(format!("{} in {program} ({})", percent(sum), named.join(", ")));
        }
        parts.push(format!("{} in calling them", percent(self.calling)));
        if self.locking > 0 {
            parts.push(format!("{} in locking the socket for that", percent(self.locking)));
        }
        format!("of the process's time, by {} samples of perf: {}", self.all, parts.join(", "))
    }
}

/// The name of a function; that of a kernel program without its tag (`bpf_prog_TAG_NAME`).
fn function(symbol: &str) -> &str {
    let named = symbol.strip_prefix("bpf_prog_").and_then(|rest| rest.split_once('_'));
    named.map_or(symbol, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let text = "
 ffffffff81 trie_lookup_elem
 ffffffffc0 bpf_prog_75969eef0c9b4c53_sendmsg4
 ffffffff82 __cgroup_bpf_run_filter_sock_addr
 ffffffff83 udp_sendmsg

 ffffffffc0 bpf_prog_75969eef0c9b4c53_sendmsg4
 ffffffff82 __cgroup_bpf_run_filter_sock_addr

 ffffffff84 release_sock
 ffffffff83 udp_sendmsg

 ffffffff83 udp_sendmsg
";
        let said = Samples::of(text, &["sendmsg4", "egress"]).sentence();
        let expected = "of the process's time, by 4 samples of perf: 50.0 % in sendmsg4 (itself 25.0 %, \
                        trie_lookup_elem 25.0 %), 0.0 % in calling them, 25.0 % in locking the socket for that";
        assert_eq!(said, expected);
    }
}
