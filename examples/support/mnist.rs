//! MNIST from four IDX files on disk, each checked against the SHA-256 of the published data.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// Pixels along one side of an image.
pub const SIDE: usize = 28;
/// Pixels of one image, row by row.
pub const PIXELS: usize = SIDE * SIDE;
/// Digits to tell apart.
pub const CLASSES: usize = 10;

/// Mean and standard deviation of the train pixels scaled to `0..=1`; the test images use the same two.
const MEAN: f32 = 0.1307;
const STD: f32 = 0.3081;

/// One of the four files: its name, its IDX header as big-endian words, and what it must hash to.
struct Source {
    name: &'static str,
    header: &'static [u32],
    sha256: &'static str,
}

impl Source {
    /// Bytes of the file once unpacked: the header, then one byte for each element.
    fn size(&self) -> usize {
        4 * self.header.len() + self.header[1..].iter().map(|&d| d as usize).product::<usize>()
    }
}

const TRAIN_LABELS: Source = Source {
    name: "train-labels-idx1-ubyte",
    header: &[0x0801, 60_000],
    sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
};
const TEST_LABELS: Source = Source {
    name: "t10k-labels-idx1-ubyte",
    header: &[0x0801, 10_000],
    sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
};
const TRAIN_IMAGES: Source = Source {
    name: "train-images-idx3-ubyte",
    header: &[0x0803, 60_000, SIDE as u32, SIDE as u32],
    sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
};
const TEST_IMAGES: Source = Source {
    name: "t10k-images-idx3-ubyte",
    header: &[0x0803, 10_000, SIDE as u32, SIDE as u32],
    sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
};

/// Why MNIST could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MnistError {
    /// Neither the file nor its `.gz` exists.
    #[error("no `{path}` or `{path}.gz`: pass `--data DIR`, a folder with the four MNIST IDX files, gzip'd or not")]
    Missing {
        /// The file, without `.gz`.
        path: PathBuf,
    },
    /// The file exists and cannot be opened or read.
    #[error("cannot read `{path}`: check that it is a file and that you may read it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The `.gz` is damaged, or is no gzip at all.
    #[error("cannot unpack `{path}`: fetch the file again, or leave off `.gz` if it is not compressed")]
    Gzip {
        /// The `.gz`.
        path: PathBuf,
        /// What the decoder said.
        source: std::io::Error,
    },
    /// The header is not the one this file has in MNIST.
    #[error("`{path}` starts with header {found:?}, expected {expected:?}: is another file under this name?")]
    Header {
        /// The file.
        path: PathBuf,
        /// IDX magic and dimensions of the MNIST file.
        expected: Vec<u32>,
        /// IDX magic and dimensions read.
        found: Vec<u32>,
    },
    /// The file ends early.
    #[error("`{path}` ends after {found} of {expected} unpacked bytes: fetch the file again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Unpacked bytes of the MNIST file.
        expected: usize,
        /// Unpacked bytes read.
        found: usize,
    },
    /// The file goes on after the last element; the rest was not read.
    #[error("`{path}` has at least {found} unpacked bytes, expected {expected}: fetch the file again")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Unpacked bytes of the MNIST file.
        expected: usize,
        /// Unpacked bytes read before giving up.
        found: usize,
    },
    /// The file has the right shape and other contents: damaged, or another data set in MNIST's format.
    #[error("`{path}` has sha-256 {found}, expected {expected}: fetch the MNIST file again")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// SHA-256 of the unpacked MNIST file.
        expected: String,
        /// SHA-256 of the unpacked bytes read.
        found: String,
    },
}

