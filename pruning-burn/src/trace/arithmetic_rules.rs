//! Axis rules for arithmetic: element-wise operations, reductions and products.

use crate::trace::analysis::{Analysis, Contraction};
use burn_ir::{ActivationOperationIr as Act, FloatOperationIr as Flt, NumericOperationIr as Num};
use burn_ir::{BinaryOpIr, PadModeIr, ScalarOpIr, TensorIr};
use pruning_core::graph::Dim;

/// The condition under which the result of two operands is zero at a removed position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zero {
    Both,
    Either,
    Left,
    /// The left operand is zero and the right one is not.
    Quotient,
    Never,
}

impl Analysis<'_> {
    /// Applies the rule of an element-wise operation with one operand.
    pub(crate) fn unary(&mut self, input: &TensorIr, out: &TensorIr, keeps_zero: bool) {
        let dims = self.of(input).iter().map(|d| d.keeping_zero(keeps_zero)).collect();
        self.set(out, dims);
    }

    /// Applies the rule of an element-wise operation that is infinite or NaN at zero; no later product with zero repairs that.
    fn singular(&mut self, input: &TensorIr, out: &TensorIr) {
        let dims = self.of(input);
        self.pin_zeros(&dims);
        self.unary(input, out, false);
    }

    /// Pins axes whose masked entries are zero.
    fn pin_zeros(&mut self, dims: &[Dim]) {
        dims.iter().filter(|d| d.is_zero()).for_each(|d| self.graph.pin(d, "not finite where masked entries are zero"));
    }

    pub(crate) fn binary(&mut self, lhs: &TensorIr, rhs: &TensorIr, out: &TensorIr, how: Zero, why: &str) {
        let (a, b) = (self.of(lhs), self.of(rhs));
        let dims = self.graph.broadcast(&a, &b, how != Zero::Both, why);
        let rank = dims.len();
        let zero = |operand: &[Dim], i: usize| {
            let own = (i + operand.len()).checked_sub(rank).and_then(|i| operand.get(i));
            own.is_some_and(|d| d.is_free() && d.is_zero())
        };
        if how == Zero::Quotient {
            // A division by zero is not finite.
            self.pin_zeros(&b);
        }
        let dims = dims.iter().enumerate().map(|(i, d)| match how {
            Zero::Both | Zero::Either => d.clone(),
            Zero::Left | Zero::Quotient => d.keeping_zero(zero(&a, i)),
            Zero::Never => d.keeping_zero(false),
        });
        let dims = dims.collect();
        self.set(out, dims);
    }

    /// Applies the rule of a power with unknown exponents, where zero may become one or infinity.
    fn power(&mut self, o: &BinaryOpIr) {
        let base = self.of(&o.lhs);
        self.pin_zeros(&base);
        self.binary(&o.lhs, &o.rhs, &o.out, Zero::Never, "element-wise");
    }

    fn power_scalar(&mut self, o: &ScalarOpIr) {
        let exponent = o.rhs.elem::<f64>();
        if exponent < 0.0 { self.singular(&o.lhs, &o.out) } else { self.unary(&o.lhs, &o.out, exponent > 0.0) }
    }

    /// Applies the rule of a reduction along some axes.
    pub(crate) fn reduce(&mut self, input: &TensorIr, out: &TensorIr, axes: &[usize], sum: bool, why: &str) {
        let mut dims = self.of(input);
        for &axis in axes {
            if !(sum && dims[axis].is_zero()) {
                self.graph.pin(&dims[axis], why);
            }
            dims[axis] = Dim::Fixed(out.shape.as_slice().get(axis).copied().unwrap_or(1));
        }
        self.set(out, dims);
    }

    /// Applies the rule of a result that holds positions along an axis. A position may differ from zero where all entries are zero.
    fn positions(&mut self, input: &TensorIr, out: &TensorIr, axis: usize) {
        self.reduce(input, out, &[axis], false, "searched through");
        let dims = self.of(out).iter().map(|d| d.keeping_zero(false)).collect();
        self.set(out, dims);
    }

    /// Applies the rule of a reduction along all axes.
    pub(crate) fn reduce_all(&mut self, input: &TensorIr, out: &TensorIr, sum: bool, why: &str) {
        let dims = self.of(input);
        dims.iter().filter(|d| !(sum && d.is_zero())).for_each(|d| self.graph.pin(d, why));
        self.set_fixed(out);
    }

    pub(crate) fn numeric(&mut self, op: &Num) -> bool {
        match op {
            Num::Add(o) | Num::Sub(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Both, "added to an axis that stays"),
            Num::Mul(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Either, "multiplied with an axis that stays"),
            Num::Div(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Quotient, "divided by an axis that stays"),
            Num::Rem(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Quotient, "divided by an axis that stays"),
            Num::Powi(o) => self.power(o),
            Num::Greater(o) | Num::GreaterEqual(o) | Num::Lower(o) | Num::LowerEqual(o) => {
                self.binary(&o.lhs, &o.rhs, &o.out, Zero::Never, "compared with an axis that stays");
            }
            Num::MulScalar(o) | Num::DivScalar(o) | Num::RemScalar(o) => self.unary(&o.lhs, &o.out, true),
            Num::AddScalar(o) | Num::SubScalar(o) => self.unary(&o.lhs, &o.out, o.rhs.elem::<f64>() == 0.0),
            Num::PowiScalar(o) => self.power_scalar(o),
            Num::ClampMin(o) => self.unary(&o.lhs, &o.out, o.rhs.elem::<f64>() <= 0.0),
            Num::ClampMax(o) => self.unary(&o.lhs, &o.out, o.rhs.elem::<f64>() >= 0.0),
            Num::Clamp(o) => {
                self.unary(&o.tensor, &o.out, o.min.elem::<f64>() <= 0.0 && o.max.elem::<f64>() >= 0.0);
            }
            Num::GreaterElem(o) | Num::GreaterEqualElem(o) | Num::LowerElem(o) | Num::LowerEqualElem(o) => {
                self.unary(&o.lhs, &o.out, false);
            }
            Num::Abs(o) | Num::Neg(o) | Num::Sign(o) => self.unary(&o.input, &o.out, true),
            Num::SumDim(o) => self.reduce(&o.input, &o.out, &[o.axis], true, "summed with entries that are not zero"),
            Num::SumDims(o) => self.reduce(&o.input, &o.out, &o.axes, true, "summed with entries that are not zero"),
            Num::Sum(o) => self.reduce_all(&o.input, &o.out, true, "summed with entries that are not zero"),
            Num::MeanDim(o) => self.reduce(&o.input, &o.out, &[o.axis], false, "a mean is taken over it"),
            Num::Mean(o) => self.reduce_all(&o.input, &o.out, false, "a mean is taken over it"),
            Num::Max(o) | Num::Min(o) | Num::MaxAbs(o) | Num::Prod(o) => {
                self.reduce_all(&o.input, &o.out, false, "reduced to one entry");
            }
            Num::MaxDim(o) | Num::MinDim(o) | Num::MaxAbsDim(o) | Num::ProdDim(o) | Num::TopK(o) => {
                self.reduce(&o.input, &o.out, &[o.axis], false, "searched through")
            }
            Num::ArgMax(o) | Num::ArgMin(o) | Num::ArgTopK(o) => self.positions(&o.input, &o.out, o.axis),
            Num::MaxDimWithIndices(o) | Num::MinDimWithIndices(o) => {
                self.reduce(&o.tensor, &o.out, &[o.dim], false, "searched through");
                self.positions(&o.tensor, &o.out_indices, o.dim);
            }
            Num::TopKWithIndices(o) => {
                self.reduce(&o.tensor, &o.out, &[o.dim], false, "searched through");
                self.positions(&o.tensor, &o.out_indices, o.dim);
            }
            Num::CumSum(o) | Num::CumProd(o) | Num::CumMin(o) | Num::CumMax(o) => {
                self.reduce(&o.input, &o.out, &[o.axis], false, "accumulated along");
            }
            Num::Sort(o) => self.reduce(&o.input, &o.out, &[o.dim], false, "sorted along"),
            Num::SortWithIndices(o) => {
                self.reduce(&o.input, &o.out, &[o.dim], false, "sorted along");
                self.positions(&o.input, &o.out_indices, o.dim);
            }
            Num::ArgSort(o) => self.positions(&o.input, &o.out, o.dim),
            Num::Pad(o) => {
                let padded: Vec<_> = (0..o.padding.len()).filter(|&i| o.padding[i] != (0, 0)).collect();
                self.reduce(&o.input, &o.out, &padded, false, "padded");
                // A constant other than zero puts other entries beside a channel of zeros.
                if let PadModeIr::Constant(value) = &o.mode {
                    let zero = value.elem::<f64>() == 0.0;
                    let dims = self.of(&o.out).iter().map(|d| d.keeping_zero(zero)).collect();
                    self.set(&o.out, dims);
                }
            }
            Num::Full(o) => {
                let zero = o.value.elem::<f64>() == 0.0;
                self.create(&o.out, zero);
            }
            Num::IntRandom(o) => self.create(&o.out, false),
        }
        true
    }

    pub(crate) fn float(&mut self, index: usize, op: &Flt) -> bool {
        match op {
            Flt::Matmul(o) => self.matmul(index, &o.lhs, &o.rhs, &o.out),
            Flt::Erf(o)
            | Flt::Sqrt(o)
            | Flt::Sin(o)
            | Flt::Sinh(o)
            | Flt::Tan(o)
            | Flt::Tanh(o)
            | Flt::ArcSin(o)
            | Flt::ArcTan(o)
            | Flt::ArcSinh(o)
            | Flt::ArcTanh(o)
            | Flt::Round(o)
            | Flt::Floor(o)
            | Flt::Ceil(o)
            | Flt::Trunc(o)
            | Flt::Log1p(o) => self.unary(&o.input, &o.out, true),
            Flt::Exp(o) | Flt::Cos(o) | Flt::Cosh(o) | Flt::ArcCos(o) | Flt::IsNan(o) | Flt::IsInf(o) => {
                self.unary(&o.input, &o.out, false);
            }
            Flt::Log(o) | Flt::ArcCosh(o) | Flt::Recip(o) => self.singular(&o.input, &o.out),
            Flt::PowfScalar(o) => self.power_scalar(o),
            Flt::IntoInt(o) => self.unary(&o.input, &o.out, true),
            Flt::Powf(o) => self.power(o),
            Flt::ArcTan2(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Never, "element-wise"),
            Flt::Hypot(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Both, "element-wise"),
            Flt::Random(o) => self.create(&o.out, false),
            Flt::GridSample2d(o) => {
                let (mut dims, grid) = (self.of(&o.tensor), self.of(&o.grid));
                let why = "a grid selects positions of the picture";
                self.pin(&dims[2..], why);
                self.pin(&grid, why);
                self.graph.join(&dims[0], &grid[0], true, why);
                dims.truncate(2);
                dims.extend(o.out.shape.as_slice().iter().skip(2).map(|&s| Dim::Fixed(s)));
                self.set(&o.out, dims);
            }
            Flt::Cross(_) | Flt::Quantize(_) | Flt::Dequantize(_) => return false,
        }
        true
    }

    pub(crate) fn activation(&mut self, op: &Act) -> bool {
        match op {
            Act::Relu(o) | Act::Gelu(o) => self.unary(&o.input, &o.out, true),
            Act::LeakyRelu(o) => self.unary(&o.lhs, &o.out, true),
            Act::PRelu(o) => self.binary(&o.lhs, &o.rhs, &o.out, Zero::Left, "multiplied with an axis that stays"),
            Act::Sigmoid(o) | Act::LogSigmoid(o) => self.unary(&o.input, &o.out, false),
            Act::HardSigmoid(o) => self.unary(&o.tensor, &o.out, false),
            Act::Softmax(o) | Act::LogSoftmax(o) | Act::Softmin(o) => {
                let mut dims = self.of(&o.input);
                self.graph.pin(&dims[o.axis], "normalized by a softmax");
                dims = dims.iter().map(|d| d.keeping_zero(false)).collect();
                dims[o.axis] = Dim::Fixed(dims[o.axis].len());
                self.set(&o.out, dims);
            }
            Act::ReluBackward(_) | Act::GeluBackward(_) | Act::SigmoidBackward(_) | Act::LogSigmoidBackward(_) => {
                return false;
            }
        }
        true
    }

    /// Joins two axes that a product sums over. A removed entry must be zero in `a` or in `b`.
    pub(crate) fn contract(&mut self, a: &Dim, b: &Dim, why: &str) -> Dim {
        let joined = self.graph.join(a, b, true, why);
        if !joined.is_zero() {
            self.graph.pin(&joined, "summed with entries that are not zero");
        }
        joined
    }

    fn matmul(&mut self, index: usize, lhs: &TensorIr, rhs: &TensorIr, out: &TensorIr) {
        let (a, b) = (self.of(lhs), self.of(rhs));
        let (m, k) = (a[a.len() - 2].clone(), a[a.len() - 1].clone());
        let (l, n) = (b[b.len() - 2].clone(), b[b.len() - 1].clone());
        self.note_channels(rhs, &l, &n);
        self.note_channels(lhs, &k, &m);
        let inner = self.contract(&k, &l, "multiplied with an axis that stays");
        let mut dims =
            self.graph.broadcast(&a[..a.len() - 2], &b[..b.len() - 2], true, "multiplied with an axis that stays");
        if self.weight_of(lhs.id).is_none() && self.weight_of(rhs.id).is_none() {
            self.note_heads(lhs, &dims, [&inner, &n]);
        }
        dims.extend([m, n]);
        let mut product = dims.clone();
        product.push(inner);
        self.contractions.push(Contraction { operation: index, dims: product });
        self.set(out, dims);
    }
}
