//! The errors of sparse matrices and their products: [`SparseError`].

/// An error of a sparse matrix or a product with one. Entries, rows, columns, groups and blocks count from zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseError {
    /// An array has the wrong length.
    #[error("{what}: expected {expected}, got {actual}")]
    Length {
        /// The name of the array.
        what: &'static str,
        /// The length that is expected.
        expected: usize,
        /// The length that was given.
        actual: usize,
    },
    /// A number does not fit the integers that hold it.
    #[error("{what}: {actual} is above {limit}")]
    TooLarge {
        /// The name of the count.
        what: &'static str,
        /// The greatest allowed number.
        limit: usize,
        /// The number that was given.
        actual: usize,
    },
    /// Memory does not hold the numbers.
    #[error("{what}: not enough memory for {floats} numbers")]
    Memory {
        /// The name of the array.
        what: &'static str,
        /// The number of floats.
        floats: usize,
    },
    /// An index points past the end.
    #[error("entry {entry}: {what} {index} is past the end of {len}")]
    OutOfRange {
        /// The name of the index.
        what: &'static str,
        /// The place of the index in its array.
        entry: usize,
        /// The index.
        index: usize,
        /// The number of indices that are valid.
        len: usize,
    },
    /// An entry comes after an entry that it should precede.
    #[error("entry {entry} at row {row}, column {col} must come before the entry ahead of it")]
    Unsorted {
        /// The place of the entry.
        entry: usize,
        /// The row of the entry.
        row: usize,
        /// The column of the entry.
        col: usize,
    },
    /// Two entries have the same place in the matrix.
    #[error("entry {entry}: row {row}, column {col} occurs twice")]
    Duplicate {
        /// The place of the second entry.
        entry: usize,
        /// The row of the entry.
        row: usize,
        /// The column of the entry.
        col: usize,
    },
    /// A row ends before it begins, or the first one does not begin at zero.
    #[error("row {row} starts at entry {start} and ends at entry {end}")]
    Pointers {
        /// The row.
        row: usize,
        /// The first entry of the row.
        start: usize,
        /// One past the last entry of the row.
        end: usize,
    },
    /// A stored value is the all-zero bit pattern, which is never stored; a block is stored unless all its values are zero.
    #[error("entry {entry} is zero, but zeros are not stored")]
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
    /// The numbers are not a pattern that keeps `n` of `m`.
    #[error("{n}:{m} is not a pattern: it needs 1 <= n <= m and 2 <= m <= 64")]
    Pattern {
        /// The number kept in each group.
        n: usize,
        /// The length of a group.
        m: usize,
    },
    /// A group has more values than its pattern allows.
    #[error("row {row}, group {group} has {nonzeros} values, more than {n} of {m}")]
    Group {
        /// The row.
        row: usize,
        /// The group within the row.
        group: usize,
        /// The number of values that are not zero.
        nonzeros: usize,
        /// The number kept in each group.
        n: usize,
        /// The length of a group.
        m: usize,
    },
    /// Groups or blocks do not fill the matrix evenly.
    #[error("{what}: {part} does not divide {whole}")]
    DoesNotDivide {
        /// The name of the axis.
        what: &'static str,
        /// The length of a group or a block.
        part: usize,
        /// The length of the axis.
        whole: usize,
    },
    /// A size that must be at least 1 is 0.
    #[error("{what}: must be at least 1, not 0")]
    Zero {
        /// The name of the size.
        what: &'static str,
    },
    /// A kernel, with its holes, is larger than the padded input.
    #[error("{what}: a kernel that spans {extent} does not fit a padded input of {padded}")]
    Kernel {
        /// The name of the axis.
        what: &'static str,
        /// The extent of the kernel with its dilation.
        extent: usize,
        /// The size of the input with its padding.
        padded: usize,
    },
    /// The bits of a value are wider than its type.
    #[error("value {entry}: bits {bits:#x} do not fit the element type")]
    Bits {
        /// The place of the value.
        entry: usize,
        /// The bits of the value.
        bits: u32,
    },
    /// The processor does not have this instruction set.
    #[error("this processor has no {0}")]
    Level(&'static str),
}

/// Returns an error unless an array has the expected length.
pub(crate) fn check_len(what: &'static str, expected: usize, actual: usize) -> Result<(), SparseError> {
    if expected == actual { Ok(()) } else { Err(SparseError::Length { what, expected, actual }) }
}

/// Returns an error if a count exceeds what its integers hold.
pub(crate) fn check_most(what: &'static str, limit: usize, actual: usize) -> Result<(), SparseError> {
    if actual <= limit { Ok(()) } else { Err(SparseError::TooLarge { what, limit, actual }) }
}

/// Returns an error if memory does not hold a batch of samples of `size` numbers, with their padding.
pub(crate) fn check_memory(what: &'static str, batch: usize, size: usize) -> Result<(), SparseError> {
    let floats = batch.saturating_add(32).saturating_mul(size.saturating_add(1024));
    // A large block is requested, and released untouched.
    let fits = floats < 1 << 28 || Vec::<f32>::new().try_reserve_exact(floats).is_ok();
    if fits { Ok(()) } else { Err(SparseError::Memory { what, floats }) }
}

/// The longest axis and the most elements of a matrix, however few of them are stored.
const AXIS: usize = 1 << 24;
const ELEMENTS: usize = 1 << 28;
/// The factor by which each may be larger for every stored number: no matrix of weights is sparser than that.
const FOR_EACH: usize = 1 << 12;

/// Returns the number of elements of a matrix that stores `stored` numbers.
///
/// Zeros take no room in a sparse format, so a few bytes of a file could ask for all memory. The size must be in proportion to what is
/// stored.
pub(crate) fn check_shape(rows: usize, cols: usize, stored: usize) -> Result<usize, SparseError> {
    let stored = stored.saturating_mul(FOR_EACH);
    let axis = AXIS.max(stored).min(u32::MAX as usize);
    check_most("rows", axis, rows)?;
    check_most("columns", axis, cols)?;
    let elements = rows.saturating_mul(cols);
    check_most("elements", ELEMENTS.max(stored).min(isize::MAX as usize / 8), elements)?;
    Ok(elements)
}
