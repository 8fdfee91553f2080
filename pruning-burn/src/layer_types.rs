//! The table of Burn's layer types, with one row for each type, looked up by Burn's name for it.

use pruning_core::score::MatrixLayout;

/// A type of layer.
#[derive(Debug)]
pub(crate) struct LayerType {
    name: &'static str,
    /// The order of the axes of its weight.
    pub(crate) axes: Axes,
    /// Whether its weight is a target by default.
    default_target: bool,
    /// The fields of running statistics, which no optimizer trains.
    buffers: &'static [&'static str],
    /// The fields that hold sizes of its parameters.
    #[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "shrinking needs a trace"))]
    pub(crate) sizes: &'static [Size],
    /// The channels that must stay, with the reason.
    #[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "shrinking needs a trace"))]
    pub(crate) pin: Option<Pin>,
}

/// The order of a weight's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axes {
    /// `[in, out]`
    InOut,
    /// `[out, in, kernel..]`
    OutInKernel,
    /// `[in, out, kernel..]`, where each group of inputs has its own outputs.
    InOutKernel,
    /// An unknown order, in which the first axis counts as output.
    Other,
}

/// A field that holds a size.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "shrinking needs a trace"))]
pub(crate) enum Size {
    /// The number of groups of a convolution.
    Groups(&'static str),
    /// The number of channels that a norm scales.
    Channels(&'static str),
    /// The number of groups into which a norm splits its channels.
    NormGroups(&'static str),
    /// The size of a recurrent layer's state, and the end of the path of the parameters whose first axis has this size.
    State(&'static str, &'static str),
    /// The number of channels of a head, and the weight that makes the queries.
    Head(&'static str, &'static str),
}

/// The channels of a layer that must stay, with the reason.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "shrinking needs a trace"))]
pub(crate) struct Pin {
    /// The fields whose parameters keep their channels; if empty, all of them do.
    fields: &'static [&'static str],
    pub(crate) why: &'static str,
}

const OTHER: LayerType =
    LayerType { name: "", axes: Axes::Other, default_target: false, buffers: &[], sizes: &[], pin: None };

const CONV: LayerType =
    LayerType { axes: Axes::OutInKernel, default_target: true, sizes: &[Size::Groups("groups")], ..OTHER };

const TRANSPOSED: LayerType = LayerType { axes: Axes::InOutKernel, ..CONV };

const RECURRENT: LayerType = LayerType { sizes: &[Size::State("d_hidden", "hidden_transform.weight")], ..OTHER };

static TYPES: &[LayerType] = &[
    LayerType { name: "Linear", axes: Axes::InOut, default_target: true, ..OTHER },
    LayerType { name: "Embedding", axes: Axes::InOut, ..OTHER },
    LayerType { name: "Conv1d", ..CONV },
    LayerType { name: "Conv2d", ..CONV },
    LayerType { name: "Conv3d", ..CONV },
    LayerType { name: "DeformConv2d", sizes: &[Size::Groups("weight_groups")], ..CONV },
    LayerType { name: "ConvTranspose1d", ..TRANSPOSED },
    LayerType { name: "ConvTranspose2d", ..TRANSPOSED },
    LayerType { name: "ConvTranspose3d", ..TRANSPOSED },
    LayerType { name: "BatchNorm", buffers: &["running_mean", "running_var"], ..OTHER },
    LayerType { name: "InstanceNorm", sizes: &[Size::Channels("num_channels")], ..OTHER },
    LayerType { name: "GroupNorm", sizes: &[Size::Channels("num_channels"), Size::NormGroups("num_groups")], ..OTHER },
    LayerType { name: "Lstm", ..RECURRENT },
    LayerType { name: "Gru", ..RECURRENT },
    LayerType { name: "Rnn", ..RECURRENT },
    LayerType { name: "BiLstm", ..RECURRENT },
    LayerType { name: "BiGru", ..RECURRENT },
    LayerType { name: "BiRnn", ..RECURRENT },
    // Burn's layer and ours have the same name. The fields of the pin are those of Burn's layer, the size is that of ours.
    LayerType {
        name: "MultiHeadAttention",
        sizes: &[Size::Head("d_k", "q.weight")],
        pin: Some(Pin {
            fields: &["query", "key", "value", "output"],
            why: "Burn's MultiHeadAttention needs heads * size == width; pruning_burn::nn::MultiHeadAttention does not",
        }),
        ..OTHER
    },
    LayerType {
        name: "CrossAttention",
        pin: Some(Pin { fields: &[], why: "the sizes of Burn's CrossAttention are private" }),
        ..OTHER
    },
];

/// Returns the row of a type, or a row without knowledge for a type that is not in the table, such as a user's.
pub(crate) fn of(kind: &str) -> &'static LayerType {
    TYPES.iter().find(|row| row.name == kind).unwrap_or(&OTHER)
}

impl LayerType {
    /// Returns whether a field is the weight of a linear or convolution layer.
    pub(crate) fn is_default_target(&self, field: &str) -> bool {
        self.default_target && field == "weight"
    }

