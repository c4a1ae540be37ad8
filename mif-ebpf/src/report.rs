//! Counters and events.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns};
use mif_common::{
    Addr, Reason,
    abi::{Event, Hook, NO_PVD, PvdIndex, config_flags},
    decide::{Outcome, Rule, Verdict},
    limits, reason,
};

use crate::{maps, tables};

/// Adds one to the counter of a reason and PvD.
#[inline(always)]
pub fn count(reason: Reason, pvd: PvdIndex, bytes: u64) {
    let reason = reason as u32;
    // A PvD beyond the array (written by a daemon with another size) is counted under "none" rather than lost.
    let count = maps::STATS
        .get_ptr_mut(pvd.wrapping_mul(reason::COUNT).wrapping_add(reason))
        .or_else(|| maps::STATS.get_ptr_mut(NO_PVD * reason::COUNT + reason));
    if let Some(count) = count {
        // SAFETY: the element is this CPU's own and the program is not preempted by another one of ours on it in a
        // way that matters: a lost increment is the worst case.
        unsafe {
            (*count).count += 1;
            (*count).bytes += bytes;
        }
    }
}

/// What an event says beside its outcome.
pub struct Subject {
    pub hook: Hook,
    pub source: Addr,
    pub destination: Addr,
    pub ifindex: u32,
}

/// Counts the outcome, and sends an event where something was changed, refused or would have been.
#[inline(always)]
pub fn outcome(outcome: &Outcome, rule: &Rule, subject: &Subject, bytes: u64) {
    count(outcome.reason, outcome.pvd, bytes);
    let watched = tables::config().is_some_and(|config| config.flags & config_flags::WATCHED != 0);
    if watched && (!matches!(outcome.verdict, Verdict::Pass) || quiet_failure(outcome.reason)) {
        event(outcome, rule, subject);
    }
}

/// Reasons to tell although the call passes: somebody will ask why.
#[inline(always)]
fn quiet_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Observed | Reason::NoDecision | Reason::Expired | Reason::BindFailed | Reason::DeviceFailed
    )
}

#[inline(never)]
fn event(outcome: &Outcome, rule: &Rule, subject: &Subject) {
    // SAFETY: the helper takes no argument and has no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(gate) = maps::GATE.get_ptr_mut(outcome.reason as u32) else { return };
    // SAFETY: the element is this CPU's own; a lost increment is the worst case.
    let suppressed = unsafe {
        if now.wrapping_sub((*gate).since) >= limits::EVENT_WINDOW_NS {
            (*gate).since = now;
            (*gate).sent = 0;
        }
        if (*gate).sent >= limits::EVENTS_PER_WINDOW {
            (*gate).suppressed += 1;
            return;
        }
        (*gate).sent += 1;
        core::mem::take(&mut (*gate).suppressed)
    };
    let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) else { return };
    let pid = match subject.hook {
        Hook::Egress | Hook::Guard => 0,
        _ => (bpf_get_current_pid_tgid() >> 32) as u32,
    };
    entry.write(Event {
        at: now,
        cgroup: rule.cgroup,
        source: if outcome.source.is_unspecified() { subject.source } else { outcome.source },
        destination: subject.destination,
        hook: subject.hook as u32,
        reason: outcome.reason as u32,
        pvd: outcome.pvd,
        ifindex: if outcome.ifindex == 0 { subject.ifindex } else { outcome.ifindex },
        pid,
        suppressed,
    });
    entry.submit(0);
}
