//! The shape of what is removed together: [`Granularity`].

use crate::mask::Bits;
use crate::score::MatrixLayout;
use form::{GranularityForm, Table};
use serde::{Deserialize, Serialize};

mod bands;
mod form;

pub(crate) use bands::{Band, Run};

/// The shape of a unit: the weights of one parameter that are kept or removed together.
///
/// In a recipe: `"element"`, `"channel"`, `"head"`, `"2:4"`, `"2:4 taps"`, or a table such as `{ kind = "block", rows = 1, cols = 4 }`
/// or `{ kind = "kernel", axis = 0 }`.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::score::{Granularity, MatrixLayout};
/// let layout = MatrixLayout::row_major(2, 4);
/// let blocks = Granularity::block(1, 2)?;
/// assert_eq!(blocks.units(&layout), 4);
/// let first_and_last = blocks.expand(&layout, &Bits::from_bools(&[true, false, false, true]));
/// assert_eq!(first_and_last.to_bools(), [true, true, false, false, false, false, true, true]);
/// assert_eq!("2:4".parse::<Granularity>()?, Granularity::nm(2, 4)?);
/// # Ok::<(), pruning_core::score::GranularityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "GranularityForm", into = "Table")]
pub enum Granularity {
    /// Every weight is a unit.
    #[default]
    Element,
    /// Of every `m` weights of an output unit, `n` are kept.
    Nm {
        /// The number of weights kept in each group.
        n: usize,
        /// The size of a group.
        m: usize,
        /// The weights that make a group.
        along: Along,
    },
    /// Every tile of the matrix view is a unit; tiles at the right and lower edge are cut off.
    Block {
        /// The output units of a tile.
        rows: usize,
        /// The columns of a tile.
        cols: usize,
    },
    /// Every output unit, or every input channel, is a unit.
    Channel {
        /// Whether output units or input channels are meant.
        axis: Axis,
    },
    /// Every attention head is a unit: `size` consecutive output units with their whole fan-in, as in the query, key and value
    /// projections, or `size` consecutive input channels, as in the output projection.
    Head {
        /// The channels of one head. Without a size, the heads are those of the attention that a trace shows; only a pruner with a trace
        /// and physical removal find them.
        size: Option<usize>,
        /// Whether output units or input channels are meant.
        axis: Axis,
    },
    /// Every place along an axis of the kernel is a unit, with its weights in all kernels: the rows or columns of an image convolution.
    Kernel {
        /// The axis of the kernel, from 0 (torch's `dim - 2`).
        axis: usize,
    },
}

/// The axis of a weight along which channels are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The rows of the matrix view (torch's `dim=0`): neurons, filters.
    #[default]
    Output,
    /// The input channels (torch's `dim=1`), each with its whole kernel.
    Input,
}

/// Which weights of an output unit make a group of an N:M pattern.
///
/// Both choices are the same where the kernel is a single weight, as in a linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// Weights at the same place of the kernel for `m` consecutive input channels: the groups that sparse tensor cores multiply. A
    /// transposed convolution with groups has them in each of its groups if it has a bias. Without a bias the groups cannot be seen, and
    /// the layer is treated as one group.
    #[default]
    Inputs,
    /// Weights that lie side by side in a parameter of PyTorch's order `[out, in, kernel...]`: in a convolution mostly taps of one
    /// kernel.
    Taps,
}

impl Along {
    /// Returns the number of weights or input channels that the groups of an output unit must divide.
    fn length(self, layout: &MatrixLayout) -> usize {
        let all = if self == Self::Inputs { layout.input_channels() } else { layout.cols() };
        all / layout.groups()
    }
}

