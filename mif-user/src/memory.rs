//! Memory that is free but not given back.

/// Gives the kernel back what is free. With a thousand PvDs a description of all of them is some megabytes of small pieces,
/// which glibc would keep for the next one; the daemon is at rest until then, perhaps for hours.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no precondition; it only looks at what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
