//! Files that are replaced as a whole, or not at all.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// The name of a file that is being written: this, and [`RANDOM`] letters and digits.
const UNFINISHED: &str = ".pruning-unfinished-";
const RANDOM: usize = 12;

/// A file that is being written, and takes the place of another one when it is [finished](Self::finish).
///
/// Until then it lies in the same folder under a name of its own, and is locked: concurrent writes do not meet, and what a killed process
/// left behind differs from what a living one is writing. It keeps the permissions of the file before it. A link stays, and the file that it
/// leads to is replaced. Dropped, it is gone, and the file before it stays.
///
/// [`save`](crate::store::save) writes one file with a checksum; this is for other formats, and for several files that belong together:
///
/// ```
/// use pruning_burn::store::Unfinished;
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
/// let mut files = vec![Unfinished::begin(&one)?, Unfinished::begin(&two)?];
/// for file in &mut files {
///     file.as_file_mut().write_all(b"weights")?;
///     file.sync()?;
/// }
/// assert!(!one.exists());
/// for file in files {
///     file.finish()?;
/// }
/// assert!(one.exists() && two.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    target: PathBuf,
    permissions: Option<Permissions>,
}

impl Unfinished {
    /// Begins a file that will be `file`.
    ///
    /// # Errors
    /// A folder or device has that name, or the folder cannot be written to.
    pub fn begin(file: impl AsRef<Path>) -> io::Result<Self> {
        let (target, permissions) = place(file.as_ref())?;
        remove_leftovers(folder_of(&target));
        let file = begin(folder_of(&target), permissions.is_some())?;
        Ok(Self { file, target, permissions })
    }

    /// Returns the open file.
    pub fn as_file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Returns the name that the file has until it is finished.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Puts the file in its place, once it is on the disk.
    ///
    /// # Errors
    /// The file cannot be synced or renamed. The file before it stays.
    pub fn finish(self) -> io::Result<()> {
        if let Some(permissions) = self.permissions {
            self.file.as_file().set_permissions(permissions)?;
        }
        self.file.as_file().sync_all()?;
        self.file.persist(&self.target).map_err(|error| error.error)?;
        let undone = |error| io::Error::other(format!("it was written, but a power failure may undo that: {error}"));
        sync(folder_of(&self.target)).map_err(undone)
    }
}

/// Writes a file, which takes the place of `file` once it is complete and on the disk, as an [`Unfinished`] does.
pub(super) fn replace(file: &Path, write: impl FnOnce(&mut NamedTempFile) -> Result<(), String>) -> Result<(), String> {
    let mut unfinished = Unfinished::begin(file).map_err(said)?;
    write(&mut unfinished.file)?;
    unfinished.finish().map_err(said)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn said(error: io::Error) -> String {
    error.to_string()
}

/// Where a file is, past all links, and its permissions if it exists.
fn place(file: &Path) -> io::Result<(PathBuf, Option<Permissions>)> {
    let target = match fs::canonicalize(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((file.to_path_buf(), None)),
        target => target?,
    };
    let found = fs::metadata(&target)?;
    if found.is_file() {
        Ok((target, Some(found.permissions())))
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "a folder or device has that name, so there is no file to replace"))
    }
}

/// Creates a file that is locked for as long as it is open.
fn begin(folder: &Path, private: bool) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED).rand_bytes(RANDOM);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A new file gets what the umask leaves. What replaces one may hold what others must not read.
        builder.permissions(Permissions::from_mode(if private { 0o600 } else { 0o666 }));
    }
    #[cfg(not(unix))]
    let _ = private;
    loop {
        let file = builder.tempfile_in(folder)?;
        let ours = match file.as_file().try_lock() {
            // Another run may have taken it for a leftover before it was locked.
            Ok(()) => file.path().exists(),
            Err(TryLockError::WouldBlock) => false,
            // Where nothing can be locked, nothing is taken for a leftover.
            Err(TryLockError::Error(_)) => true,
        };
        if ours {
            return Ok(file);
        }
    }
}

/// Removes what killed processes left in a folder. What cannot be removed does no harm.
fn remove_leftovers(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten() {
        let unfinished = file.file_name().to_str().is_some_and(is_unfinished);
        if unfinished
            && file.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(open) = File::open(file.path())
            && open.try_lock().is_ok()
        {
            // While it is locked, so that nobody begins to write to it.
            let _ = fs::remove_file(file.path());
        }
    }
}

fn is_unfinished(name: &str) -> bool {
    let random = |rest: &str| rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.strip_prefix(UNFINISHED).is_some_and(random)
}

/// Makes the names in a folder last.
fn sync(folder: &Path) -> io::Result<()> {
    // Other systems have no such operation.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Nor have some file systems.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(file: &Path, text: &str) -> Result<(), String> {
        replace(file, |to| to.write_all(text.as_bytes()).map_err(said))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_leftover_goes_unless_a_living_process_writes_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (dead, living) = (format!("{UNFINISHED}abcdefABC012"), format!("{UNFINISHED}zyxwvuZYX987"));
        fs::write(path(&dead), "half").unwrap();
        let held = File::create(path(&living)).unwrap();
        held.lock().unwrap();
        // Names that only look alike.
        let others = [format!("{UNFINISHED}abc"), format!("{UNFINISHED}abcdefABC01_"), format!("a{dead}")];
        others.iter().for_each(|name| fs::write(path(name), "mine").unwrap());
        write(&path("new"), "whole").unwrap();
        let mut expected = vec![living.clone(), "new".to_string()];
        expected.extend(others.clone());
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        drop(held);
        write(&path("new"), "again").unwrap();
        assert!(!path(&living).exists() && others.iter().all(|name| path(name).exists()));
        assert_eq!(fs::read_to_string(path("new")).unwrap(), "again");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write(&file, "old").unwrap();
        let error = replace(&file, |to| to.write_all(b"ne").map_err(said).and(Err("no more".to_string()))).unwrap_err();
        assert_eq!(error, "no more");
        assert_eq!(
            (fs::read_to_string(&file).unwrap(), names(folder.path())),
            ("old".to_string(), vec!["file".into()])
        );
        // Nor does one to a folder, or into none.
        assert!(write(folder.path(), "new").unwrap_err().contains("no file"));
        assert!(write(&folder.path().join("none/file"), "new").is_err());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        // As any new file.
        fs::write(folder.path().join("plain"), "").unwrap();
        write(&file, "first").unwrap();
        assert_eq!(mode(&file), mode(&folder.path().join("plain")));
        symlink("file", &link).unwrap();
        for wanted in [0o600, 0o640, 0o444, 0o755] {
            fs::set_permissions(&file, Permissions::from_mode(wanted)).unwrap();
            write(&link, "next").unwrap();
            assert_eq!((mode(&file), fs::read_to_string(&file).unwrap().as_str()), (wanted, "next"));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }
}