/// Images and their labels, in file order.
#[derive(Clone)]
pub struct Split {
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Split {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One digit, 0 to 9, for each image.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Normalised pixels of the images in `range`, [`PIXELS`] for each.
    ///
    /// # Panics
    ///
    /// If `range` reaches past the last image or ends before it starts.
    #[must_use]
    pub fn pixels(&self, range: Range<usize>) -> Vec<f32> {
        self.rows()[range].as_flattened().iter().copied().map(normalise).collect()
    }

    /// Normalised pixels and labels of the images at `indices`, in that order.
    ///
    /// # Panics
    ///
    /// If an index is not below [`Split::len`].
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> (Vec<f32>, Vec<i32>) {
        let rows = self.rows();
        let mut pixels = Vec::with_capacity(indices.len() * PIXELS);
        for &i in indices {
            pixels.extend(rows[i].iter().copied().map(normalise));
        }
        (pixels, indices.iter().map(|&i| i32::from(self.labels[i])).collect())
    }

    /// The first `at` images, and the rest.
    ///
    /// # Panics
    ///
    /// If `at` is above [`Split::len`].
    #[must_use]
    pub fn split_at(mut self, at: usize) -> (Split, Split) {
        // Labels first: that checks `at`, so the product below cannot overflow.
        let labels = self.labels.split_off(at);
        let images = self.images.split_off(at * PIXELS);
        (self, Split { images, labels })
    }

    fn rows(&self) -> &[[u8; PIXELS]] {
        self.images.as_chunks().0
    }
}

fn normalise(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - MEAN) / STD
}

/// The whole data set.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// 60,000 images to train on.
    pub train: Split,
    /// 10,000 images to test with.
    pub test: Split,
}

impl Mnist {
    /// Reads the four IDX files in `dir`, each as `NAME.gz` or, where there is none, as `NAME`.
    ///
    /// # Errors
    ///
    /// A [`MnistError`] naming the first file that is missing, unreadable, or not MNIST's byte for byte.
    pub fn load(dir: &Path) -> Result<Mnist, MnistError> {
        // The small files first: a wrong folder fails before 47 MB are unpacked.
        let (train, test) = (read(dir, &TRAIN_LABELS)?, read(dir, &TEST_LABELS)?);
        Ok(Mnist {
            train: Split { images: read(dir, &TRAIN_IMAGES)?, labels: train },
            test: Split { images: read(dir, &TEST_IMAGES)?, labels: test },
        })
    }

    /// The images to train on, the 5,000 after them, and the images to test with. Settings are chosen by the second, on which
    /// nothing is trained, so that the test set plays no part in it.
    #[must_use]
    pub fn hold_out(self) -> (Split, Split, Split) {
        let at = self.train.len() - 5000;
        let (train, validation) = self.train.split_at(at);
        (train, validation, self.test)
    }
}

/// The data shipped with the examples: `data/mnist` in their package.
#[must_use]
pub fn default_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist"))
}