/// An error for a granularity that is invalid or does not fit a parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GranularityError {
    /// The N:M pattern has N = 0, N >= M, or M above 64.
    #[error("{n}:{m} is not an N:M pattern: n of every m are kept, with 0 < n < m <= 64")]
    Pattern {
        /// The number kept in each group.
        n: usize,
        /// The size of a group.
        m: usize,
    },
    /// The block has no rows or no columns.
    #[error("a block of {rows} x {cols} holds no weight: both must be at least 1")]
    Block {
        /// The rows of the block.
        rows: usize,
        /// The columns of the block.
        cols: usize,
    },
    /// The heads have no size, and no trace shows one.
    #[error(
        "heads need a size, such as {{ kind = \"head\", size = 64 }}, or a pruner with a trace (`Pruner::with_trace`), which shows the size"
    )]
    HeadSize,
    /// The size of a head does not divide the channels.
    #[error("heads of {size} channels do not divide {channels}: the size is that of one head, not the number of heads")]
    Head {
        /// The channels of a head.
        size: usize,
        /// The channels of the layer.
        channels: usize,
    },
    /// The kernel has no such axis.
    #[error("the kernel has {axes} axes, counted from 0, and no axis {axis}")]
    Kernel {
        /// The axis that was asked for.
        axis: usize,
        /// The number of axes that the kernel has.
        axes: usize,
    },
    /// The text names no granularity.
    #[error(
        "unknown granularity {text:?}: use \"element\", \"channel\", \"head\", \"N:M\" such as \"2:4\" (or \"2:4 taps\"), or a table with `kind`"
    )]
    Unknown {
        /// The text that was given.
        text: String,
    },
    /// The fan-in is not a multiple of M.
    #[error(
        "a fan-in of {length} {} is not a multiple of {m}, which {} needs",
        if *.along == Along::Inputs { "input channels" } else { "weights" },
        Granularity::Nm { n: *.n, m: *.m, along: *.along }
    )]
    DoesNotDivide {
        /// The input channels of an output unit; for `taps`, its weights.
        length: usize,
        /// The number kept in each group.
        n: usize,
        /// The size of a group.
        m: usize,
        /// The weights that make a group.
        along: Along,
    },
}

impl Granularity {
    /// Every output channel is a unit: neurons, filters.
    pub const CHANNEL: Self = Self::Channel { axis: Axis::Output };

    /// Every attention head is a unit, of the size that a trace shows; for a pruner with a trace and for physical removal.
    pub const HEAD: Self = Self::Head { size: None, axis: Axis::Output };

    /// Creates an N:M pattern that keeps `n` of every `m` weights along the input channels.
    ///
    /// # Errors
    /// The numbers break `0 < n < m <= 64`.
    pub fn nm(n: usize, m: usize) -> Result<Self, GranularityError> {
        Self::nm_along(n, m, Along::Inputs)
    }

    /// Creates an N:M pattern that keeps `n` of every `m` weights, in groups `along` channels or taps.
    ///
    /// # Errors
    /// The numbers break `0 < n < m <= 64`.
    pub fn nm_along(n: usize, m: usize, along: Along) -> Result<Self, GranularityError> {
        if 0 < n && n < m && m <= 64 { Ok(Self::Nm { n, m, along }) } else { Err(GranularityError::Pattern { n, m }) }
    }

    /// Creates blocks of `rows` output units and `cols` columns of the fan-in.
    ///
    /// # Errors
    /// One of the two is 0.
    pub fn block(rows: usize, cols: usize) -> Result<Self, GranularityError> {
        if rows > 0 && cols > 0 { Ok(Self::Block { rows, cols }) } else { Err(GranularityError::Block { rows, cols }) }
    }

    /// Creates attention heads of `size` channels along an axis.
    ///
    /// # Errors
    /// The size is 0.
    pub fn head(size: usize, axis: Axis) -> Result<Self, GranularityError> {
        if size > 0 {
            Ok(Self::Head { size: Some(size), axis })
        } else {
            Err(GranularityError::Head { size, channels: 0 })
        }
    }

    /// Checks that a parameter of `layout` can have this granularity.
    ///
    /// # Errors
    /// The numbers do not divide the parameter, or the granularity itself is invalid (its variants can be built without a check).
    pub fn check(&self, layout: &MatrixLayout) -> Result<(), GranularityError> {
        match *self {
            Self::Element | Self::Channel { .. } => Ok(()),
            Self::Head { size, axis } => {
                let size = size.ok_or(GranularityError::HeadSize)?;
                let channels = if axis == Axis::Output { layout.rows() } else { layout.input_channels() };
                let fits = size > 0 && channels.is_multiple_of(size);
                if fits { Ok(()) } else { Err(GranularityError::Head { size, channels }) }
            }
            Self::Block { rows, cols } => Self::block(rows, cols).map(drop),
            Self::Kernel { axis } => {
                let axes = layout.kernel_axes().len();
                if axis < axes { Ok(()) } else { Err(GranularityError::Kernel { axis, axes }) }
            }
            Self::Nm { n, m, along } => {
                Self::nm(n, m)?;
                let length = along.length(layout);
                let fits = length.is_multiple_of(m);
                if fits { Ok(()) } else { Err(GranularityError::DoesNotDivide { length, n, m, along }) }
            }
        }
    }

