//! Reading what a release consists of: plain files of bounded size, never through a link.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::digest::sha256_hex;

/// Files below one `vectors/`.
pub const TREE_FILES: usize = 512;
/// Bytes of all of them.
pub const TREE_BYTES: usize = 32 << 20;
/// Folders within folders.
const TREE_DEPTH: usize = 4;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused; not there is one of the kinds.
    #[error("the system refused")]
    Io(#[source] std::io::Error),
    /// A link, a device, or a folder where a file belongs.
    #[error("it is {found}, not {expected}")]
    Kind {
        /// what is there
        found: &'static str,
        /// what belongs there
        expected: &'static str,
    },
    /// More bytes than are read.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// the most that is read
        limit: usize,
    },
}

impl FileError {
    /// Whether there is nothing under that name.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Read a whole plain file of at most `limit` bytes.
///
/// SECURITY: a link could point anywhere. Whoever can swap the file between look and read can write
/// into the folder anyway; what is read is checked by digest or signature afterwards.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    expect_kind(path, "a file")?;
    let file = fs::File::open(path).map_err(FileError::Io)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(FileError::Io)?;
    if bytes.len() > limit { Err(FileError::TooLarge { limit }) } else { Ok(bytes) }
}

/// That there is a folder, and not a link to one.
pub fn expect_folder(path: &Path) -> Result<(), FileError> {
    expect_kind(path, "a folder")
}

fn expect_kind(path: &Path, expected: &'static str) -> Result<(), FileError> {
    let kind = fs::symlink_metadata(path).map_err(FileError::Io)?.file_type();
    let found = match kind {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_file() => "a file",
        _ => "something else",
    };
    if found == expected { Ok(()) } else { Err(FileError::Kind { found, expected }) }
}

/// Why a folder of vectors was not read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// One of its files or folders.
    #[error("cannot read `{}`", path.display())]
    File {
        /// relative to the folder
        path: PathBuf,
        /// why
        #[source]
        source: FileError,
    },
    /// A name that would read differently elsewhere.
    #[error("`{}` has a name with other characters than letters, digits, `.`, `_` and `-`", path.display())]
    Name {
        /// relative to the folder
        path: PathBuf,
    },
    /// Too many files, too deep, or too many bytes.
    #[error("it holds more than {TREE_FILES} files, {TREE_BYTES} bytes, or folders more than {TREE_DEPTH} deep")]
    TooLarge,
}

/// All files below a folder, by relative path with `/`, sorted by its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// path and content
    pub files: Vec<(String, Vec<u8>)>,
}

impl Tree {
    /// Read a folder. An absent one is an empty tree.
    pub fn read(folder: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        match expect_folder(folder) {
            Err(error) if error.is_absent() => return Ok(tree),
            Err(source) => return Err(TreeError::File { path: PathBuf::new(), source }),
            Ok(()) => {}
        }
        let mut room = TREE_BYTES;
        tree.walk(folder, "", 0, &mut room)?;
        tree.files.sort();
        Ok(tree)
    }

    /// SHA-256 of the listing: one line `<sha256 of the file>  <path>` per file, in order. That is
    /// `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` inside the folder.
    pub fn sha256_hex(&self) -> String {
        let line = |(path, content): &(String, Vec<u8>)| format!("{}  {path}\n", sha256_hex(content));
        sha256_hex(self.files.iter().map(line).collect::<String>().as_bytes())
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize, room: &mut usize) -> Result<(), TreeError> {
        let failed = |path: &str, source| TreeError::File { path: path.into(), source };
        for entry in fs::read_dir(folder).map_err(|error| failed(prefix, FileError::Io(error)))? {
            let entry = entry.map_err(|error| failed(prefix, FileError::Io(error)))?;
            let name = entry.file_name();
            let shown = PathBuf::from(prefix).join(&name);
            let name = name.to_str().filter(|name| is_plain(name)).ok_or(TreeError::Name { path: shown })?;
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(|error| failed(&path, FileError::Io(error)))?;
            if kind.is_dir() {
                if depth >= TREE_DEPTH {
                    return Err(TreeError::TooLarge);
                }
                self.walk(&entry.path(), &path, depth.saturating_add(1), room)?;
                continue;
            }
            let content = match read_file(&entry.path(), *room) {
                Err(FileError::TooLarge { .. }) => return Err(TreeError::TooLarge),
                other => other.map_err(|source| failed(&path, source))?,
            };
            *room = room.saturating_sub(content.len());
            if self.files.len() >= TREE_FILES {
                return Err(TreeError::TooLarge);
            }
            self.files.push((path, content));
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.starts_with('.') && name.len() <= 128 && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FileError, TREE_FILES, Tree, TreeError, read_file};

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, [7; 10]).unwrap();
        assert_eq!(read_file(&file, 10).unwrap().len(), 10);
        assert!(matches!(read_file(&file, 9), Err(FileError::TooLarge { limit: 9 })));
        assert!(read_file(&folder.path().join("none"), 1).unwrap_err().is_absent());
        assert!(matches!(read_file(folder.path(), 1), Err(FileError::Kind { found: "a folder", .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("f"), folder.path().join("link")).unwrap();
        let found = read_file(&folder.path().join("link"), 10);
        assert!(matches!(found, Err(FileError::Kind { found: "a symbolic link", .. })));
        assert!(matches!(Tree::read(folder.path()), Err(TreeError::File { .. })));
    }

    #[test]
    fn the_digest_is_that_of_the_sorted_listing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Tree::read(&folder.path().join("none")).unwrap(), Tree::default());
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("b.jsonl"), "b\n").unwrap();
        fs::write(folder.path().join("a/z.json"), "z\n").unwrap();
        let tree = Tree::read(folder.path()).unwrap();
        let paths: Vec<&str> = tree.files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a/z.json", "b.jsonl"]);
        // Made with `sha256sum`, as the documentation of the digest says.
        assert_eq!(tree.sha256_hex(), "22dfa9c33fbdfdde4fc81f6e3f0032a0676f291a9763889b6ae8b137523cc743");
    }

    #[test]
    fn a_name_that_reads_differently_elsewhere_is_refused() {
        for name in [".hidden", "with space", "ä"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "").unwrap();
            assert!(matches!(Tree::read(folder.path()), Err(TreeError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn the_count_of_files_and_the_depth_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..TREE_FILES {
            fs::write(folder.path().join(n.to_string()), "").unwrap();
        }
        assert!(Tree::read(folder.path()).is_ok());
        fs::write(folder.path().join("more"), "").unwrap();
        assert!(matches!(Tree::read(folder.path()), Err(TreeError::TooLarge)));

        let deep = tempfile::tempdir().unwrap();
        fs::create_dir_all(deep.path().join("1/2/3/4")).unwrap();
        assert!(Tree::read(deep.path()).is_ok());
        fs::create_dir_all(deep.path().join("1/2/3/4/5")).unwrap();
        assert!(matches!(Tree::read(deep.path()), Err(TreeError::TooLarge)));
    }
}
