//! Small files that must survive a power cut: written aside, synced, renamed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// Writes a value as JSON, so that readers see the old file or the new one and never a part.
///
/// # Errors
/// When the directory cannot be made or written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let aside = path.with_extension("json.new");
    // serde_json writes every word by itself: with a thousand PvDs some hundred thousand.
    let mut file = BufWriter::new(File::create(&aside)?);
    serde_json::to_writer(&mut file, value)?;
    file.write_all(b"\n")?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
    fs::rename(&aside, path)
}

/// As [`write_json`], and when it returns the new file is there after a power cut too.
///
/// # Errors
/// As [`write_json`].
pub fn write_json_durably<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_json(path, value)?;
    // The rename is of the directory.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Reads a JSON file. A missing file is `None`; one that cannot be understood is renamed to `*.bad` so that nothing is
/// lost, and the second value says so.
pub fn read_json_or_set_aside<T: DeserializeOwned>(path: &Path) -> (Option<T>, Option<String>) {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, None),
        Err(error) => return (None, Some(format!("cannot read {}: {error}", path.display()))),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(set_aside(path, &error.into()))),
    }
}

/// Renames a file that cannot be understood to `*.bad` and says so.
pub fn set_aside(path: &Path, error: &io::Error) -> String {
    let bad = path.with_extension("json.bad");
    let kept = match fs::rename(path, &bad) {
        Ok(()) => format!("kept as {}", bad.display()),
        Err(error) => format!("and could not be kept aside: {error}"),
    };
    format!("{} is not what was written there ({error}); {kept}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_kept_aside() {
        let directory = std::env::temp_dir().join(format!("mif-files-{}", std::process::id()));
        let path = directory.join("list.json");
        write_json(&path, &vec![1, 2]).expect("written");
        assert_eq!(read_json_or_set_aside::<Vec<u32>>(&path), (Some(vec![1, 2]), None));
        fs::write(&path, "[1, 2").expect("truncated");
        let (value, warning) = read_json_or_set_aside::<Vec<u32>>(&path);
        assert_eq!(value, None);
        assert!(warning.is_some_and(|warning| warning.contains("list.json.bad")));
        assert_eq!(fs::read_to_string(directory.join("list.json.bad")).expect("kept"), "[1, 2");
        assert_eq!(read_json_or_set_aside::<Vec<u32>>(&path), (None, None));
        fs::remove_dir_all(&directory).expect("removed");
    }
}