    /// Returns the sparsity of an N:M pattern, and `None` for other granularities.
    #[must_use]
    pub fn pattern_sparsity(&self) -> Option<crate::sparsity::Sparsity> {
        match *self {
            Self::Nm { n, m, .. } => crate::sparsity::Sparsity::new((m - n.min(m)) as f64 / m as f64).ok(),
            _ => None,
        }
    }

    /// Returns heads as the blocks that they are in a parameter of `layout`, and any other granularity as it is. A size of 0, which
    /// [`check`](Self::check) refuses, counts as 1 here.
    fn in_layout(self, layout: &MatrixLayout) -> Self {
        let channels = |size: Option<usize>| size.unwrap_or(1).max(1);
        match self {
            Self::Block { rows, cols } => Self::Block { rows: rows.max(1), cols: cols.max(1) },
            Self::Head { size, axis: Axis::Output } => Self::Block { rows: channels(size), cols: layout.cols().max(1) },
            Self::Head { size, axis: Axis::Input } => {
                Self::Block { rows: layout.rows().max(1), cols: channels(size).saturating_mul(layout.kernel()) }
            }
            other => other,
        }
    }

    /// Returns whether the units are channels or heads, which can be removed physically.
    #[must_use]
    pub fn is_structural(&self) -> bool {
        matches!(self, Self::Channel { .. } | Self::Head { .. })
    }

    /// Returns the number of units in a parameter of `layout`; for N:M these are its elements.
    #[must_use]
    pub fn units(&self, layout: &MatrixLayout) -> usize {
        match *self {
            Self::Element | Self::Nm { .. } => layout.len(),
            Self::Block { rows, cols } => layout.rows().div_ceil(rows.max(1)) * layout.cols().div_ceil(cols.max(1)),
            Self::Channel { axis: Axis::Output } => layout.rows(),
            Self::Channel { axis: Axis::Input } => layout.input_channels(),
            Self::Kernel { axis } => layout.along_kernel(axis).0,
            Self::Head { .. } => self.in_layout(layout).units(layout),
        }
    }

    /// Returns the unit of the element at `row` and `col`. Ties between units go to the lower number.
    #[must_use]
    pub fn unit(&self, layout: &MatrixLayout, row: usize, col: usize) -> usize {
        match *self {
            Self::Element | Self::Nm { .. } => layout.flat(row, col),
            Self::Block { rows, cols } => {
                let (rows, cols) = (rows.max(1), cols.max(1));
                (row / rows) * layout.cols().div_ceil(cols) + col / cols
            }
            Self::Channel { axis: Axis::Output } => row,
            Self::Channel { axis: Axis::Input } => col / layout.kernel(),
            Self::Kernel { axis } => {
                let (size, stride) = layout.along_kernel(axis);
                col / stride % size
            }
            Self::Head { .. } => self.in_layout(layout).unit(layout, row, col),
        }
    }

    /// Returns whether a unit is a single element, so that scores need no reduction.
    #[must_use]
    pub fn is_elementwise(&self) -> bool {
        matches!(self, Self::Element | Self::Nm { .. })
    }

    /// Spreads a mask of units over their elements, in memory order.
    #[must_use]
    pub fn expand(&self, layout: &MatrixLayout, units: &Bits) -> Bits {
        if self.is_elementwise() {
            return units.clone();
        }
        let mut keep = Bits::zeros(layout.len());
        for band in self.bands(layout) {
            let kept = band.segments().filter(|(unit, _)| units.get(*unit));
            if band.lines == 1 {
                kept.for_each(|(_, segment)| keep.fill(band.start + segment.start, segment.len()));
                continue;
            }
            let mut line = Bits::zeros(band.len);
            kept.for_each(|(_, segment)| line.fill(segment.start, segment.len()));
            for start in band.starts() {
                line.words().iter().enumerate().for_each(|(w, &word)| keep.insert(start + 64 * w, word));
            }
        }
        keep
    }