/// The elements of one file, its header checked and cut off.
fn read(dir: &Path, want: &Source) -> Result<Vec<u8>, MnistError> {
    let expected = want.size();
    // One byte more than MNIST has tells a longer file, and keeps a gzip bomb from filling memory.
    let limit = expected as u64 + 1;
    let mut bytes = Vec::with_capacity(expected + 1);
    let (raw, gz) = (dir.join(want.name), dir.join(format!("{}.gz", want.name)));
    let packed = gz.exists();
    let path = if packed { gz } else { raw };
    let outcome = File::open(&path).and_then(|file| match packed {
        true => MultiGzDecoder::new(file).take(limit).read_to_end(&mut bytes),
        false => file.take(limit).read_to_end(&mut bytes),
    });
    let found = bytes.len();
    if let Err(source) = outcome {
        return Err(match source.kind() {
            ErrorKind::NotFound => MnistError::Missing { path },
            ErrorKind::UnexpectedEof if found < expected => MnistError::Truncated { path, expected, found },
            // The kinds flate2 gives to bad gzip; a file cut in its last eight bytes has all the data and no checksum.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData if packed => {
                MnistError::Gzip { path, source }
            }
            _ => MnistError::Io { path, source },
        });
    }
    // The header before the length: files under each other's names differ in both, and the header says more.
    let words = bytes.as_chunks().0.iter().take(want.header.len());
    let words: Vec<u32> = words.map(|&word| u32::from_be_bytes(word)).collect();
    if words != want.header[..words.len()] {
        return Err(MnistError::Header { path, expected: want.header.into(), found: words });
    }
    match found.cmp(&expected) {
        Ordering::Less => return Err(MnistError::Truncated { path, expected, found }),
        Ordering::Greater => return Err(MnistError::TooLong { path, expected, found }),
        Ordering::Equal => {}
    }
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != want.sha256 {
        return Err(MnistError::Checksum { path, expected: want.sha256.into(), found });
    }
    bytes.drain(..4 * want.header.len());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, read::GzEncoder};
    use std::fs;

    /// The train labels: the file that `load` reads first, so a folder with it alone shows its error.
    const NAME: &str = TRAIN_LABELS.name;

    fn raw_labels() -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = File::open(default_dir().join(format!("{NAME}.gz"))).unwrap();
        MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    }

    /// What a folder gives that holds nothing but `bytes` as `NAME` and `ending`; the message must name the file.
    fn load_only(ending: &str, bytes: &[u8]) -> MnistError {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{NAME}{ending}"));
        fs::write(&path, bytes).unwrap();
        let error = Mnist::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{}`", path.display())), "{error}");
        error
    }

    #[test]
    fn shipped_data_is_mnist() {
        let Mnist { train, test } = Mnist::load(&default_dir()).unwrap();
        let count = |s: &Split| [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|c| s.labels().iter().filter(|&&l| l == c).count());
        assert_eq!(count(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(count(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        assert_eq!(format!("{test:?}"), "Split { len: 10000, .. }");

        let (pixels, labels) = test.gather(&[9_999, 0]);
        assert_eq!(labels, [6, 7]);
        assert_eq!(pixels, [test.pixels(9_999..10_000), test.pixels(0..1)].concat());
        assert!((pixels[0] + 0.1307 / 0.3081).abs() < 1e-6, "the corner is background");

        let last = train.gather(&[59_999]);
        let (head, tail) = train.split_at(55_000);
        assert_eq!((head.len(), tail.len(), tail.is_empty()), (55_000, 5_000, false));
        assert_eq!(tail.gather(&[4_999]), last);
    }

    #[test]
    fn raw_and_gzipped_files_mix() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), raw_labels()).unwrap();
        for source in [TEST_LABELS, TRAIN_IMAGES, TEST_IMAGES] {
            let name = format!("{}.gz", source.name);
            fs::copy(default_dir().join(&name), dir.path().join(&name)).unwrap();
        }
        assert_eq!(Mnist::load(dir.path()).unwrap().train.labels(), &raw_labels()[8..]);
    }

    #[test]
    fn absent_files() {
        let dir = tempfile::tempdir().unwrap();
        for dir in [dir.path().to_path_buf(), dir.path().join("no-such-folder")] {
            let error = Mnist::load(&dir).unwrap_err();
            assert!(error.to_string().contains("--data DIR"), "{error}");
            assert!(matches!(error, MnistError::Missing { path } if path == dir.join(NAME)));
        }
        fs::create_dir(dir.path().join(NAME)).unwrap();
        assert!(matches!(Mnist::load(dir.path()), Err(MnistError::Io { .. })));
    }

    #[test]
    fn short_and_long_files() {
        let raw = raw_labels();
        let packed = gzip(&raw);
        for (ending, bytes) in [("", &raw[..60_007]), ("", &raw[..5]), (".gz", &packed[..9_000]), (".gz", &[])] {
            let error = load_only(ending, bytes);
            assert!(matches!(error, MnistError::Truncated { expected: 60_008, found: ..60_008, .. }), "{error:?}");
        }
        let long = [raw, vec![0; 1 << 20]].concat();
        for (ending, bytes) in [(".gz", gzip(&long)), ("", long), (".gz", packed.repeat(2))] {
            let error = load_only(ending, &bytes);
            // `found` is what was read: one byte past the end, however long the file.
            assert!(matches!(error, MnistError::TooLong { expected: 60_008, found: 60_009, .. }), "{error:?}");
        }
    }

    #[test]
    fn altered_files() {
        let mut raw = raw_labels();
        let packed = gzip(&raw);
        let cut = packed.len() - 5;
        let flipped = [&packed[..cut], &[!packed[cut]], &packed[cut + 1..]].concat();
        for bytes in [&packed[..cut], &flipped, &raw] {
            assert!(matches!(load_only(".gz", bytes), MnistError::Gzip { .. }));
        }
        raw[30_000] ^= 1;
        for (ending, bytes) in [(".gz", &gzip(&raw)), ("", &raw)] {
            assert!(matches!(load_only(ending, bytes), MnistError::Checksum { expected, found, .. }
                if expected == TRAIN_LABELS.sha256 && found.len() == 64 && found != expected));
        }
        raw[3] = 3;
        assert!(matches!(load_only("", &raw), MnistError::Header { expected, found, .. }
            if expected == [2049, 60_000] && found == [2051, 60_000]));
    }
}
