//! Why a matrix or a product is refused.

/// Why a sparse matrix or a product with one is refused. Entries, rows, columns, groups and blocks count from zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseError {
    /// An array has the wrong length.
    #[error("{what}: {actual} where {expected} belong")]
    Length {
        /// Which array.
        what: &'static str,
        /// How many belong there.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// A number does not fit the integers that hold it.
    #[error("{what}: {actual} is above {limit}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The most there may be.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// Memory does not hold what is asked for.
    #[error("{what}: there is no memory for {floats} numbers")]
    Memory {
        /// What they are.
        what: &'static str,
        /// How many.
        floats: usize,
    },
    /// An index points past the end.
    #[error("entry {entry}: {what} {index} of {len}")]
    OutOfRange {
        /// What is indexed.
        what: &'static str,
        /// The place of the index in its array.
        entry: usize,
        /// The index.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// An entry comes after one that it should come before.
    #[error("entry {entry}, row {row}, column {col}, belongs before the one ahead of it")]
    Unsorted {
        /// The place of the entry.
        entry: usize,
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
    },
    /// Two entries have the same place in the matrix.
    #[error("entry {entry}: row {row}, column {col} is there twice")]
    Duplicate {
        /// The place of the second entry.
        entry: usize,
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
    },
    /// A row ends before it begins, or the first one does not begin at zero.
    #[error("row {row} goes from entry {start} to entry {end}")]
    Pointers {
        /// The row.
        row: usize,
        /// Its first entry.
        start: usize,
        /// One past its last entry.
        end: usize,
    },
    /// A stored value is the all-zero bit pattern, which is never stored; in a block, every value is.
    #[error("entry {entry} is zero, and zeros are not stored")]
    StoredZero {
        /// The place of the entry or the block.
        entry: usize,
    },
    /// A bit past the last column, or past the last position, is set.
    #[error("row {row} has bits past its end")]
    StrayBits {
        /// The row.
        row: usize,
    },
    /// No pattern keeps `n` of `m`.
    #[error("{n}:{m} is no pattern: 1 <= n <= m and 2 <= m <= 64 are needed")]
    Pattern {
        /// Kept of each group.
        n: usize,
        /// Length of a group.
        m: usize,
    },
    /// A group has more values than its pattern allows.
    #[error("row {row}, group {group} has {nonzeros} values, more than {n} of {m}")]
    Group {
        /// The row.
        row: usize,
        /// The group within the row.
        group: usize,
        /// Values that are not zero.
        nonzeros: usize,
        /// Kept of each group.
        n: usize,
        /// Length of a group.
        m: usize,
    },
    /// Groups or blocks do not fill the matrix evenly.
    #[error("{what}: {part} does not divide {whole}")]
    DoesNotDivide {
        /// Which axis.
        what: &'static str,
        /// Length of a group or a block.
        part: usize,
        /// Length of the axis.
        whole: usize,
    },
    /// A size that has to be at least 1 is not.
    #[error("{what}: 0, where at least 1 is needed")]
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// A kernel, with its holes, is larger than the padded input.
    #[error("{what}: a kernel that spans {extent} does not fit a padded input of {padded}")]
    Kernel {
        /// Which axis.
        what: &'static str,
        /// What the kernel spans, with its dilation.
        extent: usize,
        /// The input and its padding.
        padded: usize,
    },
    /// The bits of a value are wider than its type.
    #[error("value {entry}: bits {bits:#x} do not fit the element type")]
    Bits {
        /// The place of the value.
        entry: usize,
        /// Its bits.
        bits: u32,
    },
    /// A processor without this instruction set.
    #[error("this processor has no {0}")]
    Level(&'static str),
}

/// An error unless an array has the length that belongs there.
pub(crate) fn check_len(what: &'static str, expected: usize, actual: usize) -> Result<(), SparseError> {
    if expected == actual { Ok(()) } else { Err(SparseError::Length { what, expected, actual }) }
}

/// An error if a count is above what its integers hold.
pub(crate) fn check_most(what: &'static str, limit: usize, actual: usize) -> Result<(), SparseError> {
    if actual <= limit { Ok(()) } else { Err(SparseError::TooLarge { what, limit, actual }) }
}

/// An error if memory does not hold a batch of samples of `size` numbers, with what pads them.
pub(crate) fn check_memory(what: &'static str, batch: usize, size: usize) -> Result<(), SparseError> {
    let floats = batch.saturating_add(32).saturating_mul(size.saturating_add(1024));
    // Much memory is asked for, and given back untouched.
    let fits = floats < 1 << 28 || Vec::<f32>::new().try_reserve_exact(floats).is_ok();
    if fits { Ok(()) } else { Err(SparseError::Memory { what, floats }) }
}

/// The longest axis and the most elements of a matrix, whatever is stored of it.
const AXIS: usize = 1 << 24;
const ELEMENTS: usize = 1 << 28;
/// How much larger each can be for a number that is stored: no matrix of weights is as sparse as that.
const FOR_EACH: usize = 1 << 12;

/// The number of elements of a matrix of which so many numbers are stored.
///
/// Zeros take no room in a sparse format, so that a few bytes of a file could ask for all the memory there is. The size must be in proportion.
pub(crate) fn check_shape(rows: usize, cols: usize, stored: usize) -> Result<usize, SparseError> {
    let stored = stored.saturating_mul(FOR_EACH);
    let axis = AXIS.max(stored).min(u32::MAX as usize);
    check_most("rows", axis, rows)?;
    check_most("columns", axis, cols)?;
    let elements = rows.saturating_mul(cols);
    check_most("elements", ELEMENTS.max(stored).min(isize::MAX as usize / 8), elements)?;
    Ok(elements)
}
