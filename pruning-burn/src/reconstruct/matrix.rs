//! A weight as the matrices that are reconstructed: [`Matrices`].

use crate::layers::Layer;
use crate::score::statistics::Reads;
use pruning_core::mask::Bits;
use pruning_core::score::{Along, Granularity};

/// The matrices of a weight: one for each group, rows = output units, columns = what they see.
#[derive(Debug)]
pub(super) struct Matrices {
    pub(super) groups: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// The memory index of each entry, group by group and row by row.
    index: Vec<usize>,
    /// The column of the operand that each column of a matrix sees.
    order: Vec<usize>,
}

impl Matrices {
    /// Lays out a layer. Columns that form an N:M group of a convolution come to stand side by side.
    pub(super) fn new(layer: &Layer, reads: Reads, granularity: Granularity) -> Self {
        let layout = &layer.layout;
        let (groups, rows, cols) = match reads {
            Reads::Columns => (1, layout.rows(), layout.cols()),
            Reads::Groups(groups) => (groups, layout.rows() / groups, layout.cols()),
            Reads::Rows => (1, layout.cols(), layout.rows()),
        };
        let order: Vec<usize> = match (granularity, reads) {
            // Groups lie along the channels, at one place of the kernel.
            (Granularity::Nm { along: Along::Inputs, .. }, Reads::Columns | Reads::Groups(_)) => {
                let kernel = layout.kernel();
                (0..kernel).flat_map(|place| (0..cols / kernel).map(move |channel| channel * kernel + place)).collect()
            }
            _ => (0..cols).collect(),
        };
        let mut index = Vec::with_capacity(layout.len());
        for group in 0..groups {
            for row in 0..rows {
                index.extend(order.iter().map(|&col| match reads {
                    Reads::Rows => layout.flat(col, row),
                    _ => layout.flat(group * rows + row, col),
                }));
            }
        }
        Self { groups, rows, cols, index, order }
    }

    fn places(&self, group: usize) -> &[usize] {
        let len = self.rows * self.cols;
        &self.index[group * len..(group + 1) * len]
    }

    /// Returns the entries of a group, from memory order.
    pub(super) fn numbers(&self, group: usize, memory: &[f64]) -> Vec<f64> {
        self.places(group).iter().map(|&i| memory[i]).collect()
    }

    /// Returns the bits of a group, from memory order.
    pub(super) fn bits(&self, group: usize, memory: &Bits) -> Bits {
        let bits: Vec<bool> = self.places(group).iter().map(|&i| memory.get(i)).collect();
        Bits::from_bools(&bits)
    }

    /// Writes the entries of a group to memory order.
    pub(super) fn write<T: Copy>(&self, group: usize, values: impl Iterator<Item = T>, memory: &mut [T]) {
        self.places(group).iter().zip(values).for_each(|(&i, value)| memory[i] = value);
    }

    /// Returns the Gram matrix of a group, its columns in the order of the matrix.
    pub(super) fn gram(&self, group: usize, grams: &[f64]) -> Vec<f64> {
        let cols = self.cols;
        let own = &grams[group * cols * cols..(group + 1) * cols * cols];
        self.order.iter().flat_map(|&row| self.order.iter().map(move |&col| own[row * cols + col])).collect()
    }

    /// Returns the values of a group for each column, in the order of the matrix.
    pub(super) fn columns(&self, group: usize, values: &[f64]) -> Vec<f64> {
        self.order.iter().map(|&col| values[group * self.cols + col]).collect()
    }
}
