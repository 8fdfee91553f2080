//! How the matrix view of a parameter lies in the parameter's own memory order.

/// A view of a parameter as a matrix **rows = output units, columns = fan-in**, without moving its elements.
///
/// Every layer of Burn stores its weight, row-major, as `[outer, rows, inner]`:
///
/// | layer | shape | outer | rows | inner | kernel |
/// |---|---|---|---|---|---|
/// | Linear | `[in, out]` | in | out | 1 | 1 |
/// | Conv | `[out, in / groups, k...]` | 1 | out | in / groups * k | k |
/// | ConvTranspose | `[in, out / groups, k...]` | in | out / groups | k | k |
/// | norms, biases | `[n]` | 1 | n | 1 | 1 |
///
/// The column of an element is `outer_index * inner + inner_index`, and its input channel is `column / kernel`. In a transposed
/// convolution with groups, a row stands for one output unit of each group, and the input channels of the groups follow each other.
///
/// ```
/// use pruning_core::score::MatrixLayout;
/// // A Linear of Burn, [in, out] = [3, 2]: the fan-in of output unit 1 is every other element.
/// let linear = MatrixLayout::column_major(2, 3);
/// assert_eq!((linear.rows(), linear.cols()), (2, 3));
/// assert_eq!([0, 1, 2].map(|col| linear.flat(1, col)), [1, 3, 5]);
/// // A convolution [8, 4, 3, 3]: 36 weights for each filter, 9 of them for each input channel.
/// let convolution = MatrixLayout::new(1, 8, 36, 9);
/// assert_eq!((convolution.cols(), convolution.input_channels()), (36, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixLayout {
    outer: usize,
    rows: usize,
    inner: usize,
    kernel: usize,
    // The sizes of the kernel's axes, as many as are known.
    axes: [usize; KERNEL_AXES],
    known: usize,
    groups: usize,
}

/// The most axes that a kernel has.
const KERNEL_AXES: usize = 3;

impl MatrixLayout {
    /// Creates the layout of memory `[outer, rows, inner]`, with `kernel` consecutive columns for each input channel.
    ///
    /// # Panics
    /// `kernel` is 0 or does not divide `inner`; no layer has such a shape.
    #[must_use]
    pub fn new(outer: usize, rows: usize, inner: usize, kernel: usize) -> Self {
        assert!(kernel > 0 && inner.is_multiple_of(kernel), "a kernel of {kernel} does not divide {inner} columns");
        Self { outer, rows, inner, kernel, axes: [1; KERNEL_AXES], known: 0, groups: 1 }
    }

    /// Sets the sizes of the kernel's axes, three at most, in their order in memory.
    ///
    /// ```
    /// use pruning_core::score::{Granularity, MatrixLayout};
    /// // A convolution [8, 4, 3, 5].
    /// let convolution = MatrixLayout::new(1, 8, 60, 15).with_kernel_axes(&[3, 5]);
    /// assert_eq!(Granularity::Kernel { axis: 1 }.units(&convolution), 5);
    /// assert_eq!(Granularity::Kernel { axis: 1 }.unit(&convolution, 7, 15 + 2 * 5 + 4), 4);
    /// ```
    ///
    /// # Panics
    /// There are more than three, or their product is not the kernel.
    #[must_use]
    pub fn with_kernel_axes(self, sizes: &[usize]) -> Self {
        let fits = sizes.len() <= KERNEL_AXES && sizes.iter().product::<usize>() == self.kernel;
        assert!(fits, "axes of {sizes:?} are not those of a kernel of {}", self.kernel);
        let mut axes = [1; KERNEL_AXES];
        axes[..sizes.len()].copy_from_slice(sizes);
        Self { axes, known: sizes.len(), ..self }
    }

    /// Splits the input channels into `groups`, each of which belongs to other output units, as in a transposed convolution.
    ///
    /// # Panics
    /// `groups` is 0 or does not divide the number of input channels.
    #[must_use]
    pub fn with_groups(self, groups: usize) -> Self {
        let channels = self.input_channels();
        assert!(groups > 0 && channels.is_multiple_of(groups), "{groups} groups do not divide {channels} channels");
        Self { groups, ..self }
    }

    /// Creates a layout with one row after the other, as in a convolution or a torch Linear.
    #[must_use]
    pub fn row_major(rows: usize, cols: usize) -> Self {
        Self::new(1, rows, cols, 1)
    }

    /// Creates a layout with one column after the other, as in a Burn Linear.
    #[must_use]
    pub fn column_major(rows: usize, cols: usize) -> Self {
        Self::new(cols, rows, 1, 1)
    }

    /// Returns the leading memory dimension.
    #[must_use]
    pub fn outer(&self) -> usize {
        self.outer
    }

    /// Returns the number of output units.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the trailing memory dimension.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Returns the fan-in: the number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.outer * self.inner
    }

    /// Returns the number of input channels: the fan-in without the kernel.
    #[must_use]
    pub fn input_channels(&self) -> usize {
        self.cols() / self.kernel
    }

    /// Returns the number of columns of one input channel.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Returns the sizes of the kernel's axes; none where they are not known, or there is no kernel.
    #[must_use]
    pub fn kernel_axes(&self) -> &[usize] {
        &self.axes[..self.known]
    }

    /// Returns the size of an axis of the kernel, and the distance of its places in memory; an unknown axis has one place.
    pub(crate) fn along_kernel(&self, axis: usize) -> (usize, usize) {
        let sizes = self.kernel_axes();
        match sizes.get(axis) {
            Some(&size) => (size, sizes[axis + 1..].iter().product()),
            None => (1, 1),
        }
    }

    /// Returns the number of groups of input channels that belong to different output units of one row.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outer * self.rows * self.inner
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory index of an element.
    #[must_use]
    pub fn flat(&self, row: usize, col: usize) -> usize {
        ((col / self.inner) * self.rows + row) * self.inner + col % self.inner
    }

    /// Returns the row and column of a memory index.
    #[must_use]
    pub fn position(&self, flat: usize) -> (usize, usize) {
        let (line, i) = (flat / self.inner, flat % self.inner);
        (line % self.rows, (line / self.rows) * self.inner + i)
    }

    /// Calls `f(first flat index, row, first column)` for each run of `inner` elements, in memory order.
    pub fn for_each_run(&self, mut f: impl FnMut(usize, usize, usize)) {
        let mut flat = 0;
        for o in 0..self.outer {
            for row in 0..self.rows {
                f(flat, row, o * self.inner);
                flat += self.inner;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_inverts_flat_in_every_layout() {
        for layout in [
            MatrixLayout::row_major(3, 4),
            MatrixLayout::column_major(3, 4),
            MatrixLayout::new(5, 3, 9, 9),
            MatrixLayout::new(1, 7, 1, 1),
        ] {
            for flat in 0..layout.len() {
                let (row, col) = layout.position(flat);
                assert!(row < layout.rows() && col < layout.cols());
                assert_eq!(layout.flat(row, col), flat, "{layout:?}");
            }
            let mut seen = 0;
            layout.for_each_run(|flat, row, col| {
                assert_eq!(layout.position(flat), (row, col));
                seen += layout.inner();
            });
            assert_eq!(seen, layout.len());
        }
    }
}