    /// Returns the units of which at least one element is set.
    #[must_use]
    pub fn alive(&self, layout: &MatrixLayout, elements: &Bits) -> Bits {
        if self.is_elementwise() {
            return elements.clone();
        }
        let mut alive = Bits::zeros(self.units(layout));
        self.bands(layout).for_each(|band| band.alive(elements, &mut alive));
        alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_does_not_divide_the_fan_in_is_refused() {
        let refused = |along, layout| match Granularity::nm_along(2, 4, along).unwrap().check(&layout) {
            Err(GranularityError::DoesNotDivide { length, .. }) => Some(length),
            other => {
                other.unwrap();
                None
            }
        };
        let linear = MatrixLayout::column_major(8, 6);
        let conv = |channels: usize| MatrixLayout::new(1, 8, channels * 4, 4);
        // Eight input channels in four groups: two for each output unit.
        let transposed = MatrixLayout::new(8, 5, 9, 9);
        let grouped = transposed.with_groups(4);
        for (layout, inputs, taps) in [
            (linear, Some(6), Some(6)),
            (conv(3), Some(3), None),
            (conv(8), None, None),
            (transposed, None, None),
            (transposed.with_groups(2), None, None),
            (grouped, Some(2), Some(18)),
        ] {
            assert_eq!(refused(Along::Inputs, layout), inputs, "{layout:?}");
            assert_eq!(refused(Along::Taps, layout), taps, "{layout:?}");
        }
        let error = Granularity::nm(2, 4).unwrap().check(&conv(3)).unwrap_err().to_string();
        assert_eq!(error, "a fan-in of 3 input channels is not a multiple of 4, which 2:4 needs");
    }

    #[test]
    fn heads_are_consecutive_channels_and_must_divide_them() {
        let conv = MatrixLayout::new(1, 8, 6 * 9, 9);
        let (output, input) = (Granularity::head(4, Axis::Output).unwrap(), Granularity::head(2, Axis::Input).unwrap());
        assert_eq!((output.units(&conv), input.units(&conv)), (2, 3));
        assert_eq!((output.unit(&conv, 3, 50), output.unit(&conv, 4, 0)), (0, 1));
        assert_eq!((input.unit(&conv, 7, 17), input.unit(&conv, 0, 18)), (0, 1));
        let error = Granularity::head(3, Axis::Output).unwrap().check(&conv).unwrap_err();
        assert_eq!(error, GranularityError::Head { size: 3, channels: 8 });
        assert_eq!(Granularity::HEAD.check(&conv), Err(GranularityError::HeadSize));
    }

    #[test]
    fn units_cover_their_elements_in_every_layout() {
        let block = |rows, cols| Granularity::Block { rows, cols };
        let kinds = [Granularity::CHANNEL, Granularity::Channel { axis: Axis::Input }].into_iter().chain([
            block(2, 4),
            block(1, 1),
            block(7, 70),
            block(usize::MAX, 3),
            // What `check` refuses is no panic.
            block(0, 3),
            block(2, 0),
            Granularity::Head { size: Some(0), axis: Axis::Output },
            Granularity::Head { size: Some(usize::MAX), axis: Axis::Input },
            block(1, usize::MAX),
            Granularity::Head { size: Some(2), axis: Axis::Output },
            Granularity::Head { size: Some(3), axis: Axis::Input },
        ]);
        for layout in [
            MatrixLayout::row_major(5, 6),
            MatrixLayout::row_major(3, 130),
            MatrixLayout::column_major(5, 6),
            MatrixLayout::column_major(130, 7),
            MatrixLayout::new(3, 5, 4, 4),
            MatrixLayout::new(3, 50, 6, 3),
        ] {
            for granularity in kinds.clone() {
                let n = granularity.units(&layout);
                let every_other = Bits::from_bools(&(0..n).map(|u| u % 2 == 0).collect::<Vec<_>>());
                let elements = granularity.expand(&layout, &every_other);
                for row in 0..layout.rows() {
                    for col in 0..layout.cols() {
                        let unit = granularity.unit(&layout, row, col);
                        assert_eq!(elements.get(layout.flat(row, col)), unit.is_multiple_of(2));
                    }
                }
                assert_eq!(granularity.alive(&layout, &elements), every_other);
            }
        }
    }
}
