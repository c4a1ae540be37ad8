//! A private bpf file system: pins of a test or of the demo, gone with it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::footprint::{BPFFS, Folder};

/// A bpf file system in a folder of the lab's, unmounted when dropped, or by the janitor.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
    _folder: Folder,
}

impl Bpffs {
    /// Mounts one.
    ///
    /// # Errors
    /// Without root, or when the kernel has none.
    pub fn mount() -> Result<Self> {
        let folder = Folder::new("pins")?;
        let path = folder.path().join(BPFFS);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .context("cannot mount a bpf file system; this needs root")?;
        Ok(Self { path, _folder: folder })
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
        // Lazily: a killed daemon may still hold a file; the mount goes with the last one. The folder goes after this.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
