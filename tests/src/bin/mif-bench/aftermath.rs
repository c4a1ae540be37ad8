//! What the kernel still does when something big has been taken down: its workers would be measured with what comes next.

use std::{fs, thread, time::Duration};

/// Queues in which namespaces, and maps of programs, are taken down.
const QUEUES: [&str; 2] = ["netns", "events_unbound"];

/// Between two looks, and how many in a row must find nothing.
const PAUSE: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 6;

/// Looks at most: somebody else may take things down all the time.
const LOOKS: u32 = 400;

/// Waits until no kernel worker is at it.
pub fn wait() {
    let mut quiet = 0;
    for _ in 0..LOOKS {
        quiet = if is_busy() { 0 } else { quiet + 1 };
        if quiet == QUIET_LOOKS {
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn is_busy() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    processes.flatten().filter_map(name).any(|comm| is_at_it(comm.trim_end()))
}

/// A worker's name ends with `+` and the queue that it works for; `-` stands before the last one (`wq_worker_comm` in
/// kernel/workqueue.c).
fn is_at_it(comm: &str) -> bool {
    let queue = comm.strip_prefix("kworker/").and_then(|rest| Some(rest.split_once('+')?.1));
    queue.is_some_and(|queue| QUEUES.contains(&queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_tell_what_they_do() {
        for (comm, expected) in [
            ("kworker/u8:3+netns", true),
            ("kworker/u8:3-netns", false),
            ("kworker/u8:0+events_unbound", true),
            ("kworker/0:1+events", false),
            ("kworker/0:1", false),
            ("a+netns", false),
        ] {
            assert_eq!(is_at_it(comm), expected, "{comm}");
        }
    }
}
