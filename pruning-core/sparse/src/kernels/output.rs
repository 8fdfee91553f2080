//! Where results go: rows of the batch, written in pieces that do not overlap.

use std::marker::PhantomData;

/// The function that follows a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// The result is left as it is.
    #[default]
    None,
    /// The result is `max(y, 0)`; a NaN stays NaN.
    Relu,
}

impl Activation {
    /// Returns the value after the activation.
    #[inline(always)]
    pub(crate) fn apply(self, value: f32) -> f32 {
        // Not `max`, which would hide a NaN.
        if self == Self::Relu && value < 0.0 { 0.0 } else { value }
    }
}

/// `Y [batch, rows]`, shared between threads that write different rows of the weights: different columns of `Y`.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    y: *mut f32,
    batch: usize,
    rows: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stands for an exclusive borrow of a slice of floats, and `write` demands that threads write to different
// places.
unsafe impl Send for Output<'_> {}
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// Creates the output over a whole `Y`.
    pub(crate) fn new(y: &'a mut [f32], batch: usize, rows: usize) -> Self {
        assert_eq!(y.len(), batch * rows);
        Self { y: y.as_mut_ptr(), batch, rows, life: PhantomData }
    }

    /// Returns the number of rows of `Y`.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the part of one row of `Y` that belongs to `len` rows of the weights.
    ///
    /// # Safety
    /// No overlapping part is alive, in any thread.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, sample: usize, first: usize, len: usize) -> &'a mut [f32] {
        assert!(sample < self.batch && len <= self.rows && first <= self.rows - len);
        // SAFETY: it is inside the slice by the line above; the caller promises that nothing else has it.
        unsafe { std::slice::from_raw_parts_mut(self.y.add(sample * self.rows + first), len) }
    }
}

/// Returns whether `multiplies` multiply-adds are worth other threads. Handing work to a pool and waiting for it takes longer than a
/// small product does, most of all on a busy machine.
pub(crate) fn in_parallel(multiplies: usize) -> bool {
    // Tests are of small matrices.
    let least = if cfg!(test) { 0 } else { 1 << 18 };
    multiplies >= least && threads() > 1
}

/// Returns the number of threads that can work.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    1
}