    pub(crate) fn is_buffer(&self, field: &str) -> bool {
        self.buffers.contains(&field)
    }

    pub(crate) fn has_buffers(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Returns the matrix view of a parameter. Parameters other than the weights in the table have their first axis as rows.
    pub(crate) fn layout(&self, field: &str, shape: &[usize]) -> MatrixLayout {
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        // No layer of Burn has a kernel of more axes.
        let with_axes = |layout: MatrixLayout, kernel: &[usize]| {
            if kernel.len() <= 3 { layout.with_kernel_axes(kernel) } else { layout }
        };
        let axes = if field == "weight" { self.axes } else { Axes::Other };
        match (axes, shape) {
            (Axes::InOut, &[fan_in, units]) => MatrixLayout::column_major(units, fan_in),
            (Axes::InOutKernel, [channels, units, kernel @ ..]) => {
                with_axes(MatrixLayout::new(*channels, *units, product(kernel), product(kernel)), kernel)
            }
            (Axes::OutInKernel, [units, channels, kernel @ ..]) => {
                let (axes, kernel) = (kernel, product(kernel));
                // A parameter without elements would divide by a kernel of zero.
                if kernel == 0 {
                    return MatrixLayout::row_major(*units, 0);
                }
                with_axes(MatrixLayout::new(1, *units, channels * kernel, kernel), axes)
            }
            (_, []) => MatrixLayout::row_major(1, 1),
            (_, [units, rest @ ..]) => MatrixLayout::row_major(*units, product(rest)),
        }
    }

    /// Returns the input and output axis of its weight, if they are known.
    #[cfg(feature = "trace")]
    pub(crate) fn channel_axes(&self) -> Option<[usize; 2]> {
        match self.axes {
            Axes::InOut | Axes::InOutKernel => Some([0, 1]),
            Axes::OutInKernel => Some([1, 0]),
            Axes::Other => None,
        }
    }

    /// Returns the field that holds the groups of its convolution. A user's own layer is assumed to use Burn's name.
    #[cfg(feature = "trace")]
    pub(crate) fn groups_field(&self) -> &'static str {
        let own = self.sizes.iter().find_map(|size| if let Size::Groups(field) = size { Some(*field) } else { None });
        own.unwrap_or("groups")
    }
}

#[cfg(feature = "trace")]
impl Pin {
    /// Returns whether a parameter, by its path from the layer, keeps its channels.
    pub(crate) fn holds(&self, path: &str) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|field| path.split('.').next() == Some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_type_has_output_units_as_rows() {
        let is = |kind: &str, shape: &[usize]| {
            let l = of(kind).layout("weight", shape);
            (l.rows(), l.cols(), l.kernel())
        };
        assert_eq!(is("Linear", &[784, 300]), (300, 784, 1));
        assert_eq!(is("Embedding", &[1000, 64]), (64, 1000, 1));
        assert_eq!(is("Conv2d", &[64, 3, 7, 7]), (64, 147, 49));
        assert_eq!(is("Conv1d", &[8, 4, 3]), (8, 12, 3));
        assert_eq!(is("ConvTranspose2d", &[16, 8, 2, 2]), (8, 64, 4));
        assert_eq!(is("LayerNorm", &[32]), (32, 1, 1));
        assert_eq!(is("Mine", &[5, 2, 3]), (5, 6, 1));
        assert_eq!(of("Linear").layout("bias", &[7]).cols(), 1);
        assert_eq!(of("Conv3d").layout("weight", &[8, 4, 2, 3, 5]).kernel_axes(), [2, 3, 5]);
        assert_eq!(of("ConvTranspose1d").layout("weight", &[8, 4, 3]).kernel_axes(), [3]);
    }

    #[test]
    fn each_type_has_one_row() {
        let mut names: Vec<_> = TYPES.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TYPES.len());
    }
}
