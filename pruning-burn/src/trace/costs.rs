//! The cost of a forward pass: [`Trace::costs`].

use crate::trace::name::name;
use crate::trace::{Analysis, Trace};
use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_core::graph::{Dim, Totals};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The cost of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationCost {
    /// The name of the operation.
    pub operation: String,
    /// The path of the weight that it multiplies with; empty if there is none, as in attention.
    pub weight: String,
    /// The number of multiply-accumulates.
    pub macs: u64,
    /// The shape of the result.
    pub output: Vec<usize>,
}

/// The parameters, multiply-accumulates and activations of a forward pass, counted from the recorded shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Costs {
    /// The matrix products and convolutions, in the order in which they run.
    pub operations: Vec<OperationCost>,
    /// The number of float parameters, each counted once, without running statistics.
    pub parameters: u64,
    /// The number of entries in the results of all operations together.
    pub activations: u64,
    /// The number of samples in the recorded batch, if the inputs tell it ([`Trace::batch`]).
    pub batch: Option<u64>,
}

impl Costs {
    /// Returns the multiply-accumulates of all matrix products and convolutions, without biases.
    ///
    /// One multiply-accumulate is two floating-point operations.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.operations.iter().map(|o| o.macs).sum()
    }

    /// Returns the multiply-accumulates for one sample of the batch.
    ///
    /// `None` if the batch is unknown, or if some products are not computed for each sample.
    #[must_use]
    pub fn macs_of_one(&self) -> Option<u64> {
        Totals::new(self.parameters, self.macs()).macs_of_one(self.batch?)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["operation", "weight", "output", "MACs"]);
        for o in &self.operations {
            let macs = Cell::new(o.macs).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(&o.operation), Cell::new(&o.weight), Cell::new(format!("{:?}", o.output)), macs]);
        }
        writeln!(f, "{table}")?;
        write!(f, "{} parameters, {} MACs", self.parameters, self.macs())?;
        if let (Some(batch @ 2..), Some(one)) = (self.batch, self.macs_of_one()) {
            write!(f, " ({one} of one of the {batch} samples)")?;
        }
        write!(f, ", {} activations", self.activations)
    }
}

impl Trace {
    /// Counts what the forward pass costs.
    ///
    /// The MACs are those of matrix products and convolutions for the recorded batch. The literature counts them for
    /// [one sample](Costs::macs_of_one).
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use pruning_burn::trace::Trace;
    ///
    /// let device = Device::flex();
    /// let model = LinearConfig::new(4, 3).init(&device);
    /// let x = Tensor::<2>::ones([2, 4], &device);
    /// let trace = Trace::record(&model, |model, scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model.forward(x));
    /// })?;
    /// let costs = trace.costs();
    /// assert_eq!((costs.parameters, costs.macs(), costs.macs_of_one()), (15, 24, Some(12)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn costs(&self) -> Costs {
        let parameters = self.params.iter().filter(|p| p.float && !p.is_buffer());
        let outputs = self.operations.iter().flat_map(|op| op.outputs());
        Costs {
            operations: self.products(),
            parameters: parameters.map(|p| p.shape.iter().product::<usize>() as u64).sum(),
            activations: outputs.map(|t| t.shape.num_elements() as u64).sum(),
            batch: self.batch(),
        }
    }

    /// Returns the number of samples in the recorded batch: the leading dimension of the declared inputs, if all have the same one.
    ///
    /// If the inputs of a network lead with another axis, such as time, this is the length of that axis.
    #[must_use]
    pub fn batch(&self) -> Option<u64> {
        let mut leading = self.inputs.iter().map(|input| input.shape.as_slice().first().map(|&size| size as u64));
        let first = leading.next()??;
        leading.all(|size| size == Some(first)).then_some(first)
    }

    /// Returns, for each weight of a product, the multiply-accumulates of one of its elements.
    pub(crate) fn uses(&self) -> BTreeMap<String, usize> {
        let mut macs: BTreeMap<String, u64> = BTreeMap::new();
        for product in self.products().into_iter().filter(|p| !p.weight.is_empty()) {
            *macs.entry(product.weight).or_default() += product.macs;
        }
        let len = |path: &str| {
            let param = self.params.iter().find(|p| p.paths.iter().any(|known| known == path));
            param.map_or(1, |p| p.shape.iter().product::<usize>().max(1))
        };
        macs.into_iter().map(|(path, macs)| (path.clone(), macs as usize / len(&path))).collect()
    }

    fn products(&self) -> Vec<OperationCost> {
        // No rule can be missing where every axis is fixed.
        let Ok(analysis) = Analysis::costing(self) else { return Vec::new() };
        let costs = analysis.contractions.iter().map(|c| {
            let op = &self.operations[c.operation];
            let weight = analysis.weight_in(op);
            OperationCost {
                operation: name(op),
                weight: weight.map(|p| self.params[p].path().to_string()).unwrap_or_default(),
                macs: c.dims.iter().map(|d| Dim::len(d) as u64).product(),
                output: op.outputs().next().map(|t| t.shape.as_slice().to_vec()).unwrap_or_default(),
            }
        });
        costs.collect()
    }
}
