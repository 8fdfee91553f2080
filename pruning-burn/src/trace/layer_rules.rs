//! Axis rules for whole layers: convolutions, norms, pooling, embedding and attention.

use crate::trace::analysis::{Analysis, Contraction, Grouped};
use burn_ir::{ModuleOperationIr as Mod, OperationIr, TensorIr};
use pruning_core::graph::Dim;

/// The operands of a convolution of any rank.
struct Conv<'a> {
    x: &'a TensorIr,
    weight: &'a TensorIr,
    bias: Option<&'a TensorIr>,
    out: &'a TensorIr,
    groups: usize,
}

macro_rules! conv {
    ($o:expr) => {
        Conv { x: &$o.x, weight: &$o.weight, bias: $o.bias.as_ref(), out: &$o.out, groups: $o.options.groups }
    };
}

impl Analysis<'_> {
    pub(crate) fn module_rule(&mut self, index: usize, op: &Mod) -> bool {
        match op {
            Mod::Conv1d(o) => self.conv(index, &conv!(o)),
            Mod::Conv2d(o) => self.conv(index, &conv!(o)),
            Mod::Conv3d(o) => self.conv(index, &conv!(o)),
            Mod::DeformableConv2d(o) => {
                let why = "offsets select positions of the picture";
                for t in [Some(&o.offset), o.mask.as_ref()].into_iter().flatten() {
                    let dims = self.of(t);
                    self.pin(&dims, why);
                }
                if o.options.weight_groups * o.options.offset_groups > 1 {
                    let dims = [self.of(&o.x), self.of(&o.weight)].concat();
                    self.pin(&dims, "channels of a deformable convolution in groups");
                }
                let groups = o.options.weight_groups;
                self.conv(index, &Conv { x: &o.x, weight: &o.weight, bias: o.bias.as_ref(), out: &o.out, groups });
            }
            Mod::ConvTranspose1d(o) => self.conv_transpose(index, &conv!(o)),
            Mod::ConvTranspose2d(o) => self.conv_transpose(index, &conv!(o)),
            Mod::ConvTranspose3d(o) => self.conv_transpose(index, &conv!(o)),
            Mod::BatchNorm(o) => {
                // The norm shifts entries along all axes but the channels.
                let mut dims: Vec<_> = self.of(&o.x).iter().map(|d| d.keeping_zero(false)).collect();
                dims[1] = self.of(&o.x)[1].clone();
                for (t, scales) in [(&o.mean, false), (&o.variance, false), (&o.gamma, true), (&o.beta, true)] {
                    let own = self.of(t);
                    let joined = self.graph.join(&dims[1], &own[0], false, "normalized with an axis that stays");
                    // Scale and shift of a removed channel are zero, and so is its result.
                    dims[1] = if scales { own[0].clone() } else { joined };
                }
                self.set(&o.out, dims);
            }
            Mod::LayerNorm(o) => {
                let mut dims = self.of(&o.input);
                let last = dims.len() - 1;
                let mut with = vec![dims[last].clone()];
                with.extend(self.of(&o.gamma));
                with.extend(o.beta.as_ref().map(|b| self.of(b)).unwrap_or_default());
                self.pin(&with, "a layer norm normalizes over it");
                dims = dims.iter().map(|d| d.keeping_zero(false)).collect();
                dims[last] = Dim::Fixed(dims[last].len());
                self.set(&o.out, dims);
            }
            Mod::Embedding(o) => {
                let (table, mut dims) = (self.of(&o.weights), self.of(&o.indices));
                self.graph.pin(&table[0], "entries are chosen by their index");
                dims = dims.iter().map(|d| d.keeping_zero(false)).collect();
                dims.push(table[1].clone());
                self.set(&o.out, dims);
            }
            Mod::Linear(o) => {
                let (mut dims, weight) = (self.of(&o.x), self.of(&o.weight));
                let last = dims.len() - 1;
                let inner = self.contract(&dims[last].clone(), &weight[0], "multiplied with an axis that stays");
                // Zeros become the bias.
                dims = dims.iter().map(|d| d.keeping_zero(o.bias.is_none())).collect();
                dims[last] = weight[1].clone();
                if let Some(bias) = &o.bias {
                    let bias = self.of(bias);
                    dims[last] = self.graph.join(&dims[last], &bias[0], false, "added to an axis that stays");
                }
                let product = dims.iter().cloned().chain([inner]).collect();
                self.contractions.push(Contraction { operation: index, dims: product });
                self.set(&o.out, dims);
            }
            Mod::AvgPool1d(o) => self.spatial(&o.x, &o.out),
            Mod::AvgPool2d(o) => self.spatial(&o.x, &o.out),
            Mod::AdaptiveAvgPool1d(o) => self.spatial(&o.x, &o.out),
            Mod::AdaptiveAvgPool2d(o) => self.spatial(&o.x, &o.out),
            Mod::AdaptiveAvgPool3d(o) => self.spatial(&o.x, &o.out),
            Mod::MaxPool1d(o) => self.spatial(&o.x, &o.out),
            Mod::MaxPool2d(o) => self.spatial(&o.x, &o.out),
            Mod::Interpolate(o) => self.spatial(&o.x, &o.out),
            Mod::MaxPool1dWithIndices(o) => {
                self.spatial(&o.x, &o.out);
                self.places(&o.x, &o.out_indices);
            }
            Mod::MaxPool2dWithIndices(o) => {
                self.spatial(&o.x, &o.out);
                self.places(&o.x, &o.out_indices);
            }
            Mod::Unfold4d(o) => {
                let dims = self.of(&o.x);
                self.pin(&dims[2..], "windows are taken along it");
                let shape = o.out.shape.as_slice();
                let window = Dim::Fixed(shape[1] / dims[1].len().max(1));
                let columns =
                    self.graph.reshape(&[dims[1].clone(), window], &shape[1..2], "windows are taken along it");
                self.set(&o.out, vec![dims[0].clone(), columns[0].clone(), Dim::Fixed(shape[2])]);
            }
            Mod::Attention(o) => {
                let (q, k, v) = (self.of(&o.query), self.of(&o.key), self.of(&o.value));
                for t in o.mask.iter().chain(&o.attn_bias) {
                    let dims = self.of(t);
                    self.pin(&dims, "masks attention");
                }
                let why = "attends with an axis that stays";
                let lead: Vec<_> = (0..2)
                    .map(|i| {
                        let joined = self.graph.join(&q[i], &k[i], true, why);
                        self.graph.join(&joined, &v[i], true, why)
                    })
                    .collect();
                let size = self.contract(&q[3], &k[3], why);
                if o.options.scale.is_none() {
                    self.graph.pin(&size, "attention is scaled by its length");
                }
                self.note_heads(&o.query, &lead, [&q[3], &v[3]]);
                self.pin(&[k[2].clone(), v[2].clone()], "normalized by a softmax");
                for last in [size, v[3].clone()] {
                    let dims = [lead[0].clone(), lead[1].clone(), q[2].clone(), k[2].clone(), last];
                    self.contractions.push(Contraction { operation: index, dims: dims.to_vec() });
                }
                // A query of zeros attends to all keys equally.
                let queries = q[2].keeping_zero(false);
                self.set(&o.out, vec![v[0].clone(), v[1].clone(), queries, v[3].clone()]);
            }
            _ => return false,
        }
        true
    }

    /// Applies the rule of an operation on the positions of each channel.
    fn spatial(&mut self, x: &TensorIr, out: &TensorIr) {
        let dims = self.of(x);
        self.pin(&dims[2..], "positions of a signal or picture");
        let shape = out.shape.as_slice();
        let dims = dims[..2].iter().cloned().chain(shape[2..].iter().map(|&s| Dim::Fixed(s))).collect();
        self.set(out, dims);
    }

    /// Applies the rule of a result that holds positions in each channel. In a channel of zeros they may differ from zero.
    fn places(&mut self, x: &TensorIr, out: &TensorIr) {
        self.spatial(x, out);
        let dims = self.of(out).iter().map(|d| d.keeping_zero(false)).collect();
        self.set(out, dims);
    }

    fn conv(&mut self, index: usize, o: &Conv<'_>) {
        let (x, weight) = (self.of(o.x), self.of(o.weight));
        self.pin(&x[2..], "positions of a signal or picture");
        self.pin(&weight[2..], "positions of a kernel");
        let why = "convolved with an axis that stays";
        let inner = if o.groups == 1 {
            self.contract(&x[1], &weight[1], why)
        } else {
            let (fan_in, out) = (x[1].len() / o.groups, weight[0].len() / o.groups);
            let xs = self.graph.reshape(&x[1..2], &[o.groups, fan_in], why);
            let ws = self.graph.reshape(&weight[..1], &[o.groups, out], why);
            if fan_in == 1 {
                // A depthwise convolution with several outputs for each channel loses channels, not outputs.
                self.graph.pin(&ws[1], why);
            }
            let groups = self.graph.join(&xs[0], &ws[0], true, why);
            self.grouped.push(Grouped { weight: o.weight.id, groups });
            self.contract(&xs[1], &weight[1], why)
        };
        let mut units = weight[0].clone();
        if let Some(bias) = o.bias {
            let bias = self.of(bias);
            units = self.graph.join(&units, &bias[0], false, why);
        }
        self.finish_conv(index, o, &x[0], units, inner, &weight[2..]);
    }

    fn conv_transpose(&mut self, index: usize, o: &Conv<'_>) {
        let (x, weight) = (self.of(o.x), self.of(o.weight));
        self.pin(&x[2..], "positions of a signal or picture");
        self.pin(&weight[2..], "positions of a kernel");
        let why = "convolved with an axis that stays";
        let inner = self.contract(&x[1], &weight[0], why);
        let (mut units, mut fan_in) = (weight[1].clone(), inner.clone());
        if o.groups > 1 {
            let parts = self.graph.reshape(&weight[..1], &[o.groups, weight[0].len() / o.groups], why);
            self.grouped.push(Grouped { weight: o.weight.id, groups: parts[0].clone() });
            let out = o.out.shape.as_slice()[1];
            units = self.graph.reshape(&[parts[0].clone(), units], &[out], why).swap_remove(0);
            // Each output channel sees only the inputs of its group.
            fan_in = parts[1].clone();
        }
        if let Some(bias) = o.bias {
            let bias = self.of(bias);
            units = self.graph.join(&units, &bias[0], false, why);
        }
        self.finish_conv(index, o, &x[0], units, fan_in, &weight[2..]);
    }

    fn finish_conv(&mut self, index: usize, o: &Conv<'_>, batch: &Dim, units: Dim, inner: Dim, kernel: &[Dim]) {
        let shape = o.out.shape.as_slice();
        let space = shape[2..].iter().map(|&s| Dim::Fixed(s));
        let dims: Vec<_> = [batch.keeping_zero(o.bias.is_none()), units].into_iter().chain(space).collect();
        // A transposed convolution multiplies each position of its input, not of its output.
        let transposed = self.is_transposed(index);
        let places: Vec<_> = if transposed { o.x.shape.as_slice()[2..].to_vec() } else { shape[2..].to_vec() };
        let mut product: Vec<_> = places.iter().map(|&s| Dim::Fixed(s)).collect();
        product.extend([batch.clone(), dims[1].clone(), inner]);
        product.extend(kernel.iter().map(|k| Dim::Fixed(k.len())));
        self.contractions.push(Contraction { operation: index, dims: product });
        self.set(o.out, dims);
    }

    fn is_transposed(&self, index: usize) -> bool {
        matches!(
            self.trace.operations[index],
            OperationIr::Module(Mod::ConvTranspose1d(_) | Mod::ConvTranspose2d(_) | Mod::ConvTranspose3d(_))
        )
    }
}
