//! A private bpf file system: pins of a test or of the demo, gone with it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A bpf file system in a temporary folder, unmounted when dropped.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Mounts one.
    ///
    /// # Errors
    /// Without root, or when the kernel has none.
    pub fn mount() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mif-bpffs-{}-{place}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let bpffs = Self { path };
        mount(Some("bpf"), &bpffs.path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .context("cannot mount a bpf file system; this needs root")?;
        Ok(bpffs)
    }

    /// A pin directory in it.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.path.join("mif")
    }

    /// The mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Lazily: a killed daemon may still hold a file; the mount goes with the last one.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}
