//! An error for a layer that cannot be reconstructed: [`ReconstructionError`].

/// An error for a layer that cannot be reconstructed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructionError {
    /// The reconstruction does not suit the layer.
    #[error("{path}: {reason}")]
    Unsuited {
        /// The path of the weight.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The Gram matrix is not positive definite, although it is damped.
    #[error(
        "{path}: its Gram matrix is not positive definite at input column {column} with damp = {damp}: raise `damp`, \
         or calibrate with more rows"
    )]
    NotPositiveDefinite {
        /// The path of the weight.
        path: String,
        /// The input column at which the factorization failed.
        column: usize,
        /// The damping, as a fraction of the mean of the diagonal.
        damp: f64,
    },
    /// An array has another length than the layer's shape says.
    #[error("{path}: the {what} of a layer of {rows} rows and {cols} columns cannot have {found} numbers")]
    Shape {
        /// The path of the weight.
        path: String,
        /// The array.
        what: &'static str,
        /// The number of output units.
        rows: usize,
        /// The fan-in.
        cols: usize,
        /// The length of the array.
        found: usize,
    },
    /// A number is not finite.
    #[error("{path}: number {index} of its {what} is {value}")]
    NotFinite {
        /// The path of the weight.
        path: String,
        /// The array.
        what: &'static str,
        /// The place in the array.
        index: usize,
        /// The number as text.
        value: String,
    },
    /// The diagonal of the Gram matrix has a negative number, which no sum of squares is.
    #[error("{path}: entry {column} of the diagonal of its Gram matrix is {value}, and must not be below 0")]
    NegativeDiagonal {
        /// The path of the weight.
        path: String,
        /// The input column.
        column: usize,
        /// The number.
        value: f64,
    },
    /// The Gram matrix is not symmetric, which every sum of `x x^T` is.
    #[error(
        "{path}: entries ({row}, {column}) and ({column}, {row}) of its Gram matrix are {value} and {mirrored}, and must be equal"
    )]
    NotSymmetric {
        /// The path of the weight.
        path: String,
        /// One input column.
        row: usize,
        /// The other input column.
        column: usize,
        /// The number.
        value: f64,
        /// The number across the diagonal.
        mirrored: f64,
    },
    /// The mask keeps a weight that an earlier pruning removed.
    #[error("{path}: its mask keeps the weight at row {row}, column {column}, which was pruned before")]
    Revived {
        /// The path of the weight.
        path: String,
        /// The output unit.
        row: usize,
        /// The input column.
        column: usize,
    },
    /// The pattern does not fit the layer.
    #[error("{path}: {n}:{m} is no pattern for {cols} columns: n must be 1 to m, and m must divide them")]
    Pattern {
        /// The path of the weight.
        path: String,
        /// The number of columns that stay of each group.
        n: usize,
        /// The size of a group.
        m: usize,
        /// The fan-in.
        cols: usize,
    },
    /// The reconstruction panicked.
    #[error("{path}: reconstruction {reconstruction} panicked: {message}")]
    Panicked {
        /// The path of the weight.
        path: String,
        /// The reconstruction as its `Debug` prints it.
        reconstruction: String,
        /// The message of the panic.
        message: String,
    },
    /// The reconstruction broke its contract.
    #[error("{path}: reconstruction {reconstruction} broke its contract: {problem}")]
    Contract {
        /// The path of the weight.
        path: String,
        /// The reconstruction as its `Debug` prints it.
        reconstruction: String,
        /// What is wrong with its result.
        problem: String,
    },
}
